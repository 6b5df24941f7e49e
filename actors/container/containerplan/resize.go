package containerplan

import (
	"fmt"

	"github.com/troupe-dev/troupe/actors/pod/allocation"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

// The pod decides what an instance should have and in which order; the container carries it out when nothing else of it
// is in flight, and reports what its instance was last given.

// made is what an instance was created with, before it is known whether the create succeeded.
func (s *State) made() {
	given := allocation.Effective(s.Pod.Spec.Resources, &s.Spec.Resources)
	s.OpGiven = &given
}

// wanted takes the pod's word for the current instance; for another one it is late.
func (p *plan) wanted(e containermsg.Resize) {
	s := p.s
	if s.Cur == nil || s.Cur.ID != e.ID || s.Cur.State != model.ContainerRunning {
		return
	}
	s.Resize = &e
}

// resizing begins the resize that the pod asked for; it reports whether a call was begun.
func (p *plan) resizing() bool {
	s := p.s
	r := s.Resize
	if r == nil {
		return false
	}
	s.Resize = nil
	if r.Restart {
		s.ResizeGen, s.ResizeErr = r.Gen, ""
		if s.Kill == nil {
			s.Kill = &Kill{Reason: KillResize, Message: fmt.Sprintf("Container %s resize requires restart", s.Name)}
		}
		return false
	}
	s.OpGiven, s.OpResize = r.Resources, r.Gen
	p.do(Update{Gen: p.begin(containermsg.OpResize, s.Cur.ID), ID: s.Cur.ID, Resources: r.Resources})
	return true
}

// resized takes the end of an update. After a failure the instance has what it had, or what it was to get: the next
// update settles it.
func (p *plan) resized(e containermsg.Done) {
	s := p.s
	s.ResizeGen, s.ResizeErr = s.OpResize, ""
	switch e.Class {
	case model.OutcomeOK:
		s.Given = s.OpGiven
		if e.Status != nil && s.Cur != nil && s.Cur.ID == e.Status.ID {
			p.setCur(e.Status)
			return
		}
		s.Dirty = true // what it has now is shown from a read
	case model.OutcomeRefused, model.OutcomeNotFound, model.OutcomeUnknown:
		s.ResizeErr = firstOf(e.Message, msg(e.Err))
		s.Dirty = e.Class != model.OutcomeRefused
	}
}
