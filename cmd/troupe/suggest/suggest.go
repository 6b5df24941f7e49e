// Package suggest finds the name that a person probably meant.
package suggest

import "strings"

// Nearest returns the candidate closest to word, or "" when none is close
// enough to be a likely slip: the same letters in another case or with other
// separators, or at most one edit for every three letters of the word. Of two
// equally close candidates the earlier one wins.
func Nearest(word string, candidates []string) string {
	folded := fold(word)
	best, bestDistance := "", len(word)/3+1
	for _, c := range candidates {
		if fold(c) == folded {
			return c
		}
		if d := distance(folded, fold(c), bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// fold drops what people mix up: case, dashes, underscores.
func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// distance is the number of inserted, removed, changed or swapped neighbouring
// letters (optimal string alignment). It stops early once limit is reached and
// then returns limit.
func distance(a, b string, limit int) int {
	if diff := len(a) - len(b); diff >= limit || -diff >= limit {
		return limit
	}
	before, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
			least = min(least, current[j])
		}
		if least >= limit {
			return limit
		}
		before, previous, current = previous, current, before
	}
	return min(previous[len(b)], limit)
}
