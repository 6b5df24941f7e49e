package inspect

import (
	"fmt"
	"strings"
	"time"

	"github.com/troupe-dev/troupe/messages/model"
)

// span writes a duration for a person: the two largest units that matter.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(time.Second).Seconds()))
	case d < time.Hour:
		return pair(int(d/time.Minute), "min", int(d%time.Minute/time.Second), "s")
	case d < 48*time.Hour:
		return pair(int(d/time.Hour), "h", int(d%time.Hour/time.Minute), "min")
	}
	return pair(int(d/(24*time.Hour)), "d", int(d%(24*time.Hour)/time.Hour), "h")
}

func pair(a int, unitA string, b int, unitB string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, unitA)
	}
	return fmt.Sprintf("%d %s %d %s", a, unitA, b, unitB)
}

// forTime says since when, "" when unknown.
func forTime(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	return " for " + span(now.Sub(since))
}

// nextTry says when something is tried again.
func nextTry(at, now time.Time) string {
	switch {
	case at.IsZero():
		return ""
	case !at.After(now):
		return "; next try now"
	}
	return "; next try in " + span(at.Sub(now))
}

// times writes "once", "twice", "3 times".
func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// maxText is how much of an error goes into a sentence; the evidence has it whole.
const maxText = 240

// brief puts an error on one line of bearable length.
func brief(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	s = strings.TrimRight(s, ".")
	if r := []rune(s); len(r) > maxText {
		return string(r[:maxText]) + "…"
	}
	return s
}

// because adds the last error in parentheses, "" when there is none. Reason is the API's word for it.
func because(reason, text string) string {
	text = brief(text)
	switch {
	case text == "" && reason == "":
		return ""
	case text == "":
		return " (" + reason + ")"
	case reason == "" || strings.HasPrefix(text, reason):
		return " (" + text + ")"
	}
	return " (" + reason + ": " + text + ")"
}

// list joins names: "a", "a and b", "a, b and c".
func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// oldest returns the call that has been in flight longest; nil when there is none.
func oldest(calls []model.CallView) *model.CallView {
	var best *model.CallView
	for i := range calls {
		if best == nil || calls[i].Since.Before(best.Since) {
			best = &calls[i]
		}
	}
	return best
}
