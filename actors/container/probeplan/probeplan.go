// Package probeplan decides when the probes of one container instance run and when their results count. It is pure.
//
// Rules, those of the kubelet: the startup probe holds back the other two until it has succeeded once; a result counts
// when it was the same successThreshold or failureThreshold times in a row; a probe that could not be run at all
// (unknown) counts for nothing; after a liveness or startup failure the container is on its way down and that probe rests.
// A probe is due a period after the one before was due, not after it ended; one that still runs is not run twice.
package probeplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
)

// Result is the outcome of one run.
type Result int

// The results; Warning is a success that is worth an event.
const (
	Success Result = iota
	Warning
	Failure
	Unknown
)

// State is all probes of one instance. The zero value has none.
type State struct {
	probes  []probe
	started bool
	stopped bool
	timer   time.Time
}

type probe struct {
	kind     containermsg.ProbeKind
	spec     *v1.Probe
	due      time.Time
	first    time.Time // the initial delay is over
	running  bool
	rest     bool // this probe has said its last word
	last     bool // the result that counts
	streak   int
	streakOf bool
}

// Event is what happened. The family is sealed.
type Event interface{ probeEvent() }

type (
	// Tick is the timer that SetTimer asked for.
	Tick struct{}
	// Outcome is the end of a run.
	Outcome struct {
		Kind   containermsg.ProbeKind
		Result Result
		// Message is the probe's output or error, for the event.
		Message string
	}
	// Stop ends the probes; readiness goes on while the container is being stopped when KeepReadiness is set.
	Stop struct{ KeepReadiness bool }
)

func (Tick) probeEvent()    {}
func (Outcome) probeEvent() {}
func (Stop) probeEvent()    {}

// Action is what the shell has to do. The family is sealed.
type Action interface{ probeAction() }

type (
	// Run runs a probe once; its Outcome comes back.
	Run struct {
		Kind containermsg.ProbeKind
		Spec *v1.Probe
	}
	// Report tells the container's plan that a threshold was crossed.
	Report struct {
		Kind    containermsg.ProbeKind
		OK      bool
		Message string
	}
	// SetTimer asks for a Tick at that moment instead of any earlier request; zero cancels it.
	SetTimer struct{ At time.Time }
)

func (Run) probeAction()      {}
func (Report) probeAction()   {}
func (SetTimer) probeAction() {}

// New is the state for an instance that started at that moment. started and ready are what is known of it already (an
// adopted instance); delay postpones every first run, so that an agent that restarts does not run all probes at once.
func New(c *v1.Container, startedAt time.Time, started, ready bool, delay time.Duration) State {
	s := State{started: started || c.StartupProbe == nil}
	add := func(kind containermsg.ProbeKind, spec *v1.Probe, last bool) {
		if spec == nil {
			return
		}
		first := startedAt.Add(seconds(spec.InitialDelaySeconds) + delay)
		s.probes = append(s.probes, probe{kind: kind, spec: spec, due: first, first: first, last: last})
	}
	if !s.started {
		add(containermsg.Startup, c.StartupProbe, false)
	}
	add(containermsg.Readiness, c.ReadinessProbe, ready)
	add(containermsg.Liveness, c.LivenessProbe, true)
	return s
}

// Next folds an event and decides what runs now. The state that was passed in must not be used again.
func Next(s State, now time.Time, ev Event) (State, []Action) {
	var acts []Action
	switch e := ev.(type) {
	case Tick:
		s.timer = time.Time{}
	case Stop:
		s.stopped = true
		keep := s.probes[:0:0]
		for _, p := range s.probes {
			if e.KeepReadiness && p.kind == containermsg.Readiness {
				keep = append(keep, p)
			}
		}
		s.probes = keep
	case Outcome:
		acts = s.outcome(now, e)
	}
	var at time.Time
	for i := range s.probes {
		p := &s.probes[i]
		if p.rest || p.running || (p.kind != containermsg.Startup && !s.started) {
			continue
		}
		if !now.Before(p.due) {
			p.running = true
			p.due = next(p.due, now, period(p.spec))
			acts = append(acts, Run{Kind: p.kind, Spec: p.spec})
			continue
		}
		if at.IsZero() || p.due.Before(at) {
			at = p.due
		}
	}
	if !at.Equal(s.timer) {
		s.timer = at
		acts = append(acts, SetTimer{At: at})
	}
	return s, acts
}

// next keeps the rhythm: missed turns are skipped, not made up for.
func next(due, now time.Time, period time.Duration) time.Time {
	n := due.Add(period)
	if n.After(now) {
		return n
	}
	return now.Add(period - now.Sub(due)%period)
}

func (s *State) outcome(now time.Time, e Outcome) []Action {
	for i := range s.probes {
		p := &s.probes[i]
		if p.kind != e.Kind {
			continue
		}
		p.running = false
		if e.Result == Unknown || p.rest {
			return nil
		}
		ok := e.Result != Failure
		if p.streak == 0 || p.streakOf != ok {
			p.streak, p.streakOf = 0, ok
		}
		p.streak++
		need := max(1, int(p.spec.FailureThreshold))
		if ok {
			need = max(1, int(p.spec.SuccessThreshold))
		}
		if p.streak < need {
			return nil
		}
		changed := p.last != ok
		p.last = ok
		switch {
		case p.kind == containermsg.Startup && ok:
			s.started, p.rest = true, true
			for j := range s.probes {
				switch o := &s.probes[j]; {
				case now.Before(o.first):
				case o.kind == containermsg.Readiness:
					o.due = now // do not let it wait for its next turn
				case !o.due.After(now):
					o.due = next(o.due, now, period(o.spec)) // its turns went by
				}
			}
			return []Action{Report{Kind: p.kind, OK: true}}
		case !ok && p.kind != containermsg.Readiness:
			p.rest = true
			return []Action{Report{Kind: p.kind, OK: false, Message: e.Message}}
		case changed:
			return []Action{Report{Kind: p.kind, OK: ok, Message: e.Message}}
		}
	}
	return nil
}

func period(p *v1.Probe) time.Duration { return max(time.Second, seconds(p.PeriodSeconds)) }

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }
