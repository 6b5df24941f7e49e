package podplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// decide computes from the whole state what should happen now and subtracts what is in flight.
func (p *plan) decide() {
	s := p.s
	p.triggers()
	p.show()
	if s.End != nil {
		p.ending()
		return
	}
	if !s.Listed && s.Gate.Listed && s.Op == podmsg.OpNone && !p.now.Before(s.DoubtAt) {
		p.do(Look{Gen: p.begin(podmsg.OpLook, "")}) // this actor was rebuilt: the list went to an earlier incarnation
		return
	}
	if !s.Listed || !s.Gate.SourcesReady {
		return // nothing is started or killed before the runtime and all sources were heard
	}
	switch s.Admission {
	case NotAsked:
		s.Admission = AdmissionAsked
		p.do(Admit{Adopted: s.Adopted})
		return
	case AdmissionAsked, AdmissionRefused:
		return
	case AdmissionGranted:
	}
	p.resize()
	p.holdings()
	p.prefetch()
	if s.Round == nil {
		p.round()
	}
	if s.Round != nil {
		p.turnOver()
		if s.Round != nil {
			return
		}
	}
	p.sandbox()
	if s.sandboxReady() && s.Volumes == Held && s.met() && s.promised {
		p.grants()
	}
}

// triggers begin the ending.
func (p *plan) triggers() {
	s := p.s
	switch {
	case s.Pod.DeletionTimestamp != nil:
		p.end(EndDeleted, "", "", s.Pod.DeletionGracePeriodSeconds, nil)
	case s.Gone:
		p.end(EndDeleted, "", "", nil, nil)
	case s.End != nil || !s.Listed:
	case s.terminalInAPI():
		p.end(EndTerminal, s.Pod.Status.Reason, s.Pod.Status.Message, nil, nil)
	case s.Admission == AdmissionGranted && s.pastDeadline(p.now):
		p.event(false, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
		p.end(EndNode, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline", nil, nil)
	case s.Admission == AdmissionGranted && s.completed():
		p.end(EndCompleted, "", "", nil, nil)
	}
}

func (s *State) pastDeadline(now time.Time) bool {
	at := s.deadline()
	return !at.IsZero() && !now.Before(at)
}

// forceAt is when an ending goes on without the containers that were not seen to end; zero when it need not.
func (s *State) forceAt() time.Time {
	if s.End == nil || s.End.Forced || s.End.Over || (!s.live() && !s.unread()) {
		return time.Time{}
	}
	return s.End.Deadline.Add(endForce)
}

// deadline is when activeDeadlineSeconds runs out; zero without one.
func (s *State) deadline() time.Time {
	if s.Pod.Spec.ActiveDeadlineSeconds == nil || s.StartTime.IsZero() {
		return time.Time{}
	}
	return s.StartTime.Add(time.Duration(*s.Pod.Spec.ActiveDeadlineSeconds) * time.Second)
}

// end begins the ending, or shrinks the grace of the one under way.
func (p *plan) end(why EndReason, reason, message string, graceSeconds *int64, cond *v1.PodCondition) {
	s := p.s
	if s.End != nil && why == EndDeleted && s.End.Why == EndDeleted && graceSeconds == nil && !s.Gone {
		return
	}
	grace := 30 * time.Second
	if g := s.Pod.Spec.TerminationGracePeriodSeconds; g != nil {
		grace = time.Duration(*g) * time.Second
	}
	if graceSeconds != nil {
		grace = time.Duration(*graceSeconds) * time.Second
	}
	grace = max(grace, minGrace)
	if s.End == nil {
		s.End = &End{Why: why, Reason: reason, Message: message, Condition: cond, Since: p.now, Deadline: p.now.Add(grace), Grace: grace}
		s.Round = nil
		p.do(DropImages{})
		return
	}
	if grace >= s.End.Grace && (s.End.Condition != nil || cond == nil) {
		return // the same wish again, or a longer grace
	}
	e := *s.End
	if grace < e.Grace {
		// A shorter grace counts from when it was asked for, as deletionTimestamp does.
		e.Grace = grace
		if by := p.now.Add(grace); by.Before(e.Deadline) {
			e.Deadline = by
		}
	}
	if e.Condition == nil {
		e.Condition = cond
	}
	s.End = &e
}

// holdings asks for what other actors own, again when the object changed.
func (p *plan) holdings() {
	s := p.s
	target := p.cgroupTarget()
	if s.WantedPod == s.Pod && target == s.CgroupOf {
		return
	}
	changed := s.WantedPod == nil || wantsChange(s.WantedPod, s.Pod)
	if changed || target != s.CgroupOf {
		if s.Cgroup == None {
			s.Cgroup = Asked
		}
		p.wantCgroup(target)
	}
	if changed {
		if s.Volumes == None {
			s.Volumes = Asked
		}
		p.do(WantVolumes{})
	}
	s.WantedPod = s.Pod
}

// askAgain repeats what other actors were asked for: one of them has forgotten it.
func (p *plan) askAgain() {
	s := p.s
	s.WantedPod = nil
	s.Resize.Forgotten()
	s.Deleted = false
	if s.Admission == AdmissionAsked {
		s.Admission = NotAsked
	} else if s.Placed {
		p.do(Admit{Adopted: true}) // it has its place: the ledger learns of it again
	}
	if s.Volumes == Dropping {
		p.do(DropVolumes{})
	}
	if s.Cgroup == Dropping {
		p.do(DropCgroup{})
	}
	for _, name := range names(s.Pod) {
		if _, known := s.Views[name]; known {
			p.do(Tell{Name: name, Event: containermsg.ImageLost{}})
		}
	}
}

// wantsChange says whether what cgroup and volumes are made from may differ.
func wantsChange(a, b *v1.Pod) bool {
	return a.Generation != b.Generation || !sameMap(a.Labels, b.Labels) || !sameMap(a.Annotations, b.Annotations)
}

func sameMap(a, b map[string]string) bool {
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

// prefetch lets the images of containers that wait for their turn be pulled.
func (p *plan) prefetch() {
	s := p.s
	if s.Prefetched {
		return
	}
	s.Prefetched = true
	for _, name := range names(s.Pod) {
		if s.Views[name].Current == nil {
			p.do(Tell{Name: name, Event: containermsg.Prefetch{}})
		}
	}
}

// sandbox brings up the sandbox, or looks at it.
func (p *plan) sandbox() {
	s := p.s
	if s.Op != podmsg.OpNone || p.now.Before(s.DoubtAt) {
		return
	}
	if s.Doubt || len(s.Unseen) > 0 {
		p.do(Look{Gen: p.begin(podmsg.OpLook, "")})
		return
	}
	if s.Sandbox != nil && s.Sandbox.State == model.SandboxReady && !s.Stopped[s.Sandbox.ID] {
		if s.Dirty || !s.Sandbox.Detailed {
			s.Dirty = false
			p.do(ReadSandbox{Gen: p.begin(podmsg.OpSandboxStatus, s.Sandbox.ID), ID: s.Sandbox.ID})
		} else if b := s.stale(); b != nil && s.met() && !p.now.Before(s.Failure.RetryAt) {
			p.stopSandbox(b.ID)
		}
		return
	}
	if p.now.Before(s.Failure.RetryAt) || s.Cgroup != Held || !s.Gate.RuntimeReady {
		return
	}
	if s.Sandbox != nil && !s.met() {
		return // what runs in the dead one is not known before all containers have said it
	}
	if !s.Gate.NetworkReady && !s.Pod.Spec.HostNetwork {
		if !s.NetworkTold {
			s.NetworkTold = true
			p.event(true, "NetworkNotReady", "network is not ready: the runtime reports that its network is not ready")
		}
		return
	}
	if b := s.stale(); b != nil {
		p.stopSandbox(b.ID)
		return
	}
	p.do(RunSandbox{Gen: p.begin(podmsg.OpRunSandbox, ""), Attempt: s.Attempt, Parent: s.CgroupParent})
}

// stale is a sandbox that has to be stopped: not the ready one.
func (s *State) stale() *model.Sandbox {
	for b := range s.sandboxes() {
		if s.Stopped[b.ID] || (s.Sandbox != nil && b.ID == s.Sandbox.ID && b.State == model.SandboxReady) {
			continue
		}
		return b
	}
	return nil
}

func (p *plan) stopSandbox(id model.SandboxID) {
	p.do(StopSandbox{Gen: p.begin(podmsg.OpStopSandbox, id), ID: id})
}

// timer asks for one Tick at the earliest moment that something is due.
func (p *plan) timer() {
	s := p.s
	var at time.Time
	due := func(t time.Time) {
		if t.After(p.now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if s.Op == podmsg.OpNone {
		due(s.DoubtAt)
		due(s.Failure.RetryAt)
	}
	if s.End == nil {
		due(s.Resize.RetryAt)
		due(s.deadline())
	} else {
		due(s.forceAt())
		if s.live() {
			due(s.End.Deadline) // whoever waits for its turn to stop stops then
		}
		if s.Op == podmsg.OpRunSandbox && !s.Cancelled {
			due(s.End.Since.Add(endPatience))
		}
	}
	if !at.Equal(s.Timer) {
		s.Timer = at
		p.do(SetTimer{At: at})
	}
}
