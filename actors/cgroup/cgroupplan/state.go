// Package cgroupplan decides what the cgroup actor does: the node's and the QoS cgroups first, then one operation at a
// time for each pod, so that the writes and removals of one subtree never overlap; the shares of the burstable tier
// follow the pods, at most once a second; failures are tried again with back-off. It is pure: time comes with the event.
package cgroupplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// Pace of retries and of updates that may wait. The kubelet retries node allocatable once a minute and refreshes the
// tiers once a minute whether or not anything changed.
const (
	tierInterval   = time.Second
	enforceRetry   = time.Minute
	firstRetry     = 200 * time.Millisecond
	longestRetry   = 30 * time.Second
	sweepListRetry = 10 * time.Second
)

func retryCurve() policy.Curve { return policy.Curve{Initial: firstRetry, Max: longestRetry} }

// Phase is where something that is done once stands.
type Phase int

// The phases: Due waits for RetryAt, Busy is in flight.
const (
	Due Phase = iota
	Busy
	Done
)

// Task is something that is tried until it succeeds.
type Task struct {
	Phase   Phase
	Backoff policy.Backoff
	RetryAt time.Time
	Err     string
}

func (t *Task) ready(now time.Time) bool { return t.Phase == Due && !now.Before(t.RetryAt) }

func (t *Task) failed(now time.Time, err string) {
	t.Phase, t.Err = Due, err
	t.Backoff, t.RetryAt = t.Backoff.Failed(retryCurve(), now)
}

func (t *Task) done() { *t = Task{Phase: Done} }

// Pod is one pod's cgroup.
type Pod struct {
	// Wanted says whether the cgroup should be there; else it should be gone.
	Wanted bool
	// Desired, Class and Request are of the newest Want.
	Desired cgroups.Desired
	Class   v1.PodQOSClass
	Request model.MilliCPU
	// Op is the operation in flight.
	Op Op
	// Stale says that a newer Want or Drop came while Op was in flight, so its result answers nobody.
	Stale   bool
	Backoff policy.Backoff
	RetryAt time.Time
	Err     string
	// Settled says that the newest Want or Drop was carried out.
	Settled bool
}

// Op is an operation on a pod's cgroup.
type Op int

// The operations.
const (
	None Op = iota
	Applying
	Removing
)

// State is all that the actor knows. Use New.
type State struct {
	Base    Task // kubepods and the tiers exist
	Enforce Task // limits of node allocatable and of the reserved cgroups
	Pods    map[model.UID]*Pod
	// Pending are the pods that need an operation and have none in flight; nothing else is looked at in an event.
	Pending map[model.UID]struct{}
	// Sum is the CPU requested by the wanted burstable pods.
	Sum model.MilliCPU
	// Tier is the burstable sum that was last written; TierAt when.
	Tier     model.MilliCPU
	TierSet  bool
	TierBusy bool
	TierAt   time.Time
	TierErr  string
	// Owned is the newest Sweep that has not been carried out; nil when there is none.
	Owned   map[model.UID]struct{}
	Listing bool
	SweepAt time.Time
	Swept   bool
	TimerAt time.Time // the timer that is set; zero for none
	PerQOS  bool
}

// New returns the state of an actor that has done nothing yet. perQOS false means that there are no cgroups to make:
// every Want is answered at once.
func New(perQOS bool) State {
	return State{Pods: map[model.UID]*Pod{}, Pending: map[model.UID]struct{}{}, PerQOS: perQOS}
}

// share is what the pod adds to the burstable tier.
func (p *Pod) share() model.MilliCPU {
	if p.Wanted && p.Class == v1.PodQOSBurstable {
		return p.Request
	}
	return 0
}
