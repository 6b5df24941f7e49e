package podplan

import (
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// ending takes the pod down: containers inside the grace, sidecars last in reverse order, then the sandboxes, then what
// other actors hold, then (if the pod is being deleted) everything the runtime keeps of it, and last the API object.
func (p *plan) ending() {
	s := p.s
	if s.Gone {
		p.leave() // the scheduler counts it no more, and has given its place to others: they are not refused for it
	}
	if s.Op == podmsg.OpRunSandbox && !s.Cancelled && !p.now.Before(s.End.Since.Add(endPatience)) {
		s.Cancelled = true
		p.do(Cancel{Gen: s.Gen})
	}
	if !s.Listed {
		if s.Gate.Listed && s.Op == podmsg.OpNone && !p.now.Before(s.DoubtAt) {
			p.do(Look{Gen: p.begin(podmsg.OpLook, "")})
		}
		return // what runs is not known yet: the runtime's list comes first
	}
	if len(s.Unseen) > 0 && s.Op == podmsg.OpNone && !p.now.Before(s.DoubtAt) {
		p.do(Look{Gen: p.begin(podmsg.OpLook, "")})
		return
	}
	p.revokeAll()
	if due := s.forceAt(); !due.IsZero() {
		switch {
		case !p.now.Before(due):
			p.force()
		case s.live():
			return
		}
	}
	if s.Op != podmsg.OpNone {
		return
	}
	if p.settleSandboxes() {
		return
	}
	if !s.quiet() {
		return
	}
	if !s.End.Over {
		e := *s.End
		e.Over = true
		s.End = &e
	}
	p.giveBack()
	// What the runtime keeps of the pod goes while volumes and cgroup are taken down: nothing runs any more.
	if s.deleting() && p.removeAll() {
		return
	}
	if !s.cleanAll() || !s.acked() {
		return
	}
	if s.Gone {
		if !s.Done {
			s.Done = true
			p.do(Finish{})
		}
		return
	}
	if !s.Deleted && !s.Static {
		s.Deleted = true
		p.do(Delete{})
	}
}

// revokeAll tells every container to stop: init and app containers at once, then sidecars one by one in reverse order. When
// the grace has run out nobody waits for a turn any more.
func (p *plan) revokeAll() {
	s := p.s
	mains := false
	for _, name := range names(s.Pod) {
		v := s.Views[name]
		if v.Kind == model.KindSidecar {
			continue
		}
		p.revoke(name, s.End.Deadline, "the pod ends")
		mains = mains || s.liveOne(name)
	}
	if !s.End.Retired {
		e := *s.End
		e.Retired = true
		s.End = &e
		for i := range s.Pod.Spec.InitContainers {
			p.retire(s.Pod.Spec.InitContainers[i].Name)
		}
	}
	over := !p.now.Before(s.End.Deadline)
	if mains && !over {
		return
	}
	for i := len(s.Pod.Spec.InitContainers) - 1; i >= 0; i-- {
		name := s.Pod.Spec.InitContainers[i].Name
		v := s.Views[name]
		if v.Kind != model.KindSidecar {
			continue
		}
		p.revoke(name, s.End.Deadline, "the pod ends")
		if s.liveOne(name) && !over {
			return
		}
	}
}

// retire tells a sidecar that the pod ends.
func (p *plan) retire(name string) {
	s := p.s
	if s.Views[name].Kind != model.KindSidecar {
		return
	}
	s.Told[name]++
	p.do(Tell{Name: name, Event: containermsg.Retire{Seq: s.Told[name]}})
}

// force goes on without the containers that were not seen to end: their grace is over, and stopping the sandbox kills
// what is left in it, as the kubelet does after a stop that failed.
func (p *plan) force() {
	e := *p.s.End
	e.Forced, e.Looked = true, false
	p.s.End = &e
}

// settleSandboxes clears up doubts and stops what is left; it reports whether a call was begun or is due later.
func (p *plan) settleSandboxes() bool {
	s := p.s
	if p.now.Before(s.DoubtAt) || p.now.Before(s.Failure.RetryAt) {
		return true
	}
	if s.Doubt {
		p.do(Look{Gen: p.begin(podmsg.OpLook, "")})
		return true
	}
	for b := range s.sandboxes() {
		if !s.Stopped[b.ID] && !s.Removed[b.ID] {
			p.stopSandbox(b.ID)
			return true
		}
	}
	if (s.DoubtEver || s.End.Forced) && !s.End.Looked {
		p.do(Look{Gen: p.begin(podmsg.OpLook, "")})
		return true
	}
	return false
}

// leave gives the pod's place on the node back.
func (p *plan) leave() {
	s := p.s
	if s.Placed || s.Admission == AdmissionAsked { // an answer that is under way would hold the place for ever
		s.Placed = false
		if s.Admission == AdmissionAsked {
			s.Admission = NotAsked
		}
		p.do(Release{})
	}
}

// giveBack returns what other actors hold for the pod.
func (p *plan) giveBack() {
	s := p.s
	p.leave()
	if s.Volumes != Dropping && s.Volumes != Gone {
		s.Volumes = Dropping
		p.do(DropVolumes{})
	}
	if s.Cgroup != Dropping && s.Cgroup != Gone {
		s.Cgroup = Dropping
		p.do(DropCgroup{})
	}
}

// removeAll removes sandboxes with their containers, then the logs; it reports whether something is still to be done.
func (p *plan) removeAll() bool {
	s := p.s
	for b := range s.sandboxes() {
		if !s.Removed[b.ID] {
			p.do(RemoveSandbox{Gen: p.begin(podmsg.OpRemoveSandbox, b.ID), ID: b.ID})
			return true
		}
	}
	if !s.DirsGone {
		p.do(RemoveDirs{Gen: p.begin(podmsg.OpRemoveDirs, "")})
		return true
	}
	return false
}
