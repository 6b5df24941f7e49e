// Package mirrorplan decides about the mirror of one static pod, or of one name: make it, delete it, or wait. It is pure.
// Next folds an event into the state and then decides from the whole state, so the order and the repetition of events do
// not matter.
//
// What holds in the end, whatever came in which order: a static pod that runs has one mirror of its own manifest that
// nobody is deleting, and a name without a static pod has none.
package mirrorplan

import (
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/troupe-dev/troupe/actors/source/podchange"
)

// State is all that is known about one name.
type State struct {
	// Static is the static pod that has its turn, nil when there is none. Ending: its source has dropped it.
	Static *v1.Pod
	Ending bool
	// Known: every static pod of the node is known, so that a mirror without one is a left-over.
	Known bool
	// Mirror is the newest object of the mirror that the API server showed; nil when it has none.
	Mirror *v1.Pod
	// Buried is the UID of the mirror that was seen to be gone last: what is told late of it counts for nothing.
	Buried types.UID
	// InFlight is the one call under way, Target the mirror's UID that it is about.
	InFlight Op
	Target   types.UID
	// Failures counts calls in a row that failed; NotBefore is when the next one may start.
	Failures  int
	NotBefore time.Time
}

// Op is a call to the API server.
type Op int

// The calls.
const (
	None Op = iota
	Making
	Removing
)

// String returns the call's name as the inspection shows it.
func (o Op) String() string { return [...]string{"", "create mirror pod", "delete mirror pod"}[o] }

// Event is what happened. The family is sealed.
type Event interface{ mirrorEvent() }

type (
	// Runs is the newest object of the static pod.
	Runs struct {
		Pod    *v1.Pod
		Ending bool
	}
	// Ended says that the static pod with this UID is no more.
	Ended struct{ UID types.UID }
	// Known says that all static pods are known.
	Known struct{}
	// Seen is the mirror as the API server has it.
	Seen struct{ Pod *v1.Pod }
	// Gone says that the API server no longer has the mirror with this UID.
	Gone struct{ UID types.UID }
	// Done is the end of the call in flight. Pod is what was made.
	Done struct {
		Outcome Outcome
		Pod     *v1.Pod
		// After is the pause that the server asked for, 0 for none.
		After time.Duration
	}
	// Tick says that time has passed.
	Tick struct{}
)

func (Runs) mirrorEvent()  {}
func (Ended) mirrorEvent() {}
func (Known) mirrorEvent() {}
func (Seen) mirrorEvent()  {}
func (Gone) mirrorEvent()  {}
func (Done) mirrorEvent()  {}
func (Tick) mirrorEvent()  {}

// Outcome sorts the ends of a call.
type Outcome int

// The outcomes. Missing: what was to be deleted is not there, or another has its name.
const (
	OK Outcome = iota
	Missing
	Failed
)

// Action is what the shell has to do. The family is sealed.
type Action interface{ mirrorAction() }

type (
	// Make creates the mirror of this static pod; answered by Done.
	Make struct{ Pod *v1.Pod }
	// Remove deletes this mirror and no other of its name; answered by Done.
	Remove struct{ Mirror *v1.Pod }
	// Wait asks for a Tick at this time.
	Wait struct{ Until time.Time }
)

func (Make) mirrorAction()   {}
func (Remove) mirrorAction() {}
func (Wait) mirrorAction()   {}

// Back-off of failed calls. The first pause is short because the node's own object, which a mirror refers to, is being
// made while the node starts.
const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 10 * time.Second
)

// Next folds the event into s and says what to do.
func Next(s State, now time.Time, ev Event) (State, []Action) {
	switch e := ev.(type) {
	case Runs:
		s.Static, s.Ending = e.Pod, e.Ending
	case Ended:
		if s.Static != nil && s.Static.UID == e.UID {
			s.Static, s.Ending = nil, false
		}
	case Known:
		s.Known = true
	case Seen:
		s = seen(s, e.Pod)
	case Gone:
		s = gone(s, e.UID)
	case Done:
		s = done(s, now, e)
	case Tick:
	}
	return decide(s, now)
}

func seen(s State, pod *v1.Pod) State {
	if pod.UID == s.Buried {
		return s
	}
	if s.Mirror != nil && s.Mirror.UID == pod.UID && s.Mirror.DeletionTimestamp != nil && pod.DeletionTimestamp == nil {
		return s // a deletion is never taken back: this is an earlier state
	}
	if s.Mirror == nil || s.Mirror.UID != pod.UID || !older(pod, s.Mirror) {
		s.Mirror = pod
	}
	return s
}

func gone(s State, uid types.UID) State {
	s.Buried = uid
	if s.Mirror != nil && s.Mirror.UID == uid {
		s.Mirror = nil
	}
	return s
}

func done(s State, now time.Time, e Done) State {
	op, target := s.InFlight, s.Target
	s.InFlight, s.Target = None, ""
	if e.Outcome == Failed || e.Outcome == Missing && op == Making {
		s.Failures++
		s.NotBefore = now.Add(max(e.After, backoff(s.Failures)))
		return s
	}
	s.Failures, s.NotBefore = 0, time.Time{}
	switch op {
	case Making:
		if e.Pod != nil {
			s = seen(s, e.Pod)
		}
	case Removing:
		s = gone(s, target)
	case None:
	}
	return s
}

func decide(s State, now time.Time) (State, []Action) {
	if s.InFlight != None {
		return s, nil
	}
	var act Action
	switch {
	case s.Mirror != nil && s.spent():
		s.InFlight, s.Target = Removing, s.Mirror.UID
		act = Remove{s.Mirror}
	case s.Mirror == nil && s.Static != nil && !s.Ending:
		s.InFlight = Making
		act = Make{s.Static}
	default:
		return s, nil
	}
	if now.Before(s.NotBefore) {
		s.InFlight, s.Target = None, ""
		return s, []Action{Wait{s.NotBefore}}
	}
	return s, []Action{act}
}

// spent says that the mirror has to go: somebody asked for its deletion, it shows another manifest, or its pod is no
// more. While the pod ends it stays: it shows how.
func (s *State) spent() bool {
	if s.Static == nil {
		return s.Known
	}
	return !s.Ending && (s.Mirror.DeletionTimestamp != nil || !Of(s.Mirror, s.Static))
}

// Idle says that there is nothing left to know about the name.
func (s *State) Idle() bool { return s.Static == nil && s.Mirror == nil && s.InFlight == None }

// Of says that the mirror was made of this static pod's manifest.
func Of(mirror, static *v1.Pod) bool {
	hash, ok := mirror.Annotations[v1.MirrorPodAnnotationKey]
	return ok && hash == static.Annotations[podchange.ConfigHash]
}

// older says that a is an earlier state of the object than b. Versions of one object grow (KEP-5504).
func older(a, b *v1.Pod) bool {
	x, errX := strconv.ParseUint(a.ResourceVersion, 10, 64)
	y, errY := strconv.ParseUint(b.ResourceVersion, 10, 64)
	return errX == nil && errY == nil && x < y
}

func backoff(n int) time.Duration {
	d := backoffFirst
	for ; n > 1 && d < backoffMost; n-- {
		d *= 2
	}
	return min(d, backoffMost)
}
