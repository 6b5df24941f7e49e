package podplan

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// desired takes a newer object; show passes it on to the containers.
func (p *plan) desired(pod *v1.Pod) {
	s := p.s
	s.setPod(pod)
	if !s.Listed {
		return
	}
	for _, name := range names(pod) {
		if _, known := s.Views[name]; !known {
			p.spawn(name, []model.Container{}) // an ephemeral container was added
		}
	}
}

func (p *plan) spawn(name string, instances []model.Container) {
	p.s.Views[name] = model.ContainerView{Name: name, Stage: model.StageHeld, Kind: kindOf(p.s.Pod, name)}
	if instances == nil {
		instances = []model.Container{} // none, and not unknown
	}
	p.do(Spawn{Name: name, Instances: instances})
	s := p.s
	s.Told[name]++ // to be made is the first word: until it has answered, nothing is known of it
}

func kindOf(pod *v1.Pod, name string) model.ContainerKind {
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.Name == name {
			if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
				return model.KindSidecar
			}
			return model.KindInit
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			return model.KindEphemeral
		}
	}
	return model.KindApp
}

// dirty passes a hint on to whom it concerns; what an own call in flight will tell is left to that call.
func (p *plan) dirty(e podmsg.Dirty) {
	s := p.s
	for name, v := range s.Views {
		if v.Current != nil && v.Current.ID == e.Container {
			p.do(Tell{Name: name, Event: containermsg.Dirty{At: e.At}})
			return
		}
	}
	if !e.At.IsZero() && !e.At.After(s.ReadAt) {
		return
	}
	if s.Sandbox != nil && string(s.Sandbox.ID) == string(e.Container) {
		s.Dirty = true
	}
	// A container that is being created is not known yet: its own create will tell. Anything else of this pod that the
	// plan does not know is found by the node's slow list.
}

// look takes the truth of one moment: the first one spawns the containers, later ones find what changed unheard.
func (p *plan) look(e podmsg.Look) {
	s := p.s
	if s.Op == podmsg.OpRunSandbox || s.Op == podmsg.OpStopSandbox || s.Op == podmsg.OpRemoveSandbox {
		if s.Listed {
			return // our own call is newer than this list
		}
	}
	if !s.Listed && s.Op == podmsg.OpLook && e.At.Before(s.OpSince) {
		return // a list from before this actor was rebuilt; its own look is under way
	}
	if s.Listed && e.At.Before(s.ReadAt) {
		return // older than what is known already
	}
	s.ReadAt = laterOf(s.ReadAt, e.At)
	newestFirst(&e.Observed)
	s.takeSandboxes(e.Observed)
	byName := map[string][]model.Container{}
	for _, c := range e.Observed.Containers {
		byName[c.Name] = append(byName[c.Name], c)
	}
	if !s.Listed {
		s.Listed = true
		s.Shown = s.Run // they are made from it
		s.Adopted = !s.terminalInAPI() && s.running(byName)
		for _, name := range names(s.Pod) {
			p.spawn(name, byName[name])
		}
		return
	}
	for _, name := range names(s.Pod) {
		v, known := s.Views[name]
		if !known {
			continue
		}
		if s.Unseen[name] {
			delete(s.Unseen, name)
			p.do(Tell{Name: name, Event: containermsg.Desired{Pod: s.Shown}})
			s.Told[name]++
			s.Floor[name] = s.Told[name]
			p.do(Tell{Name: name, Event: containermsg.Look{Instances: byName[name], At: e.At, Seq: s.Told[name]}})
			if s.End != nil && s.End.Retired {
				p.retire(name)
			}
			continue
		}
		if differs(v, byName[name]) {
			s.Told[name]++
			p.do(Tell{Name: name, Event: containermsg.Look{Instances: byName[name], At: e.At, Seq: s.Told[name]}})
		}
	}
}

// newestFirst orders what a runtime lists in any order; sharers of the slices keep theirs.
func newestFirst(o *model.PodObserved) {
	if sandboxes := func(a, b model.Sandbox) int { return b.CreatedAt.Compare(a.CreatedAt) }; !slices.IsSortedFunc(o.Sandboxes, sandboxes) {
		o.Sandboxes = slices.Clone(o.Sandboxes)
		slices.SortStableFunc(o.Sandboxes, sandboxes)
	}
	if containers := func(a, b model.Container) int { return b.CreatedAt.Compare(a.CreatedAt) }; !slices.IsSortedFunc(o.Containers, containers) {
		o.Containers = slices.Clone(o.Containers)
		slices.SortStableFunc(o.Containers, containers)
	}
}

// takeSandboxes takes what the runtime has. The one in use stays in use while it is ready, whatever else turns up (the
// late child of a call that was given up); otherwise a ready one counts before others, one with running containers before
// an empty one, a newer one before an older. What is known in detail is kept.
func (s *State) takeSandboxes(o model.PodObserved) {
	var all []model.Sandbox
	for _, b := range o.Sandboxes {
		if s.Removed[b.ID] {
			continue
		}
		s.Attempt = max(s.Attempt, b.Attempt+1)
		if was := s.Sandbox; was != nil && was.ID == b.ID && was.Detailed && !b.Detailed {
			keep := *was
			keep.State = b.State
			b = keep
		}
		all = append(all, b)
	}
	if was := s.Sandbox; was != nil && !slices.ContainsFunc(all, func(b model.Sandbox) bool { return b.ID == was.ID }) {
		lost := *was // somebody removed it: it counts as dead until there is another one
		lost.State = model.SandboxNotReady
		s.Stopped[was.ID], s.Removed[was.ID] = true, true
		s.Sandbox, s.Old = &lost, all
		return
	}
	best := -1
	for i := range all {
		if best < 0 || s.worth(&all[i], o) > s.worth(&all[best], o) {
			best = i
		}
	}
	if best < 0 {
		s.Sandbox, s.Old = nil, nil
		return
	}
	used := all[best]
	s.Sandbox, s.Old = &used, slices.Delete(all, best, best+1)
}

// worth ranks sandboxes for takeSandboxes.
func (s *State) worth(b *model.Sandbox, o model.PodObserved) int {
	if b.State != model.SandboxReady || s.Stopped[b.ID] {
		return 0
	}
	if s.Sandbox != nil && s.Sandbox.ID == b.ID {
		return 3
	}
	for i := range o.Containers {
		if c := &o.Containers[i]; c.Sandbox == b.ID && c.State == model.ContainerRunning {
			return 2
		}
	}
	return 1
}

func (s *State) running(byName map[string][]model.Container) bool {
	if s.Sandbox != nil && s.Sandbox.State == model.SandboxReady {
		return true
	}
	for _, list := range byName {
		for i := range list {
			if list[i].State == model.ContainerRunning {
				return true
			}
		}
	}
	return false
}

// differs says whether a list shows another newest instance or state than the container's own view.
func differs(v model.ContainerView, seen []model.Container) bool {
	if v.Op != "" && v.Op != containermsg.OpStatus.String() {
		return false // its own call in flight will tell; a read that hangs tells nothing
	}
	if len(seen) == 0 {
		return v.Current != nil && v.Current.State != model.ContainerExited
	}
	return v.Current == nil || v.Current.ID != seen[0].ID || v.Current.State != seen[0].State
}

func (p *plan) done(e podmsg.Done) {
	s := p.s
	if e.Gen != s.Gen || s.Op == podmsg.OpNone {
		return // stale: a look, not this, tells what it left behind
	}
	op, id := s.Op, s.OpID
	s.Op = podmsg.OpNone
	s.LastClass = e.Class
	if e.Err != nil {
		s.LastErr = op.String() + ": " + e.Err.Error()
	}
	if e.ReadAt.After(s.ReadAt) {
		s.ReadAt = e.ReadAt
	}
	switch op {
	case podmsg.OpRunSandbox:
		p.sandboxMade(e)
	case podmsg.OpSandboxStatus:
		p.sandboxRead(e, id)
	case podmsg.OpStopSandbox:
		if e.Class == model.OutcomeOK || e.Class == model.OutcomeNotFound {
			s.Stopped[id], s.Failure = true, Failure{}
			if s.Sandbox != nil && s.Sandbox.ID == id {
				b := *s.Sandbox
				b.State = model.SandboxNotReady
				s.Sandbox = &b
			}
		} else {
			p.fail(e.Err)
		}
	case podmsg.OpRemoveSandbox:
		if e.Class == model.OutcomeOK || e.Class == model.OutcomeNotFound {
			s.Removed[id], s.Stopped[id], s.Failure = true, true, Failure{}
		} else {
			p.fail(e.Err)
		}
	case podmsg.OpLook:
		if e.Class != model.OutcomeOK || e.Look == nil {
			p.again()
			break
		}
		s.Doubt, s.DoubtAt, s.DoubtTries = false, time.Time{}, 0
		p.look(*e.Look)
		p.lookedBack(e.Look.Observed)
	case podmsg.OpRemoveDirs:
		s.DirsGone = true // what could not be removed was logged; it holds nothing up
	case podmsg.OpNone, podmsg.OpRemoveContainer:
	}
}

// lookedBack takes a look of the ending: it is over when nothing runs after all sandboxes were stopped. What runs all the
// same is stopped again.
func (p *plan) lookedBack(o model.PodObserved) {
	s := p.s
	if s.End == nil || (s.live() && !s.End.Forced) {
		return
	}
	for b := range s.sandboxes() {
		if !s.Stopped[b.ID] && !s.Removed[b.ID] {
			return // stop it first
		}
	}
	e := *s.End
	e.Looked = stopped(o)
	s.End = &e
	if e.Looked {
		return
	}
	p.again()
	for i := range o.Sandboxes {
		if o.Sandboxes[i].State == model.SandboxReady {
			delete(s.Stopped, o.Sandboxes[i].ID)
		}
	}
	for i := range o.Containers {
		if o.Containers[i].State == model.ContainerRunning {
			delete(s.Stopped, o.Containers[i].Sandbox)
		}
	}
}

// stopped says whether a look shows nothing that runs.
func stopped(o model.PodObserved) bool {
	for i := range o.Containers {
		if o.Containers[i].State == model.ContainerRunning {
			return false
		}
	}
	for i := range o.Sandboxes {
		if o.Sandboxes[i].State == model.SandboxReady {
			return false
		}
	}
	return true
}

func (p *plan) sandboxMade(e podmsg.Done) {
	s := p.s
	switch e.Class {
	case model.OutcomeOK:
		b := e.Sandbox
		if s.Sandbox != nil {
			s.Old = append([]model.Sandbox{*s.Sandbox}, s.Old...)
		}
		s.Sandbox, s.Failure, s.Dirty = &b, Failure{}, !b.Detailed
		s.Attempt = b.Attempt + 1
		s.ReadAt = laterOf(s.ReadAt, p.now)
	case model.OutcomeUnknown:
		s.Doubt, s.DoubtEver = true, true
		p.again()
	case model.OutcomeRefused, model.OutcomeNotFound:
		// A refused try leaves its attempt's name free; a sandbox that half exists shows up in the look.
		p.fail(e.Err)
		s.Doubt = true // look once: the runtime may have kept what it began
		p.event(true, "FailedCreatePodSandBox", "Failed to create pod sandbox: %v", e.Err)
	}
}

func (p *plan) sandboxRead(e podmsg.Done, id model.SandboxID) {
	s := p.s
	if s.Sandbox == nil || s.Sandbox.ID != id {
		return
	}
	switch e.Class {
	case model.OutcomeOK:
		b := e.Sandbox
		s.Sandbox = &b
	case model.OutcomeNotFound:
		b := *s.Sandbox
		b.State = model.SandboxNotReady
		s.Sandbox = &b
		s.Stopped[id], s.Removed[id] = true, true
	case model.OutcomeRefused, model.OutcomeUnknown:
		s.Dirty = true
		p.again()
	}
}

func (p *plan) again() {
	p.s.DoubtTries++
	p.s.DoubtAt = p.now.Add(pace(doubtFirst, doubtMax, p.s.DoubtTries))
}

func (p *plan) fail(err error) {
	f := &p.s.Failure
	f.Count++
	if err != nil {
		f.Err = err.Error()
	}
	f.RetryAt = p.now.Add(pace(sandboxFirst, sandboxMax, f.Count))
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
