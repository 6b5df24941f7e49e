// Package policy holds the one restart rule of Troupe and its back-off. Containers ask it about exits, the supervision of
// actors asks it about panics. It is pure: the moment comes in, nothing is remembered here.
//
// The rule, in order: what ends for good stays ended; an exit (not a kill by a probe) is matched with the container's
// restartPolicyRules; then the container's own restartPolicy counts, else the pod's; then the back-off says when.
package policy

import (
	"slices"
	"time"
)

// Cause says how a run ended.
type Cause int

// The causes of an end.
const (
	// Exited: it ended by itself, or was killed from outside.
	Exited Cause = iota
	// Killed: Troupe ended it to have it start anew (failed liveness or startup probe, failed postStart hook, lost
	// track of it). Such an end is a failure whatever the exit code says, and exit rules do not apply.
	Killed
	// Panicked: an actor's Receive panicked.
	Panicked
)

// Exit is the end of one run.
type Exit struct {
	Code  int32
	Cause Cause
	At    time.Time
}

// failed says whether OnFailure counts this end as a failure.
func (e Exit) failed() bool { return e.Cause != Exited || e.Code != 0 }

// Restart is when a run is followed by another.
type Restart int

// The restart policies, as in the API.
const (
	Always Restart = iota
	OnFailure
	Never
)

// Act is what an exit rule asks for.
type Act int

// The actions of exit rules; ActNone is a rule of an unknown action, which matches but leaves the decision to the policy.
const (
	ActNone Act = iota
	ActRestart
	ActRestartAll
)

// Rule is one entry of restartPolicyRules: it matches when the exit code is one of Codes, or none of them if Not is set.
type Rule struct {
	Act   Act
	Not   bool
	Codes []int32
}

func (r Rule) matches(code int32) bool { return slices.Contains(r.Codes, code) != r.Not }

// Intensity bounds how often something may fail before it is left alone for a while: Count failures within Window.
// Count zero means no bound: the back-off applies from the first failure on.
type Intensity struct {
	Count  int
	Window time.Duration
}

// Policy is what applies when no rule decides.
type Policy struct {
	Restart Restart
	// Once: a success is never repeated (ordinary init containers), unless a rule asks for all containers.
	Once      bool
	Curve     Curve
	Intensity Intensity
}

// History is what has to be kept of the past for the next decision.
type History struct {
	Backoff Backoff
	// Recent are the failures within the intensity's window, oldest first; empty without an intensity.
	Recent []time.Time
}

// Action is what has to happen after an end.
type Action int

// The actions. RestartAll asks for a new round of every container of the pod. Quarantine restarts too, but later, because
// the failures came too fast.
const (
	Stay Action = iota
	Start
	RestartAll
	Quarantine
)

// String returns the action's name as the inspection shows it.
func (a Action) String() string {
	return [...]string{"stay", "restart", "restart all", "quarantine"}[a]
}

// Decision is the answer of Decide.
type Decision struct {
	Action Action
	// At is when the restart is due; it may lie in the past. Zero for Stay.
	At time.Time
	// History is to be kept if the restart is made at max(At, now); for Stay it is the old one.
	History History
}

// Wait is how long the restart is still away.
func (d Decision) Wait(now time.Time) time.Duration { return max(0, d.At.Sub(now)) }

// Decide is the only restart rule. now is the moment of the decision: a restart that is due counts as made now.
func Decide(exit Exit, rules []Rule, p Policy, h History, now time.Time) Decision {
	action := wanted(exit, rules, p)
	if action == Stay {
		return Decision{Action: Stay, History: h}
	}
	if p.Intensity.Count > 0 {
		return intense(exit, action, p, h, now)
	}
	if action == RestartAll {
		// The whole pod begins a new round at once; the kubelet's reset waits for no back-off.
		return Decision{Action: RestartAll, At: exit.At, History: h}
	}
	b := h.Backoff
	if exit.Cause == Killed {
		// As in the kubelet, a kill is counted from the exit before it: the container ran until we ended it, so a run
		// longer than the delay is followed at once. The first end of all leaves no trace on the curve.
		if b.Ended.IsZero() {
			return Decision{Action: Start, At: exit.At, History: History{Backoff: Backoff{Ended: exit.At, Last: now}}}
		}
		at := b.Due(p.Curve, b.Ended)
		if at.Before(exit.At) {
			at = exit.At
		}
		n := b.Next(p.Curve, b.Ended, later(at, now))
		n.Ended = exit.At
		return Decision{Action: Start, At: at, History: History{Backoff: n}}
	}
	at := b.Due(p.Curve, exit.At)
	return Decision{Action: Start, At: at, History: History{Backoff: b.Next(p.Curve, exit.At, later(at, now))}}
}

// wanted decides whether, without when.
func wanted(exit Exit, rules []Rule, p Policy) Action {
	done := p.Once && !exit.failed()
	if exit.Cause == Exited {
		// Only the first rule that matches counts, even if its action is not known.
		if i := slices.IndexFunc(rules, func(r Rule) bool { return r.matches(exit.Code) }); i >= 0 {
			switch rules[i].Act {
			case ActRestart:
				if !done {
					return Start
				}
			case ActRestartAll:
				return RestartAll
			case ActNone:
			}
		}
	}
	if done {
		return Stay
	}
	switch p.Restart {
	case Always:
		return Start
	case OnFailure:
		if exit.failed() {
			return Start
		}
	case Never:
	}
	return Stay
}

// intense restarts at once while failures are rare, and by the back-off once they were too frequent; from then on every
// failure backs off until a run has lasted for the curve's ResetAfter.
func intense(exit Exit, action Action, p Policy, h History, now time.Time) Decision {
	recent := make([]time.Time, 0, p.Intensity.Count)
	for _, t := range h.Recent {
		if exit.At.Sub(t) < p.Intensity.Window {
			recent = append(recent, t)
		}
	}
	recent = append(recent, exit.At)
	if extra := len(recent) - p.Intensity.Count; extra > 0 {
		recent = recent[extra:]
	}
	b := h.Backoff
	backingOff := b.Delay > 0 && !b.expired(p.Curve, exit.At)
	if len(recent) < p.Intensity.Count && !backingOff {
		return Decision{Action: action, At: exit.At, History: History{Recent: recent}}
	}
	n := b.Next(p.Curve, exit.At, now)
	at := exit.At.Add(n.Delay)
	n.Last = later(at, now)
	return Decision{Action: Quarantine, At: at, History: History{Backoff: n, Recent: recent}}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
