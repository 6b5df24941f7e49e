package strategy

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-dev/troupe/supervisor/policy"
)

// supervisor records what it is asked to do.
type supervisor struct {
	actor.Supervisor
	calls []string
}

func (s *supervisor) StopChildren(pids ...*actor.PID) {
	for _, p := range pids {
		s.calls = append(s.calls, "stop "+p.Id)
	}
}

// The child that failed is stopped and nothing else happens: no restart in place, no escalation, no sibling.
func TestOnlyTheFailedChildIsStopped(t *testing.T) {
	sup := &supervisor{}
	s := OneForOne{Failed: func(child *actor.PID, reason any) {
		sup.calls = append(sup.calls, "failed "+child.Id+" "+reason.(string))
	}}
	s.HandleFailure(nil, sup, &actor.PID{Id: "a"}, nil, "why", nil)
	OneForOne{}.HandleFailure(nil, sup, &actor.PID{Id: "b"}, nil, "why", nil)
	if len(sup.calls) != 3 || sup.calls[0] != "failed a why" || sup.calls[1] != "stop a" || sup.calls[2] != "stop b" {
		t.Errorf("%q", sup.calls)
	}
}

func TestRecordKeepsHistory(t *testing.T) {
	var r Record
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, want := range []policy.Action{policy.Start, policy.Start, policy.Quarantine, policy.Quarantine} {
		if d := r.Panicked(policy.Actors(), now, now); d.Action != want {
			t.Errorf("panic %d: %v, want %v", i, d.Action, want)
		}
	}
}
