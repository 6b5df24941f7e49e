package containerplan

import (
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// fold writes an event into the state. It starts nothing: decide does.
func (p *plan) fold(ev containermsg.Event) {
	s := p.s
	switch e := ev.(type) {
	case containermsg.Desired:
		before := s.Spec
		s.setPod(e.Pod)
		if before != nil && s.Spec != nil && before.Image != s.Spec.Image {
			s.Image, s.Failure = ImageState{}, Failure{}
			s.History, s.RestartAt = policy.History{}, time.Time{} // another image starts with a clean slate
		}
	case containermsg.Grant:
		if s.Grant == nil || s.Grant.Sandbox != e.Sandbox {
			s.Failure = Failure{}
		} else if s.Grant.Target != e.Target {
			s.Failure.RetryAt = earlierOf(s.Failure.RetryAt, p.now) // what was missing is there
		}
		s.Grant, s.Revoke, s.Retired = &e, nil, false
		s.Seq = max(s.Seq, e.Seq)
	case containermsg.Revoke:
		if r := s.Revoke; r != nil && !e.Deadline.Before(r.Deadline) {
			e.Grace, e.Deadline = r.Grace, r.Deadline // grace only shrinks
		}
		s.Revoke = &e
		s.Seq = max(s.Seq, e.Seq)
	case containermsg.Restart:
		p.restart()
		s.Seq = max(s.Seq, e.Seq)
	case containermsg.Retire:
		s.Retired = true
		s.Seq = max(s.Seq, e.Seq)
	case containermsg.Resize:
		p.wanted(e)
	case containermsg.Prefetch:
		s.Ahead = true
	case containermsg.ImageReady:
		if s.Image.Asked && s.Spec != nil && e.Image == s.Spec.Image {
			if s.Image.AskedAhead {
				s.Image, s.Ahead = ImageState{}, false // at its turn it asks again, for the events and the newest credentials
			} else {
				s.Image = ImageState{Ref: e.Ref, For: e.Image}
			}
		}
	case containermsg.ImageFailed:
		if s.Image.Asked && s.Spec != nil && e.Image == s.Spec.Image {
			ahead := s.Image.AskedAhead
			s.Image = ImageState{For: e.Image, Reason: e.Reason, Message: e.Message, RetryAt: e.RetryAt}
			if ahead {
				s.Image, s.Ahead = ImageState{}, false // nothing of a pull ahead shows
			}
		}
	case containermsg.ImageLost:
		s.Image.Asked, s.Image.AskedAhead = false, false
	case containermsg.Look:
		p.look(e)
		s.Seq = max(s.Seq, e.Seq)
	case containermsg.Dirty:
		at := e.At
		if at.IsZero() {
			at = p.now
		}
		switch {
		case !at.After(s.ReadAt): // a newer read has seen it
		case s.Op == containermsg.OpNone:
			s.Dirty = true
		default:
			s.HintAt = at // the call in flight may see it yet
		}
	case containermsg.ProbeResult:
		p.probe(e)
	case containermsg.Done:
		p.done(e)
	case containermsg.Tick:
		s.Timer = time.Time{}
	}
}

// restart opens a new round: the pod has a new sandbox, or all containers start again. The past stays as Prev.
func (p *plan) restart() {
	s := p.s
	s.Settled, s.RestartAll = false, false
	s.RestartAt, s.Failure, s.Image = time.Time{}, Failure{}, ImageState{}
	s.Grant, s.Revoke, s.Retired = nil, nil, false
	if s.Cur != nil {
		s.Judged = s.Cur.ID // its end was the round's: no back-off for it
	}
	s.NewRound = true
}

// look takes the truth of one moment.
func (p *plan) look(e containermsg.Look) {
	s := p.s
	if s.Op == containermsg.OpCreate || s.Op == containermsg.OpStart || e.At.Before(s.ReadAt) {
		return // our own call will tell, or a newer read has told
	}
	if s.Op == containermsg.OpStatus {
		s.Op = containermsg.OpNone // this look tells what the read under way would
	}
	s.ReadAt = e.At
	s.Doubt, s.Dirty, s.DoubtTries = false, false, 0
	s.DoubtAt = time.Time{}
	if len(e.Instances) == 0 {
		if s.Cur == nil && s.Unseen {
			p.remember()
		}
		s.Unseen = false
		p.lost()
		return
	}
	if s.Unseen {
		s.Unseen = false
		p.adopt(e.Instances)
		return
	}
	newest := e.Instances[0]
	if s.Cur != nil && newest.ID != s.Cur.ID && newest.CreatedAt.Before(s.Cur.CreatedAt) {
		p.lost() // the one we knew is gone, only older ones are left
		return
	}
	p.setCur(&newest)
	if !newest.Detailed && newest.State != model.ContainerCreated {
		s.Dirty = true
	}
	if s.Prev == nil {
		for i := 1; i < len(e.Instances); i++ {
			if c := e.Instances[i]; c.State == model.ContainerExited && c.Detailed {
				s.Prev = &c
				break
			}
		}
	}
}

func (p *plan) done(e containermsg.Done) {
	s := p.s
	if e.Gen != s.Gen || s.Op == containermsg.OpNone {
		return // stale: a look, not this, tells what it left behind
	}
	op := s.Op
	s.Op = containermsg.OpNone
	if e.ReadAt.After(s.ReadAt) {
		s.ReadAt = e.ReadAt
	}
	if s.HintAt.After(s.ReadAt) {
		s.Dirty = true
	}
	s.HintAt = time.Time{}
	if e.Err != nil {
		s.LastErr = op.String() + ": " + e.Err.Error()
	}
	switch op {
	case containermsg.OpCreate:
		p.created(e)
	case containermsg.OpStart:
		p.started(e)
	case containermsg.OpPostStart:
		s.PostStarted = true
		if e.Class != model.OutcomeOK && s.live() {
			s.Kill = &Kill{Reason: KillPostStart, Message: "FailedPostStartHook"}
			s.LastErr = "postStart: " + e.Message
			p.event(true, "FailedPostStartHook", "PostStartHook failed")
			s.Failure = Failure{Reason: ReasonPostStartError, Message: e.Message}
		}
	case containermsg.OpPreStop:
		s.PreStopped = true
		if e.Class != model.OutcomeOK {
			p.event(true, "FailedPreStopHook", "PreStopHook failed")
		}
	case containermsg.OpStop:
		p.stopped(e)
	case containermsg.OpStatus:
		p.status(e)
	case containermsg.OpRemove:
		switch e.Class {
		case model.OutcomeOK, model.OutcomeNotFound:
			if s.Cur != nil && s.Cur.ID == e.ID {
				p.neverRan()
			}
		case model.OutcomeRefused, model.OutcomeUnknown:
			s.Dirty = true
			s.StopTries++
			s.StopRetryAt = p.now.Add(pace(stopRetryFirst, stopRetryMax, s.StopTries))
		}
	case containermsg.OpResize:
		p.resized(e)
	case containermsg.OpNone:
	}
}

func (p *plan) created(e containermsg.Done) {
	s := p.s
	switch {
	case e.Class == model.OutcomeOK:
		if e.Attempt != nil {
			s.OpCount = int32(*e.Attempt)
		}
		c := model.Container{ID: e.ID, Sandbox: s.OpSandbox, Name: s.Name, UID: s.Pod.UID, Attempt: uint32(s.OpCount), State: model.ContainerCreated,
			CreatedAt: p.now, Image: s.Spec.Image, Annotations: map[string]string{AnnotationRestartCount: itoa(s.OpCount), AnnotationHash: s.Hash}}
		s.DoubtTries = 0
		s.ReadAt = laterOf(s.ReadAt, p.now)
		p.setCur(&c)
		p.event(false, "Created", "Container created")
	case e.Class == model.OutcomeUnknown, strings.Contains(msg(e.Err), "is reserved for"):
		// The runtime may still be at it: nothing is tried before a look has found the name free.
		p.doubt(true)
	default:
		reason := e.Reason
		if reason == "" {
			reason = ReasonCreateError
		}
		p.fail(reason, firstOf(e.Message, msg(e.Err)))
		p.event(true, "Failed", "Error: %s", firstOf(e.Message, msg(e.Err)))
		s.Image = ImageState{} // ask again: the image may have been removed
	}
}

func (p *plan) started(e containermsg.Done) {
	s := p.s
	switch e.Class {
	case model.OutcomeOK:
		s.Failure = Failure{}
		s.ReadAt = laterOf(s.ReadAt, p.now)
		if s.Cur != nil && s.Cur.ID == e.ID {
			c := *s.Cur
			c.State, c.StartedAt = model.ContainerRunning, p.now
			if e.Status != nil {
				c = *e.Status
			}
			p.setCur(&c)
			if !c.Detailed {
				s.Dirty = true
			}
		}
		p.event(false, "Started", "Container started")
		if s.Older != "" {
			p.do(Remove{ID: s.Older})
			s.Older = ""
		}
	case model.OutcomeUnknown:
		p.doubt(false)
	case model.OutcomeRefused, model.OutcomeNotFound:
		// The runtime leaves a container that could not start behind as exited; its end is judged like any other.
		m := firstOf(e.Message, msg(e.Err))
		p.event(true, "Failed", "Error: %s", m)
		p.fail(ReasonRunError, m)
		s.Dirty = true
	}
}

func (p *plan) stopped(e containermsg.Done) {
	s := p.s
	if e.Status != nil && s.Cur != nil && s.Cur.ID == e.Status.ID && e.Status.State == model.ContainerExited {
		p.setCur(e.Status)
		s.StopBy = time.Time{}
		return
	}
	switch e.Class {
	case model.OutcomeOK, model.OutcomeNotFound:
		s.Dirty = true
		s.StopBy = time.Time{}
		s.StopTries++ // should the look find it running all the same, the next stop waits a little
		s.StopRetryAt = p.now.Add(pace(stopRetryFirst, stopRetryMax, s.StopTries))
	case model.OutcomeRefused, model.OutcomeUnknown:
		s.Dirty = true
		s.StopTries++
		s.StopBy = time.Time{}
		s.StopRetryAt = p.now.Add(pace(stopRetryFirst, stopRetryMax, s.StopTries))
	}
}

func (p *plan) status(e containermsg.Done) {
	s := p.s
	switch e.Class {
	case model.OutcomeOK:
		s.DoubtTries = 0
		if e.Status != nil && s.Cur != nil && s.Cur.ID == e.Status.ID {
			if s.Cur.State == model.ContainerCreated && e.Status.State == model.ContainerCreated && s.Doubt {
				s.Doubt = false // the start did not happen
			}
			if e.Status.State != model.ContainerCreated {
				s.Doubt = false
			}
			p.setCur(e.Status)
		}
	case model.OutcomeNotFound:
		s.DoubtTries, s.Doubt = 0, false
		p.lost()
	case model.OutcomeRefused, model.OutcomeUnknown:
		p.again()
	}
}

// doubt records that a call's outcome is unknown.
func (p *plan) doubt(create bool) {
	p.s.Doubt, p.s.DoubtCreate = true, create
	p.s.ReadAt = laterOf(p.s.ReadAt, p.now) // a look that began before cannot tell what became of the call
	p.again()
}

// again asks for another look later.
func (p *plan) again() {
	p.s.Dirty = true
	p.s.DoubtTries++
	p.s.DoubtAt = p.now.Add(pace(doubtFirst, doubtMax, p.s.DoubtTries))
}

// fail records a refusal; the next try waits.
func (p *plan) fail(reason, message string) {
	f := &p.s.Failure
	f.Reason, f.Message = reason, message
	f.Count++
	f.RetryAt = p.now.Add(pace(failFirst, failMax, f.Count))
}

func (p *plan) probe(e containermsg.ProbeResult) {
	s := p.s
	if s.Cur == nil || s.Cur.ID != e.Container || s.Cur.State != model.ContainerRunning {
		return
	}
	switch e.Kind {
	case containermsg.Readiness:
		s.Ready = e.OK
	case containermsg.Startup:
		if e.OK {
			s.Started = true
		} else if s.Kill == nil && s.Revoke == nil && !s.Retired {
			s.Kill = &Kill{Reason: KillStartup, Message: "Container " + s.Name + " failed startup probe, will be restarted", Grace: graceOf(s.Spec.StartupProbe)}
		}
	case containermsg.Liveness:
		if !e.OK && s.Kill == nil && s.Revoke == nil && !s.Retired {
			s.Kill = &Kill{Reason: KillLiveness, Message: "Container " + s.Name + " failed liveness probe, will be restarted", Grace: graceOf(s.Spec.LivenessProbe)}
		}
	}
}

// graceOf is the grace period of a probe's own; nil when the spec has none, or no longer has the probe.
func graceOf(p *v1.Probe) *int64 {
	if p == nil {
		return nil
	}
	return p.TerminationGracePeriodSeconds
}

// pace is a doubling delay: first, 2·first, … up to max.
func pace(first, max time.Duration, n int) time.Duration {
	d := first
	for i := 1; i < n && d < max; i++ {
		d *= 2
	}
	return min(d, max)
}

func msg(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
