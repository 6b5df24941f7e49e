package inspect

import (
	"fmt"
	"strings"
	"time"
)

// Text writes an explanation for a terminal: the sentence, what to do, the containers and the timeline.
func Text(a Explanation, now time.Time) string {
	var b strings.Builder
	b.WriteString(a.Sentence + "\n")
	if a.Advice != "" {
		b.WriteString(a.Advice + "\n")
	}
	fmt.Fprintf(&b, "\nstage %s%s", a.Pod.Stage, forTime(a.Pod.Since, now))
	if a.Pod.Sandbox != "" {
		fmt.Fprintf(&b, ", sandbox %.13s (attempt %d)", a.Pod.Sandbox, a.Pod.Attempt)
	}
	if len(a.Pod.IPs) > 0 {
		b.WriteString(", " + strings.Join(a.Pod.IPs, " "))
	}
	b.WriteString("\n")
	for _, c := range a.Pod.Containers {
		fmt.Fprintf(&b, "  %-10s %-24s %-9s", c.Kind, c.Name, c.Stage)
		if c.Restarts > 0 {
			fmt.Fprintf(&b, " restarts %d", c.Restarts)
		}
		if c.Reason != "" {
			b.WriteString(" " + c.Reason)
		}
		if c.Blocker != "" {
			b.WriteString(" " + brief(c.Blocker))
		}
		b.WriteString(nextTry(c.RetryAt, now) + "\n")
	}
	for _, f := range a.Effects {
		fmt.Fprintf(&b, "in progress: %s%s\n", f.Op, forTime(f.Since, now))
	}
	if len(a.Pod.Timeline) == 0 {
		return b.String()
	}
	first := a.Pod.Timeline[0].At
	b.WriteString("\ntimeline\n")
	for _, s := range a.Pod.Timeline {
		fmt.Fprintf(&b, "  %s %+10s  %s", s.At.Format("15:04:05.000"), s.At.Sub(first).Round(time.Millisecond), brief(s.What))
		if s.Took > 0 {
			b.WriteString(" in " + s.Took.Round(time.Millisecond).String())
		}
		if s.Err != "" {
			b.WriteString(": " + brief(s.Err))
		}
		b.WriteString("\n")
	}
	return b.String()
}
