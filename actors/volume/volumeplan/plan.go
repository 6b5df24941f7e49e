package volumeplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// The back-off between attempts that fail: the kubelet's for volume operations (pkg/util/goroutinemap/exponentialbackoff).
const (
	BackoffInitial = 500 * time.Millisecond
	BackoffMax     = 2*time.Minute + 2*time.Second
)

// The event reasons of a volume that cannot be set up, and of a directory that cannot be removed.
const (
	ReasonFailedMount   = "FailedMount"
	ReasonFailedUnmount = "FailedUnmount"
)

// Flight is the effect that runs for the pod. There is never more than one, so set-up and clean-up cannot meet.
type Flight int

// The effects.
const (
	Idle Flight = iota
	SettingUp
	TearingDown
)

// State is all that is known of one pod's volumes. The zero value is a pod that was never heard of.
type State struct {
	// Pod is the newest Want; nil once the newest message was Drop.
	Pod *v1.Pod
	// Purge says that a Drop came, or a sweep found a directory without owner: everything goes before anything is set up
	// again. A static pod's UID comes back, its files must not.
	Purge bool

	Flight Flight
	Gen    model.Generation
	// Dirty says that the disk may differ from what the newest Pod and its objects ask for.
	Dirty bool
	// Ready says that a set-up has succeeded since the last clean-up; Mounts is its result.
	Ready  bool
	Mounts Mounts

	// Failures counts attempts in a row that failed; NotBefore is when the next may start.
	Failures  int
	NotBefore time.Time
	// Refresh is when content expires (tokens) although nobody changes anything; zero for never.
	Refresh time.Time
	// Blocker is why the last attempt failed, for explain and for a repeated Want; "" after a success.
	Blocker string
	// Gone ends the pod's entry: nothing of it is on the node.
	Gone bool
}

// Event is what happens to a pod's volumes. The family is sealed.
type Event interface{ volumeEvent() }

type (
	// Want is volumemsg.Want.
	Want struct{ Pod *v1.Pod }
	// Drop is volumemsg.Drop.
	Drop struct{}
	// Changed says that an object the volumes are filled from has changed, appeared or vanished.
	Changed struct{}
	// Tick says that time has passed.
	Tick struct{}
	// SetUpDone is the end of SetUp. Failures is by volume, empty for success; Refresh is when content expires.
	SetUpDone struct {
		Gen      model.Generation
		Mounts   Mounts
		Failures []Failure
		Refresh  time.Time
	}
	// TornDown is the end of TearDown.
	TornDown struct {
		Gen model.Generation
		Err string // "" for success
	}
)

// Failure is a volume that could not be set up. Message is the event's text.
type Failure struct{ Volume, Message string }

func (Want) volumeEvent()      {}
func (Drop) volumeEvent()      {}
func (Changed) volumeEvent()   {}
func (Tick) volumeEvent()      {}
func (SetUpDone) volumeEvent() {}
func (TornDown) volumeEvent()  {}

// Action is what the actor has to do. The family is sealed.
type Action interface{ volumeAction() }

type (
	// SetUp runs the set-up of every volume of Pod, and ends in SetUpDone with the same Gen.
	SetUp struct {
		Gen model.Generation
		Pod *v1.Pod
	}
	// TearDown takes everything of the pod off the node, and ends in TornDown with the same Gen.
	TearDown struct{ Gen model.Generation }
	// Cancel asks the set-up in flight to end early; its SetUpDone comes all the same.
	Cancel struct{}
	// TellReady, TellBlocked and TellGone answer the newest sender.
	TellReady struct{ Mounts Mounts }
	// TellBlocked answers with what the volumes wait for.
	TellBlocked struct{ Reason, Message string }
	// TellGone answers a Drop.
	TellGone struct{}
	// Report records a warning event on the pod.
	Report struct {
		Pod             *v1.Pod
		Reason, Message string
	}
)

func (SetUp) volumeAction()       {}
func (TearDown) volumeAction()    {}
func (Cancel) volumeAction()      {}
func (TellReady) volumeAction()   {}
func (TellBlocked) volumeAction() {}
func (TellGone) volumeAction()    {}
func (Report) volumeAction()      {}

// Next folds the event into the state and decides what is to be done at this moment.
func Next(s State, e Event, now time.Time) (State, []Action) {
	var acts []Action
	switch e := e.(type) {
	case Want:
		acts = s.want(e.Pod)
	case Drop:
		acts = s.drop()
	case Changed:
		if s.Pod != nil {
			s.Dirty, s.NotBefore = true, time.Time{}
		}
	case Tick:
		if s.Pod != nil && !s.Refresh.IsZero() && !now.Before(s.Refresh) {
			s.Dirty, s.Refresh = true, time.Time{}
		}
	case SetUpDone:
		acts = s.setUpDone(e, now)
	case TornDown:
		acts = s.tornDown(e, now)
	}
	return decide(s, acts, now)
}

// Due is when the pod needs a Tick; zero for never.
func (s State) Due() time.Time {
	switch {
	case s.Flight != Idle || s.Gone:
		return time.Time{}
	case s.Purge || (s.Pod != nil && s.Dirty):
		return s.NotBefore
	}
	return s.Refresh
}

func decide(s State, acts []Action, now time.Time) (State, []Action) {
	if s.Flight != Idle || s.Gone || now.Before(s.NotBefore) {
		return s, acts
	}
	switch {
	case s.Purge:
		s.Gen++
		s.Flight = TearingDown
		return s, append(acts, TearDown{Gen: s.Gen})
	case s.Pod == nil || !s.Dirty:
		return s, acts
	case bare(s.Pod):
		s.Dirty, s.Ready, s.Mounts = false, true, Mounts{}
		return s, append(acts, TellReady{s.Mounts})
	}
	s.Gen++
	s.Flight, s.Dirty = SettingUp, false
	return s, append(acts, SetUp{Gen: s.Gen, Pod: s.Pod})
}

// bare pods need nothing on disk.
func bare(pod *v1.Pod) bool { return len(Mounted(pod)) == 0 }

func (s *State) want(pod *v1.Pod) []Action {
	old := s.Pod
	s.Pod, s.Gone = pod, false
	if old == nil {
		s.Dirty = true
	} else if Differs(old, pod) {
		s.Dirty, s.NotBefore = true, time.Time{}
	}
	switch {
	case s.Ready:
		return []Action{TellReady{s.Mounts}}
	case s.Blocker != "":
		return []Action{TellBlocked{s.reason(), s.Blocker}}
	}
	return nil
}

func (s *State) drop() []Action {
	if s.Pod == nil && s.Purge {
		return nil
	}
	purging := s.Purge
	s.Pod, s.Purge, s.Gone = nil, true, false
	s.reset(purging)
	if s.Flight == SettingUp {
		return []Action{Cancel{}}
	}
	return nil
}

// reset forgets the set-up; a clean-up that is being retried keeps its back-off.
func (s *State) reset(keepBackoff bool) {
	if !keepBackoff {
		s.Failures, s.NotBefore, s.Blocker = 0, time.Time{}, ""
	}
	s.Ready, s.Mounts, s.Dirty, s.Refresh = false, nil, false, time.Time{}
}

// reason is the event reason that goes with Blocker.
func (s *State) reason() string {
	if s.Purge {
		return ReasonFailedUnmount
	}
	return ReasonFailedMount
}

func (s *State) setUpDone(e SetUpDone, now time.Time) []Action {
	if s.Flight != SettingUp || e.Gen != s.Gen {
		return nil
	}
	s.Flight = Idle
	if s.Purge {
		return nil // dropped meanwhile: what it left is torn down now
	}
	if len(e.Failures) > 0 {
		return s.failed(e, now)
	}
	s.Failures, s.NotBefore, s.Blocker = 0, time.Time{}, ""
	s.Refresh = e.Refresh
	tell := !s.Ready || !sameMounts(s.Mounts, e.Mounts)
	s.Ready, s.Mounts = true, e.Mounts
	if tell {
		return []Action{TellReady{s.Mounts}}
	}
	return nil
}

// failed keeps a pod that was ready once ready: its containers run with the content that they have.
func (s *State) failed(e SetUpDone, now time.Time) []Action {
	var acts []Action
	for _, f := range e.Failures {
		acts = append(acts, Report{s.Pod, ReasonFailedMount, f.Message})
	}
	if !s.Ready && s.Blocker != e.Failures[0].Message {
		acts = append(acts, TellBlocked{ReasonFailedMount, e.Failures[0].Message})
	}
	s.Blocker = e.Failures[0].Message
	if s.Dirty {
		// Something changed while we tried: what failed may be there now.
		s.Failures++
		return acts
	}
	s.Dirty = true
	s.retry(now)
	return acts
}

func (s *State) tornDown(e TornDown, now time.Time) []Action {
	if s.Flight != TearingDown || e.Gen != s.Gen {
		return nil
	}
	s.Flight = Idle
	if e.Err == "" {
		s.Purge = false
		s.Failures, s.NotBefore, s.Blocker = 0, time.Time{}, ""
		if s.Pod != nil {
			return nil // wanted again meanwhile: set up anew
		}
		s.Gone = true
		return []Action{TellGone{}}
	}
	s.retry(now)
	if s.Blocker == e.Err {
		return nil
	}
	s.Blocker = e.Err
	return []Action{TellBlocked{ReasonFailedUnmount, e.Err}}
}

func (s *State) retry(now time.Time) {
	s.NotBefore = now.Add(Backoff(s.Failures))
	s.Failures++
}

// Backoff is the pause after the n-th failure in a row, counted from 0.
func Backoff(n int) time.Duration {
	d := BackoffInitial
	for range n {
		if d *= 2; d >= BackoffMax {
			return BackoffMax
		}
	}
	return d
}

func sameMounts(a, b Mounts) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}
