package containerplan

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

// decide computes from the whole state what should happen now and subtracts what is in flight.
func (p *plan) decide() {
	s := p.s
	if s.Spec == nil {
		return
	}
	p.interrupt()
	if s.Op != containermsg.OpNone {
		return
	}
	if s.Cur != nil && s.Cur.State == model.ContainerExited && s.Cur.Detailed {
		s.Dirty = false // an end is final: there is nothing more to read
	}
	if s.Doubt || (s.Dirty && s.Cur != nil) {
		if p.read() || s.Doubt {
			return
		}
	}
	switch {
	case s.Cur == nil:
		s.Dirty = false
		p.next()
	case s.Cur.State == model.ContainerRunning:
		p.running()
	case s.Cur.State == model.ContainerCreated:
		p.unstarted()
	case s.Cur.State == model.ContainerUnknown:
		if s.Kill == nil {
			s.Kill = &Kill{Reason: KillUnknown, Message: "Container is in unknown state, try killing it before restart"}
		}
		p.stop()
	case s.Cur.State == model.ContainerExited:
		p.ended()
	}
}

// interrupt ends or replaces the call in flight when the pod's will has changed.
func (p *plan) interrupt() {
	s := p.s
	switch s.Op {
	case containermsg.OpPostStart:
		if s.Revoke != nil || s.Kill != nil {
			p.do(Cancel{Gen: s.Gen})
			s.Op, s.PostStarted = containermsg.OpNone, true
		}
	case containermsg.OpPreStop:
		if !p.now.Before(p.stopDeadline()) {
			p.do(Cancel{Gen: s.Gen})
			s.Op, s.PreStopped = containermsg.OpNone, true
		}
	case containermsg.OpStop:
		// Grace only shrinks: the runtime accepts a second, shorter stop beside the first.
		if r := s.Revoke; r != nil && laterOf(r.Deadline, p.now.Add(minStopGrace)).Before(s.StopBy) {
			s.StopBy = laterOf(r.Deadline, p.now.Add(minStopGrace))
			gen := p.begin(containermsg.OpStop, s.Cur.ID)
			p.do(Stop{Gen: gen, ID: s.Cur.ID, Grace: s.StopBy.Sub(p.now)})
			return
		}
		switch {
		case !s.HintAt.IsZero() && !p.now.Before(s.HintAt.Add(hintPatience)):
			// It has probably ended, and the answer of the stop does not come.
			s.HintAt = time.Time{}
			p.do(ReadStatus{Gen: p.begin(containermsg.OpStatus, s.Cur.ID), ID: s.Cur.ID})
		case !p.now.Before(s.stopAgain()):
			s.StopTries++
			s.StopBy = p.now.Add(minStopGrace)
			p.do(Stop{Gen: p.begin(containermsg.OpStop, s.Cur.ID), ID: s.Cur.ID, Grace: minStopGrace})
		}
	case containermsg.OpCreate, containermsg.OpStart:
		if s.Revoke != nil && !p.now.Before(s.patienceEnds()) && !s.Cancelled {
			s.Cancelled = true
			p.do(Cancel{Gen: s.Gen})
		}
	case containermsg.OpStatus:
		// A read that hangs does not hold up a stop: the stop does not need what it would tell.
		if s.unreadStop() && !p.now.Before(s.patienceEnds()) {
			p.do(Cancel{Gen: s.Gen})
			s.Op, s.Dirty = containermsg.OpNone, false
		}
	case containermsg.OpResize:
		if s.Revoke != nil || s.Kill != nil {
			p.do(Cancel{Gen: s.Gen})
			s.Op, s.ResizeGen, s.ResizeErr = containermsg.OpNone, s.OpResize, "the container is being stopped"
		}
	case containermsg.OpNone, containermsg.OpRemove:
	}
}

// stopAgain is when a stop that has not answered is tried again beside the one in flight.
func (s *State) stopAgain() time.Time {
	return s.StopBy.Add(pace(stopPatience, stopPatienceMax, s.StopTries+1))
}

// patienceEnds is when a revoked container stops waiting for the call in flight.
func (s *State) patienceEnds() time.Time {
	r := s.Revoke
	return earlierOf(r.Deadline, laterOf(s.OpSince, r.Deadline.Add(-r.Grace)).Add(endPatience))
}

// unreadStop: a running instance has to stop, and only a read is in the way.
func (s *State) unreadStop() bool {
	return s.Op == containermsg.OpStatus && s.Revoke != nil && !s.Doubt && s.Cur != nil && s.Cur.State == model.ContainerRunning
}

// read looks at the instance when something may have changed; it reports whether a call was begun.
func (p *plan) read() bool {
	s := p.s
	if p.now.Before(s.DoubtAt) {
		return false
	}
	s.Dirty, s.DoubtAt = false, time.Time{}
	if s.Doubt && (s.DoubtCreate || s.Cur == nil) {
		p.do(Find{Gen: p.begin(containermsg.OpStatus, "")})
		return true
	}
	p.do(ReadStatus{Gen: p.begin(containermsg.OpStatus, s.Cur.ID), ID: s.Cur.ID})
	return true
}

// running: hooks and probes, or the way to the stop.
func (p *plan) running() {
	s := p.s
	if s.Kill == nil && s.Revoke == nil && !s.Retired && p.changed() {
		s.Kill = &Kill{Reason: KillChanged, Message: fmt.Sprintf("Container %s definition changed, will be restarted", s.Name)}
	}
	if s.Kill == nil && s.Revoke == nil && p.resizing() {
		return
	}
	if s.Revoke != nil || s.Kill != nil {
		if s.Probing {
			s.Probing, s.Winding = false, s.Revoke != nil
			p.do(StopProbes{KeepReadiness: s.Winding})
		}
		p.stop()
		return
	}
	if !s.PostStarted {
		if s.Spec.Lifecycle != nil && s.Spec.Lifecycle.PostStart != nil {
			p.do(PostStart{Gen: p.begin(containermsg.OpPostStart, s.Cur.ID), ID: s.Cur.ID})
			return
		}
		s.PostStarted = true
	}
	if s.Spec.StartupProbe == nil {
		s.Started = true
	}
	if s.Spec.ReadinessProbe == nil {
		s.Ready = s.Started
	}
	if !s.Probing && (s.Spec.StartupProbe != nil || s.Spec.ReadinessProbe != nil || s.Spec.LivenessProbe != nil) {
		s.Probing = true
		p.do(StartProbes{ID: s.Cur.ID})
	}
}

// quiet ends whatever probes are on.
func (p *plan) quiet() {
	if p.s.Probing || p.s.Winding {
		p.s.Probing, p.s.Winding = false, false
		p.do(StopProbes{})
	}
}

// changed: the spec is another one than the instance was made from.
func (p *plan) changed() bool {
	h := p.s.Cur.Annotations[AnnotationHash]
	return h != "" && h != p.s.Hash && p.s.Kind != model.KindEphemeral
}

// stopDeadline is when the grace of the stop under way has run out.
func (p *plan) stopDeadline() time.Time {
	s := p.s
	if s.Kill != nil && s.Kill.By.IsZero() {
		k := *s.Kill
		k.By = p.now.Add(s.grace())
		s.Kill = &k
	}
	switch {
	case s.Revoke != nil && s.Kill != nil:
		return earlierOf(s.Revoke.Deadline, s.Kill.By)
	case s.Revoke != nil:
		return s.Revoke.Deadline
	case s.Kill != nil:
		return s.Kill.By
	}
	return p.now
}

// stop runs preStop inside the grace and then asks the runtime.
func (p *plan) stop() {
	s := p.s
	if p.now.Before(s.StopRetryAt) {
		return
	}
	left := p.stopDeadline().Sub(p.now)
	if !s.StopTold {
		s.StopTold = true
		m := "Stopping container " + s.Name
		if s.Kill != nil && s.Kill.Message != "" {
			m = s.Kill.Message
		}
		p.event(false, "Killing", "%s", m)
	}
	if !s.PreStopped {
		if s.Spec.Lifecycle != nil && s.Spec.Lifecycle.PreStop != nil && left > 0 && s.Cur.State == model.ContainerRunning {
			p.do(PreStop{Gen: p.begin(containermsg.OpPreStop, s.Cur.ID), ID: s.Cur.ID, Grace: left})
			return
		}
		s.PreStopped = true
	}
	left = max(left, minStopGrace)
	s.StopBy = p.now.Add(left)
	p.do(Stop{Gen: p.begin(containermsg.OpStop, s.Cur.ID), ID: s.Cur.ID, Grace: left})
}

// unstarted: a created instance is started when it fits the grant, else removed.
func (p *plan) unstarted() {
	s := p.s
	switch {
	case s.Revoke != nil || s.Retired:
		s.Settled = true // it never ran; the sandbox's removal takes it away
	case s.Grant == nil, p.now.Before(s.Failure.RetryAt), p.now.Before(s.StopRetryAt):
	case s.Grant.Sandbox != s.Cur.Sandbox || p.changed():
		p.do(Remove{Gen: p.begin(containermsg.OpRemove, s.Cur.ID), ID: s.Cur.ID})
	default:
		p.do(Start{Gen: p.begin(containermsg.OpStart, s.Cur.ID), ID: s.Cur.ID})
	}
}

// ended judges the end of the instance once, and then goes on to the next one if there is to be one.
func (p *plan) ended() {
	s := p.s
	if !s.Cur.Detailed {
		if p.now.Before(s.DoubtAt) {
			return
		}
		p.do(ReadStatus{Gen: p.begin(containermsg.OpStatus, s.Cur.ID), ID: s.Cur.ID})
		return
	}
	p.quiet()
	s.Started, s.Ready = false, false
	if s.Judged != s.Cur.ID {
		p.judge()
	}
	if s.Revoke != nil || s.Retired {
		s.Settled = true
	}
	p.next()
}

// next brings up the next instance, one step at a time: permission, back-off, image, create.
func (p *plan) next() {
	s := p.s
	if s.Revoke != nil || s.Retired {
		s.Settled = true
		return
	}
	if s.Settled {
		return
	}
	if s.Grant == nil {
		if s.Ahead && !s.Image.Asked && s.Image.Ref == "" && s.Spec.ImagePullPolicy == v1.PullIfNotPresent {
			s.Image = ImageState{Asked: true, AskedAhead: true, For: s.Spec.Image}
			p.do(EnsureImage{Ahead: true})
		}
		return
	}
	if p.now.Before(s.RestartAt) || p.now.Before(s.Failure.RetryAt) {
		return
	}
	s.RestartAt = time.Time{}
	if s.Image.Ref == "" || s.Image.For != s.Spec.Image {
		if (s.Image.Asked && !s.Image.AskedAhead) || p.now.Before(s.Image.RetryAt) {
			return
		}
		// The last reason stays visible until the answer comes.
		s.Image.Asked, s.Image.AskedAhead, s.Image.For, s.Image.Ref = true, false, s.Spec.Image, ""
		p.do(EnsureImage{})
		return
	}
	ref := s.Image.Ref
	s.Image = ImageState{}
	s.Cancelled = false
	s.OpSandbox, s.OpCount = s.Grant.Sandbox, s.NextCount
	s.made()
	p.do(Create{Gen: p.begin(containermsg.OpCreate, ""), Attempt: uint32(s.NextCount), Image: ref, Grant: *s.Grant})
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
	switch s.Op {
	case containermsg.OpPreStop:
		due(p.stopDeadline())
	case containermsg.OpCreate, containermsg.OpStart:
		if s.Revoke != nil && !s.Cancelled {
			due(s.patienceEnds())
		}
	case containermsg.OpStatus:
		if s.unreadStop() {
			due(s.patienceEnds())
		}
	case containermsg.OpNone:
		if s.Doubt || s.Dirty || (s.Cur != nil && !s.Cur.Detailed) {
			due(s.DoubtAt)
		}
		if s.live() {
			due(s.StopRetryAt)
		}
		if !s.Settled && s.mayRun() {
			due(s.RestartAt)
			due(s.Failure.RetryAt)
			if !s.Image.Asked {
				due(s.Image.RetryAt)
			}
		}
	case containermsg.OpStop:
		due(s.stopAgain())
		if !s.HintAt.IsZero() {
			due(s.HintAt.Add(hintPatience))
		}
	case containermsg.OpPostStart, containermsg.OpRemove, containermsg.OpResize:
	}
	if !at.Equal(s.Timer) {
		s.Timer = at
		p.do(SetTimer{At: at})
	}
}

func earlierOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
