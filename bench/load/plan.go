// Package load puts pods on a node and takes them away again, in phases, and measures what a user of the node sees and
// what the agent uses for it. It does not know how pods get to the node (Target) nor how the agent is measured (Probe).
package load

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/troupe-dev/troupe/bench/proc"
)

// Kind is a kind of phase.
type Kind string

// The phases.
const (
	// Fill creates all pods at once and waits until they are Ready.
	Fill Kind = "fill"
	// Churn replaces pods one after the other, some at a time: delete, wait until gone, create, wait until Ready.
	Churn Kind = "churn"
	// Delete deletes all pods at once and waits until they are gone.
	Delete Kind = "delete"
	// Idle does nothing.
	Idle Kind = "idle"
)

// ParsePhases reads a list of phases such as "fill,idle,delete".
func ParsePhases(s string) ([]Kind, error) {
	var out []Kind
	for _, f := range strings.Split(s, ",") {
		switch k := Kind(strings.TrimSpace(f)); k {
		case Fill, Churn, Delete, Idle:
			out = append(out, k)
		default:
			return nil, fmt.Errorf("%q is not a phase: fill, churn, delete or idle", f)
		}
	}
	return out, nil
}

// Plan is a load. Every field but ChurnPods is needed where its phase is among Phases.
type Plan struct {
	Phases []Kind
	// Pods is how many Fill creates; Prefix begins their names.
	Pods   int
	Prefix string
	// Workers is how many creates and deletes are asked for at the same time.
	Workers int
	// ChurnPods is how many pods Churn replaces, ChurnWidth how many at a time.
	ChurnPods, ChurnWidth int
	// Idle is how long Idle lasts. Fill, Churn and Delete go on measuring the agent after their last pod until nothing was
	// written for Settle, so that work which it put off (events, above all) is counted where it was caused.
	Idle, Settle time.Duration
	// Timeout bounds each phase.
	Timeout time.Duration
}

// Target is where pods are asked for. Both methods are called by several goroutines at a time. The target tells the Tracker
// what it sees.
type Target interface {
	Create(ctx context.Context, name string) error
	Delete(ctx context.Context, name string) error
}

// Probe measures the agent and its runtime. Every field may be nil: then the figures are left out.
type Probe struct {
	// Usage is what the agent's process has used since its start.
	Usage func() (proc.Usage, error)
	// Calls are the CRI calls since the start, by method.
	Calls func() map[string]uint64
	// PodTimes returns, by pod UID, for how long at least one CRI call about the pod was in flight since the last taking.
	PodTimes func() map[string]time.Duration
	// Events are the writes of event objects since the start.
	Events func() uint64
}

// Progress is how far a phase is.
type Progress struct {
	Phase Kind
	// Done of Of pods are where the phase wants them.
	Done, Of int
	Elapsed  time.Duration
}
