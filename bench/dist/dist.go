// Package dist describes a set of durations by the few numbers that a reader of a benchmark looks at.
package dist

import (
	"slices"
	"time"
)

// Dist are the order statistics of a set of durations. All are in milliseconds, so that the JSON form reads without a unit
// table. The zero value is that of an empty set.
type Dist struct {
	N    int     `json:"n"`
	Min  float64 `json:"minMs"`
	P50  float64 `json:"p50Ms"`
	P90  float64 `json:"p90Ms"`
	P99  float64 `json:"p99Ms"`
	Max  float64 `json:"maxMs"`
	Mean float64 `json:"meanMs"`
}

// Of computes the distribution. Percentiles are nearest-rank: each is a duration that was measured. The slice is sorted in
// place.
func Of(d []time.Duration) Dist {
	if len(d) == 0 {
		return Dist{}
	}
	slices.Sort(d)
	var sum time.Duration
	for _, x := range d {
		sum += x
	}
	return Dist{
		N: len(d), Min: Ms(d[0]), P50: Ms(rank(d, 50)), P90: Ms(rank(d, 90)), P99: Ms(rank(d, 99)), Max: Ms(d[len(d)-1]),
		Mean: Ms(sum) / float64(len(d)),
	}
}

// rank is the smallest element that at least p percent of the sorted set do not exceed.
func rank(sorted []time.Duration, p int) time.Duration {
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// Ms is a duration in milliseconds.
func Ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Spread is the median of repeated measurements, with the smallest and the largest.
type Spread struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// SpreadOf computes the spread; of an even number of values the median is the mean of the middle two.
func SpreadOf(v []float64) Spread {
	if len(v) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(v))
	mid := s[len(s)/2]
	if len(s)%2 == 0 {
		mid = (mid + s[len(s)/2-1]) / 2
	}
	return Spread{N: len(s), Median: mid, Min: s[0], Max: s[len(s)-1]}
}
