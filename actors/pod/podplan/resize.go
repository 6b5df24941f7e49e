package podplan

import (
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/allocation"
	"github.com/troupe-dev/troupe/actors/pod/resizeplan"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// An in-place resize is decided in resizeplan; here it meets the rest of the pod. What the node has promised, and not what
// the spec asks, is what cgroup, sandbox, containers and status are made from.

// setPod takes a newer object.
func (s *State) setPod(pod *v1.Pod) {
	s.Pod = pod
	s.allocate()
}

// allocate makes Run anew.
func (s *State) allocate() { s.Run = allocation.Apply(s.Pod, s.Resize.Allocated) }

// CgroupValues are the objects that a cgroup's values were made from: those of Pod, and no less than those of AtLeast.
type CgroupValues struct{ Pod, AtLeast *v1.Pod }

// cgroupOf is what the pod's cgroup was last asked to be.
type cgroupOf struct {
	allocated *model.Allocation
	settled   bool // just what is promised; else it also covers what containers still have
}

// show passes the newest object on to the containers. While a resize waits for the pod's cgroup to grow they keep what
// they know: a container that is made now must fit in.
func (p *plan) show() {
	s := p.s
	if s.Shown == s.Run {
		s.promised = s.promised || s.Placed
		return
	}
	if !s.Listed {
		return
	}
	if s.End == nil && s.Placed && !s.covered() && !allocation.Fits(s.Run, allocation.Of(s.Shown)) {
		return
	}
	s.Shown, s.promised = s.Run, s.promised || s.Placed
	for _, name := range names(s.Run) {
		if _, known := s.Views[name]; known {
			p.do(Tell{Name: name, Event: containermsg.Desired{Pod: s.Run}})
		}
	}
}

// covered: the pod's cgroup has room for what is promised.
func (s *State) covered() bool {
	return s.Resize.Allocated == nil || s.CgroupOf.allocated == s.Resize.Allocated && s.CgroupSeen == s.CgroupSeq
}

func (p *plan) facts() resizeplan.Facts {
	s := p.s
	f := resizeplan.Facts{
		Desired: s.Pod, Allocated: s.Run, Covered: s.covered() && s.Cgroup == Held, CgroupErr: s.CgroupErr, Now: p.now,
	}
	f.Exact = f.Covered && s.CgroupOf.settled
	add := func(list []v1.Container) {
		for i := range list {
			f.Containers = append(f.Containers, resizeplan.Container{Name: list[i].Name, View: s.Views[list[i].Name], Policy: list[i].ResizePolicy})
		}
	}
	add(s.Run.Spec.InitContainers)
	add(s.Run.Spec.Containers)
	return f
}

// resize takes the next step of a resize, if there is one.
func (p *plan) resize() {
	if p.s.Resize.Allocated != nil {
		p.carry(p.s.Resize.Step(p.facts()))
	}
}

// resizeEvent folds what the node or a look answered.
func (p *plan) resizeEvent(ev podmsg.Event) {
	s := p.s
	switch e := ev.(type) {
	case podmsg.Admitted:
		s.Resize.Admitted(s.Pod, e)
	case podmsg.Resized:
		p.carry(s.Resize.Resized(p.facts(), e))
	case podmsg.ResizePending:
		p.carry(s.Resize.Refused(p.facts(), e))
	case podmsg.MemoryUsage:
		p.carry(s.Resize.Used(p.facts(), e))
	}
	s.allocate()
}

func (p *plan) carry(acts []resizeplan.Action) {
	for _, act := range acts {
		switch x := act.(type) {
		case resizeplan.Ask:
			p.do(AskResize{})
		case resizeplan.Look:
			p.do(LookMemory{Gen: x.Gen, Containers: x.Containers})
		case resizeplan.Give:
			p.do(Tell{Name: x.Name, Event: containermsg.Resize{Gen: x.Gen, ID: x.ID, Resources: x.Resources, Restart: x.Restart}})
		case resizeplan.Record:
			p.do(RecordActuated{Actuated: x.Actuated})
		case resizeplan.Event:
			p.do(Event{Warning: x.Warning, Reason: x.Reason, Message: x.Message})
		}
	}
}

// cgroupTarget is what the pod's cgroup should be now.
func (p *plan) cgroupTarget() cgroupOf {
	s := p.s
	return cgroupOf{s.Resize.Allocated, !s.Resize.Resizing || s.Resize.Settling(p.facts())}
}

// wantCgroup asks for the pod's cgroup as it should be now.
func (p *plan) wantCgroup(of cgroupOf) {
	s := p.s
	s.CgroupSeq++
	s.CgroupOf = of
	want := WantCgroup{Pod: s.Run, Seq: s.CgroupSeq}
	s.cgroupWanted = CgroupValues{Pod: s.Run}
	if !of.settled {
		var shown *v1.Pod
		if s.promised {
			shown = s.Shown
		}
		want.AtLeast = allocation.Apply(s.Run, s.Resize.Holds(shown))
	}
	s.cgroupWanted.AtLeast = want.AtLeast
	p.do(want)
}
