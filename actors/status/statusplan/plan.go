// Package statusplan decides what is written to the API server about one pod: the status patch, the final delete, and
// when to wait. It is pure. Next folds an event into the state and then decides from the whole state, so the order and
// the repetition of events do not matter.
package statusplan

import (
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
)

// State is all that is known about the writing of one pod.
type State struct {
	// API is the newest object that the API server showed, by resourceVersion, in an answer or through the watch; nil
	// while there is none (a static pod without its mirror).
	API *v1.Pod
	// Local marks a pod that did not come from the API server. It has an object there only when it has a mirror.
	Local bool
	// Wanted is the newest published status, normalized; nil when nothing was published. Gen is its generation.
	Wanted *v1.PodStatus
	Gen    uint64
	// Acked is the newest generation that was acknowledged.
	Acked uint64
	// Deleting: the final delete was asked for. Deleted: the API server took it.
	Deleting, Deleted bool
	// Gone: the API server has the object no more. A UID never returns.
	Gone bool
	// InFlight is the one call under way, and Sent the generation that it carries, or would if a Replace was in time.
	InFlight Op
	Sent     uint64
	// Reread: the object is to be read before the next write, because a write was refused or its fate is unknown.
	Reread bool
	// Failures counts calls in a row that failed; mends counts writes in a row for one generation. Both slow down.
	Failures, mends int
	// NotBefore is when the next call may start.
	NotBefore time.Time
}

// Op is a call to the API server.
type Op int

// The calls.
const (
	None Op = iota
	Patching
	Reading
	Removing
)

// String returns the call's name as the inspection shows it.
func (o Op) String() string { return [...]string{"", "patch status", "get", "delete"}[o] }

// Event is what happened. The family is sealed.
type Event interface{ statusEvent() }

type (
	// Publish is a new status. Pod is the source's object.
	Publish struct {
		Pod    *v1.Pod
		Status *v1.PodStatus
		Gen    uint64
	}
	// Seen is the object as the watch has it, the mirror's for a static pod.
	Seen struct{ Pod *v1.Pod }
	// Gone says that the object is no more; for a static pod, that its mirror is.
	Gone struct{}
	// Delete asks for the final delete.
	Delete struct{}
	// Done is the end of the call in flight. Pod is the answer's object, where there is one.
	Done struct {
		Op      Op
		Outcome Outcome
		Pod     *v1.Pod
		// After is the pause that the server asked for, 0 for none.
		After time.Duration
		Now   time.Time
	}
	// Tick says that time has passed.
	Tick struct{ Now time.Time }
)

func (Publish) statusEvent() {}
func (Seen) statusEvent()    {}
func (Gone) statusEvent()    {}
func (Delete) statusEvent()  {}
func (Done) statusEvent()    {}
func (Tick) statusEvent()    {}

// Outcome sorts the ends of a call.
type Outcome int

// The outcomes: OK; Missing (no such object, or another UID under the name); Disputed (refused because of what the
// object is: read it again); Failed (anything that may pass: server errors, throttling, no connection, no answer).
const (
	OK Outcome = iota
	Missing
	Disputed
	Failed
)

// Action is what the shell has to do.
type Action interface{ statusAction() }

type (
	// Start begins the one call. Body is the patch.
	Start struct {
		Op  Op
		Pod *v1.Pod // name, namespace and UID of the object
		// Body is the patch of Patching.
		Body []byte
		// Ahead: somebody waits for this write (a pod became ready or not, or has ended). It goes before those that only
		// tell of progress, so that in a burst these are overtaken by what comes next of their pod, and never made.
		Ahead bool
		// After is how long the patch is kept back; a Replace that goes ahead ends that.
		After time.Duration
	}
	// Replace changes what the patch in flight carries, if the call has not begun: in a burst it waits for its turn, and
	// its pod goes on meanwhile. Where it comes too late, the end of the call leads to another patch. The new body is
	// Patch(Pod.UID, &Pod.Status, Status), for whoever makes the call to compute: in a burst most are replaced again.
	Replace struct {
		Pod    *v1.Pod
		Status *v1.PodStatus
		Ahead  bool
	}
	// Ack tells the publisher that the API server holds this generation, or that there is nothing that could hold it.
	Ack struct{ Gen uint64 }
	// Wait asks for a Tick at this time.
	Wait struct{ Until time.Time }
	// Fault is an error that the plan cannot act on; it is to be logged.
	Fault struct{ Err error }
)

func (Start) statusAction()   {}
func (Replace) statusAction() {}
func (Ack) statusAction()     {}
func (Wait) statusAction()    {}
func (Fault) statusAction()   {}

// Back-off of failed calls and of statuses that others keep overwriting.
const (
	backoffFirst = 200 * time.Millisecond
	backoffMost  = 10 * time.Second
	mendsAtOnce  = 3
	mendFirst    = time.Second
	mendMost     = 30 * time.Second
)

// NewsDelay is how long a status that nobody waits for is kept back: what the pod goes through next mostly replaces it. A
// pod that starts says four things in its first second, of which one matters, that it is ready.
const NewsDelay = 500 * time.Millisecond

// Next folds the event into s and says what to do.
func Next(s State, ev Event) (State, []Action) {
	var now time.Time
	switch e := ev.(type) {
	case Publish:
		s = publish(s, e)
	case Seen:
		s = seen(s, e.Pod)
	case Gone:
		s = gone(s)
	case Delete:
		s.Deleting = true
	case Done:
		now = e.Now
		s = done(s, e)
	case Tick:
		now = e.Now
		if !now.Before(s.NotBefore) {
			s.NotBefore = time.Time{}
		}
	}
	return decide(s)
}

func publish(s State, e Publish) State {
	if s.Wanted != nil && e.Gen < s.Gen {
		return s
	}
	wanted := Normalize(e.Pod, e.Status)
	if s.Wanted != nil && Terminal(s.Wanted.Phase) && wanted.Phase != s.Wanted.Phase {
		wanted.Phase, wanted.Reason, wanted.Message = s.Wanted.Phase, s.Wanted.Reason, s.Wanted.Message
	}
	if e.Gen != s.Gen {
		s.mends = 0
	}
	s.Wanted, s.Gen = wanted, e.Gen
	return s
}

func seen(s State, pod *v1.Pod) State {
	if s.Gone && !s.Local {
		return s
	}
	if s.Local {
		if s.API != nil && s.API.UID != pod.UID {
			s.API = nil // another mirror
		}
		s.Gone = false
	}
	if s.API == nil || !older(pod, s.API) {
		s.API = pod
	}
	return s
}

func gone(s State) State {
	if s.Local {
		s.API = nil
		return s
	}
	s.Gone = true
	return s
}

func done(s State, e Done) State {
	sent := s.Sent
	s.InFlight, s.Sent = None, 0
	switch e.Outcome {
	case OK:
		s.Failures, s.Reread = 0, false
		if e.Pod != nil {
			s = seen(s, e.Pod)
		}
		switch e.Op {
		case Patching:
			if sent == s.Gen {
				s.mends++
				if s.mends > mendsAtOnce {
					s.NotBefore = e.Now.Add(backoff(mendFirst, mendMost, s.mends-mendsAtOnce))
				}
			}
		case Removing:
			s.Deleted = true
		case None, Reading:
		}
	case Missing:
		s.Failures, s.Reread = 0, false
		s = gone(s)
	case Disputed:
		// The first dispute is cleared by a read; what is disputed again after it has to wait.
		s.Failures++
		s.Reread = true
		if s.Failures > 1 {
			s.NotBefore = e.Now.Add(backoff(backoffFirst, backoffMost, s.Failures))
		}
	case Failed:
		s.Failures++
		s.NotBefore = e.Now.Add(max(e.After, backoff(backoffFirst, backoffMost, s.Failures)))
	}
	return s
}

func decide(s State) (State, []Action) {
	if s.API == nil || s.Gone {
		// Nothing could hold the status. A mirror that appears later still gets it.
		if s.InFlight == None && s.Wanted != nil && s.Acked < s.Gen {
			s.Acked = s.Gen
			return s, []Action{Ack{s.Gen}}
		}
		return s, nil
	}
	if s.InFlight != None {
		return replace(s)
	}
	var body []byte
	if s.Wanted != nil {
		var err error
		body, err = Patch(s.API.UID, &s.API.Status, Merge(&s.API.Status, s.Wanted))
		if err != nil {
			return s, []Action{Fault{err}}
		}
	}
	var acts []Action
	if body == nil && s.Wanted != nil && s.Acked < s.Gen {
		s.Acked = s.Gen
		acts = append(acts, Ack{s.Gen})
	}
	remove := s.Deleting && !s.Deleted && !s.Local
	if body == nil && !remove {
		return s, acts
	}
	if !s.NotBefore.IsZero() {
		return s, append(acts, Wait{s.NotBefore})
	}
	start := Start{Op: Patching, Pod: s.API, Body: body, Ahead: urgent(s)}
	if !start.Ahead && s.Failures == 0 {
		start.After = NewsDelay
	}
	switch {
	case s.Reread:
		s.Reread = false
		start = Start{Op: Reading, Pod: s.API, Ahead: start.Ahead}
	case body == nil:
		start = Start{Op: Removing, Pod: s.API, Ahead: true}
	}
	s.InFlight, s.Sent = start.Op, s.Gen
	return s, append(acts, start)
}

// replace brings the patch in flight up to date.
func replace(s State) (State, []Action) {
	if s.InFlight != Patching || s.Sent == s.Gen || s.Wanted == nil {
		return s, nil
	}
	s.Sent = s.Gen
	return s, []Action{Replace{Pod: s.API, Status: Merge(&s.API.Status, s.Wanted), Ahead: urgent(s)}}
}

// urgent says that readers wait for what is wanted: services and controllers for readiness, schedulers for a pod's end.
func urgent(s State) bool {
	if s.Wanted == nil {
		return false
	}
	if Terminal(s.Wanted.Phase) && !Terminal(s.API.Status.Phase) {
		return true
	}
	if s.API.DeletionTimestamp != nil {
		return false // nobody counts on its readiness any more
	}
	return isTrue(s.API.Status.Conditions, v1.PodReady) != isTrue(s.Wanted.Conditions, v1.PodReady)
}

func isTrue(list []v1.PodCondition, t v1.PodConditionType) bool {
	c := find(list, t)
	return c != nil && c.Status == v1.ConditionTrue
}

// older says that a is an earlier state of the object than b. Versions of one object grow (KEP-5504); where they are no
// numbers, what arrives later counts as newer.
func older(a, b *v1.Pod) bool {
	x, errX := strconv.ParseUint(a.ResourceVersion, 10, 64)
	y, errY := strconv.ParseUint(b.ResourceVersion, 10, 64)
	return errX == nil && errY == nil && x < y
}

func backoff(first, most time.Duration, n int) time.Duration {
	d := first
	for ; n > 1 && d < most; n-- {
		d *= 2
	}
	return min(d, most)
}
