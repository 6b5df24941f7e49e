package standalone

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Outcome is where a pod stands for somebody who waits for it.
type Outcome int

// The outcomes.
const (
	Pending Outcome = iota
	Ready
	Succeeded
	Failed
)

// Judge says where a pod stands and, in a few words, what it is doing.
func Judge(pod *v1.Pod) (Outcome, string) {
	st := &pod.Status
	switch {
	case st.Phase == v1.PodSucceeded:
		return Succeeded, "has ended"
	case st.Phase == v1.PodFailed:
		return Failed, "has failed" + reasonOf(st.Reason, st.Message) + exitsOf(st)
	case pod.DeletionTimestamp != nil:
		return Pending, "ending"
	case condition(st, v1.PodReady) == v1.ConditionTrue:
		return Ready, "ready"
	case len(st.ContainerStatuses) == 0 && len(st.InitContainerStatuses) == 0:
		return Pending, "waiting" + reasonOf(st.Reason, st.Message)
	}
	var doing []string
	for i := range st.InitContainerStatuses {
		if s := stepOf(&st.InitContainerStatuses[i]); s != "" {
			doing = append(doing, "init "+s)
		}
	}
	for i := range st.ContainerStatuses {
		if s := stepOf(&st.ContainerStatuses[i]); s != "" {
			doing = append(doing, s)
		}
	}
	if condition(st, v1.PodReadyToStartContainers) != v1.ConditionTrue {
		return Pending, "making the sandbox, its network and its volumes"
	}
	if len(doing) == 0 {
		return Pending, "starting"
	}
	return Pending, strings.Join(doing, "; ")
}

// stepOf is what one container is doing; "" when there is nothing to say.
func stepOf(c *v1.ContainerStatus) string {
	switch {
	case c.State.Waiting != nil:
		switch w := c.State.Waiting; w.Reason {
		case "", "PodInitializing":
			return ""
		case "ContainerCreating":
			return c.Name + ": pulling or creating"
		default:
			return c.Name + reasonOf(w.Reason, w.Message)
		}
	case c.State.Running != nil && !c.Ready && c.Started != nil && !*c.Started:
		return c.Name + ": running, not started yet by its probe"
	case c.State.Running != nil && !c.Ready:
		return c.Name + ": running, not ready yet"
	case c.State.Terminated != nil && c.State.Terminated.ExitCode != 0:
		return c.Name + exitOf(c.State.Terminated)
	}
	return ""
}

func exitsOf(st *v1.PodStatus) string {
	var b strings.Builder
	for _, c := range append(append([]v1.ContainerStatus{}, st.InitContainerStatuses...), st.ContainerStatuses...) {
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			b.WriteString("; " + c.Name + exitOf(t))
		}
	}
	return b.String()
}

func exitOf(t *v1.ContainerStateTerminated) string {
	return fmt.Sprintf(" exited with %d%s", t.ExitCode, reasonOf(strings.TrimPrefix(t.Reason, "Error"), t.Message))
}

func reasonOf(reason, message string) string {
	message, _, _ = strings.Cut(strings.TrimSpace(message), "\n")
	switch {
	case reason == "" && message == "":
		return ""
	case message == "":
		return ": " + reason
	case reason == "":
		return ": " + message
	}
	return ": " + reason + " (" + message + ")"
}

func condition(st *v1.PodStatus, t v1.PodConditionType) v1.ConditionStatus {
	for i := range st.Conditions {
		if st.Conditions[i].Type == t {
			return st.Conditions[i].Status
		}
	}
	return ""
}

// View shows progress: on a terminal, one line for each subject that is rewritten in place; elsewhere a plain line for
// each change. Safe for concurrent use.
type View struct {
	out   io.Writer
	live  bool
	width int // columns of the terminal; longer lines would break the rewriting
	start time.Time

	mu    sync.Mutex
	keys  []string
	lines map[string]string
	drawn int // lines on the screen that belong to us
}

// NewView makes a view. width is the terminal's; 0 means that out is not a terminal.
func NewView(out io.Writer, width int) *View {
	return &View{out: out, live: width > 0, width: width, start: time.Now(), lines: map[string]string{}}
}

// Set gives a subject its newest line.
func (v *View) Set(key, text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old, known := v.lines[key]; known && old == text {
		return
	}
	if !slices.Contains(v.keys, key) {
		v.keys = append(v.keys, key)
	}
	v.lines[key] = text
	if v.live {
		v.draw()
		return
	}
	fmt.Fprintf(v.out, "%6.1fs  %s: %s\n", time.Since(v.start).Seconds(), key, text)
}

// Line is what to show next: the line as it stands when nothing has changed, else the new one.
func (v *View) Line(key, text string, same bool) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old, known := v.lines[key]; same && known {
		return old
	}
	return text
}

// Print writes a text that stays, below what is shown so far.
func (v *View) Print(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.out, format, args...)
	v.drawn, v.keys = 0, nil // what changes from here on is drawn below
}

func (v *View) draw() {
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	for _, k := range v.keys {
		line := []rune(fmt.Sprintf("  %-20s %s", k, v.lines[k]))
		if len(line) >= v.width {
			line = append(line[:max(v.width-2, 0)], '…')
		}
		b.WriteString("\x1b[2K" + string(line) + "\n")
	}
	v.drawn = len(v.keys)
	_, _ = io.WriteString(v.out, b.String())
}
