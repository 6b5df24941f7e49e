// Package strategy is how a parent deals with a child that panicked. It is the only SupervisorStrategy in use.
//
// The failed incarnation is stopped, never restarted in place: a restart in place keeps the mailbox suspended while it
// backs off, and a delayed one may hit a new actor of the same name. When the incarnation is gone, Record says when the
// next is due, by the same rule that restarts containers (policy.Decide).
package strategy

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-dev/troupe/supervisor/policy"
)

// OneForOne stops the child that failed and leaves its siblings alone.
type OneForOne struct {
	// Failed is told first, on the parent's own goroutine: it may touch the parent's state, and must not panic.
	Failed func(child *actor.PID, reason any)
}

// HandleFailure implements actor.SupervisorStrategy.
func (s OneForOne) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	if s.Failed != nil {
		s.Failed(child, reason)
	}
	sup.StopChildren(child)
}

// Record is the restart history of one child; its parent owns it. The zero value has no past.
type Record struct{ history policy.History }

// Panicked takes in a panic at that moment and decides when the next incarnation is due.
func (r *Record) Panicked(p policy.Policy, at, now time.Time) policy.Decision {
	d := policy.Decide(policy.Exit{Cause: policy.Panicked, At: at}, nil, p, r.history, now)
	r.history = d.History
	return d
}
