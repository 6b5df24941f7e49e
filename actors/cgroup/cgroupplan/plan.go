package cgroupplan

import (
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// Event is something that happened. The family is sealed.
type Event interface{ cgroupEvent() }

type (
	// Want asks for a pod's cgroup.
	Want struct {
		UID     model.UID
		Desired cgroups.Desired
		Class   v1.PodQOSClass
		Request model.MilliCPU
	}
	// Drop asks for the end of a pod's cgroup.
	Drop struct{ UID model.UID }
	// Sweep names the pods that have an owner.
	Sweep struct{ Owned map[model.UID]struct{} }
	// BaseDone, EnforceDone and TierDone end the operations of the node's own cgroups. Err is "" for success.
	BaseDone    struct{ Err string }
	EnforceDone struct{ Err string }
	TierDone    struct {
		Sum model.MilliCPU
		Err string
	}
	// PodDone ends the operation on a pod's cgroup.
	PodDone struct {
		UID model.UID
		Err string
	}
	// Listed ends the listing of the pod cgroups that are there.
	Listed struct {
		Found []model.UID
		Err   string
	}
	// Tick is the timer.
	Tick struct{}
)

func (Want) cgroupEvent()        {}
func (Drop) cgroupEvent()        {}
func (Sweep) cgroupEvent()       {}
func (BaseDone) cgroupEvent()    {}
func (EnforceDone) cgroupEvent() {}
func (TierDone) cgroupEvent()    {}
func (PodDone) cgroupEvent()     {}
func (Listed) cgroupEvent()      {}
func (Tick) cgroupEvent()        {}

// Action is something to do. The family is sealed.
type Action interface{ cgroupAction() }

type (
	// ApplyBase makes kubepods and the tiers; answered by BaseDone.
	ApplyBase struct{}
	// ApplyLimits enforces node allocatable and the reserved cgroups; answered by EnforceDone.
	ApplyLimits struct{}
	// ApplyTier writes the burstable tier's shares; answered by TierDone.
	ApplyTier struct{ Sum model.MilliCPU }
	// ApplyPod makes or updates a pod's cgroup; answered by PodDone.
	ApplyPod struct {
		UID     model.UID
		Desired cgroups.Desired
	}
	// RemovePod removes a pod's cgroup from every tier that it may be in; answered by PodDone.
	RemovePod struct{ UID model.UID }
	// List lists the pod cgroups that are there; answered by Listed.
	List struct{}
	// Ready, Failed and Gone answer the newest Want or Drop of a pod.
	Ready  struct{ UID model.UID }
	Failed struct {
		UID model.UID
		Err string
	}
	Gone struct{ UID model.UID }
	// SetTimer replaces the timer; zero stops it.
	SetTimer struct{ At time.Time }
)

func (ApplyBase) cgroupAction()   {}
func (ApplyLimits) cgroupAction() {}
func (ApplyTier) cgroupAction()   {}
func (ApplyPod) cgroupAction()    {}
func (RemovePod) cgroupAction()   {}
func (List) cgroupAction()        {}
func (Ready) cgroupAction()       {}
func (Failed) cgroupAction()      {}
func (Gone) cgroupAction()        {}
func (SetTimer) cgroupAction()    {}

// Next folds the event into the state, which it may change in place, and decides what to do now.
func Next(s State, e Event, now time.Time) (State, []Action) {
	p := plan{s: &s, now: now}
	p.fold(e)
	p.decide()
	return s, p.acts
}

type plan struct {
	s    *State
	now  time.Time
	acts []Action
}

func (p *plan) do(a Action) { p.acts = append(p.acts, a) }

func (p *plan) fold(e Event) {
	s := p.s
	switch e := e.(type) {
	case Want:
		p.renew(e.UID, true, &e)
	case Drop:
		p.renew(e.UID, false, nil)
	case Sweep:
		s.Owned, s.SweepAt, s.Swept = e.Owned, time.Time{}, true
	case BaseDone:
		if e.Err == "" {
			s.Base.done()
			break
		}
		s.Base.failed(p.now, e.Err)
		for _, uid := range p.pending() {
			if s.Pods[uid].Wanted {
				p.do(Failed{uid, e.Err})
			}
		}
	case EnforceDone:
		if e.Err == "" {
			s.Enforce.done()
			break
		}
		s.Enforce = Task{RetryAt: p.now.Add(enforceRetry), Err: e.Err}
	case TierDone:
		s.TierBusy, s.TierErr = false, e.Err
		if e.Err == "" {
			s.Tier, s.TierSet = e.Sum, true
		}
	case PodDone:
		p.podDone(e)
	case Listed:
		p.listed(e)
	case Tick:
		s.TimerAt = time.Time{}
	}
}

// renew starts a pod over for a new Want or Drop: the operation in flight ends first, but answers nobody.
func (p *plan) renew(uid model.UID, wanted bool, w *Want) {
	pod := p.s.Pods[uid]
	if pod == nil {
		pod = &Pod{}
		p.s.Pods[uid] = pod
	}
	p.s.Sum -= pod.share()
	if pod.Wanted != wanted {
		// What failed before says nothing about the opposite.
		pod.Backoff, pod.RetryAt, pod.Err = policy.Backoff{}, time.Time{}, ""
	}
	if w != nil {
		pod.Desired, pod.Class, pod.Request = w.Desired, w.Class, w.Request
	}
	pod.Wanted, pod.Settled = wanted, false
	p.s.Sum += pod.share()
	pod.Stale = pod.Op != None
	if pod.Op == None {
		p.s.Pending[uid] = struct{}{}
	}
}

func (p *plan) podDone(e PodDone) {
	pod := p.s.Pods[e.UID]
	if pod == nil || pod.Op == None {
		return
	}
	op, stale := pod.Op, pod.Stale
	pod.Op, pod.Stale = None, false
	p.s.Pending[e.UID] = struct{}{}
	if e.Err != "" {
		pod.Err = e.Err
		pod.Backoff, pod.RetryAt = pod.Backoff.Failed(retryCurve(), p.now)
		if stale {
			pod.RetryAt = time.Time{}
			return
		}
		p.do(Failed{e.UID, e.Err})
		return
	}
	pod.Backoff, pod.RetryAt, pod.Err = policy.Backoff{}, time.Time{}, ""
	switch {
	case op == Removing && !pod.Wanted:
		// Also when a second Drop came meanwhile: gone is gone.
		delete(p.s.Pods, e.UID)
		delete(p.s.Pending, e.UID)
		p.do(Gone{e.UID})
	case op == Applying && pod.Wanted && !stale:
		pod.Settled = true
		delete(p.s.Pending, e.UID)
		p.do(Ready{e.UID})
	}
}

func (p *plan) listed(e Listed) {
	s := p.s
	s.Listing = false
	if e.Err != "" {
		s.SweepAt = p.now.Add(sweepListRetry)
		return
	}
	for _, uid := range e.Found {
		_, owned := s.Owned[uid]
		if _, known := s.Pods[uid]; !owned && !known {
			s.Pods[uid] = &Pod{}
			s.Pending[uid] = struct{}{}
		}
	}
	s.Owned = nil
}

func (p *plan) pending() []model.UID { return slices.Sorted(maps.Keys(p.s.Pending)) }

// decide starts whatever the state allows. Invariant: at most one operation is in flight for each pod, and none for a
// wanted pod before the base stands.
func (p *plan) decide() {
	s := p.s
	if !s.PerQOS {
		for _, uid := range p.pending() {
			delete(s.Pending, uid)
			if pod := s.Pods[uid]; pod.Wanted {
				pod.Settled = true
				p.do(Ready{uid})
			} else {
				delete(s.Pods, uid)
				p.do(Gone{uid})
			}
		}
		s.Owned = nil
		return
	}
	if s.Base.ready(p.now) {
		s.Base.Phase = Busy
		p.do(ApplyBase{})
	}
	if s.Base.Phase == Done {
		p.tier()
		if s.Enforce.ready(p.now) {
			s.Enforce.Phase = Busy
			p.do(ApplyLimits{})
		}
	}
	for _, uid := range p.pending() {
		p.step(uid, s.Pods[uid])
	}
	if s.Owned != nil && !s.Listing && !p.now.Before(s.SweepAt) {
		s.Listing = true
		p.do(List{})
	}
	p.timer()
}

func (p *plan) step(uid model.UID, pod *Pod) {
	switch {
	case p.now.Before(pod.RetryAt):
		return
	case !pod.Wanted:
		pod.Op = Removing
		p.do(RemovePod{uid})
	case p.s.Base.Phase == Done:
		pod.Op = Applying
		p.do(ApplyPod{uid, pod.Desired})
	default:
		return
	}
	delete(p.s.Pending, uid)
}

// tier keeps the burstable tier's shares in step. A restarted agent does not know its pods yet, so an empty sum is
// written only once a Sweep has shown that all are known: the tier must not starve meanwhile.
func (p *plan) tier() {
	s := p.s
	if s.TierBusy || p.now.Before(s.TierAt) {
		return
	}
	if s.tierDiffers() {
		s.TierBusy, s.TierAt = true, p.now.Add(tierInterval)
		p.do(ApplyTier{s.Sum})
	}
}

func (s *State) tierDiffers() bool {
	return !(s.TierSet && s.Sum == s.Tier) && (s.Sum != 0 || s.Swept)
}

// timer asks to be woken for the next thing that time alone will allow.
func (p *plan) timer() {
	s := p.s
	var at time.Time
	due := func(t time.Time) {
		if t.After(p.now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if s.Base.Phase == Due {
		due(s.Base.RetryAt)
	} else if s.Enforce.Phase == Due {
		due(s.Enforce.RetryAt)
	}
	if s.Base.Phase == Done && !s.TierBusy && s.tierDiffers() {
		due(s.TierAt)
	}
	if s.Owned != nil && !s.Listing {
		due(s.SweepAt)
	}
	for uid := range s.Pending {
		due(s.Pods[uid].RetryAt)
	}
	if !at.Equal(s.TimerAt) {
		s.TimerAt = at
		p.do(SetTimer{at})
	}
}
