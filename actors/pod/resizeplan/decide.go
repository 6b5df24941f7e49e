package resizeplan

import (
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/allocation"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
)

// Step decides what to do now.
func (s *State) Step(f Facts) []Action {
	if s.Allocated == nil {
		return nil
	}
	acts := s.ask(f)
	acts = append(acts, s.heard(f)...)
	if s.Resizing {
		acts = append(acts, s.carryOut(f)...)
	}
	return append(acts, s.record()...)
}

// ask asks the node when the newest object wants something else than what was asked last, or than what is promised.
func (s *State) ask(f Facts) []Action {
	if s.Seen == f.Desired {
		return nil
	}
	s.Seen = f.Desired
	asked := s.Asked
	if asked == nil {
		asked = f.Allocated
	}
	if allocation.Fits(f.Desired, allocation.Of(asked)) {
		return nil
	}
	s.Asked, s.Waiting = f.Desired, true
	return []Action{Ask{}}
}

// heard takes what the containers say they were given, and the end of the update in flight.
func (s *State) heard(f Facts) []Action {
	for i := range f.Containers {
		s.given(f, &f.Containers[i])
	}
	for name, id := range s.Restarting {
		if c := find(f, name); c == nil || gone(c, id) {
			s.Restarting = maps.Clone(s.Restarting)
			delete(s.Restarting, name)
		}
	}
	u := s.Update
	if u == nil {
		return nil
	}
	c := find(f, u.Name)
	switch {
	case c == nil || !running(*c) || c.View.Current.ID != u.ID:
		s.Update = nil // it ended first; the next instance is made with what is promised
	case c.View.ResizeGen == u.Gen:
		s.Update = nil
		if c.View.ResizeErr != "" {
			return s.failed(f, c.View.ResizeErr)
		}
	}
	return nil
}

// given takes what one container says its instance was given.
func (s *State) given(f Facts, c *Container) {
	g := c.View.Given
	if g == nil || c.View.Current == nil || s.Heard[c.Name] == g {
		return
	}
	if s.Heard == nil {
		s.Heard = map[string]*v1.ResourceRequirements{}
	}
	s.Heard[c.Name] = g
	if had, ok := s.Given[c.Name]; !ok || !allocation.Same(&had, g) {
		next := map[string]v1.ResourceRequirements{}
		maps.Copy(next, s.Given)
		next[c.Name] = *g
		s.Given, s.News = next, true
	}
	if want := effective(f, c.Name); !s.Resizing && valuesOf(g) != valuesOf(&want) {
		s.begin() // it was being made while the promise came
	}
}

// gone: the instance that had to give way has been replaced by one that runs, or will not be.
func gone(c *Container, id model.ContainerID) bool {
	v := &c.View
	return v.Settled || v.Current == nil || (v.Current.ID != id && v.Current.State != model.ContainerCreated)
}

func find(f Facts, name string) *Container {
	for i := range f.Containers {
		if f.Containers[i].Name == name {
			return &f.Containers[i]
		}
	}
	return nil
}

func running(c Container) bool {
	return c.View.Current != nil && c.View.Current.State == model.ContainerRunning
}

// effective is what a container should have been told.
func effective(f Facts, name string) v1.ResourceRequirements {
	for _, list := range [][]v1.Container{f.Allocated.Spec.InitContainers, f.Allocated.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return allocation.Effective(f.Allocated.Spec.Resources, &list[i].Resources)
			}
		}
	}
	return v1.ResourceRequirements{}
}

// change is a container that runs with other resources than it should.
type change struct {
	c        *Container
	from, to values
	target   v1.ResourceRequirements
	restart  bool
}

func (s *State) changes(f Facts) []change {
	var out []change
	for i := range f.Containers {
		c := &f.Containers[i]
		given, known := s.Given[c.Name]
		if !running(*c) || !known || s.Restarting[c.Name] == c.View.Current.ID {
			continue // one that does not run is made with what is promised
		}
		target := effective(f, c.Name)
		if from, to := valuesOf(&given), valuesOf(&target); from != to {
			out = append(out, change{c, from, to, target, needsRestart(c.Policy, from, to)})
		}
	}
	return out
}

// carryOut takes the next step from what is actuated to what is allocated.
func (s *State) carryOut(f Facts) []Action {
	todo := s.changes(f)
	if len(todo) == 0 && s.Update == nil && len(s.Restarting) == 0 {
		return s.finish(f)
	}
	if s.Progress == nil {
		s.Progress = &Condition{Generation: f.Desired.Generation, Since: f.Now}
	}
	if f.Now.Before(s.RetryAt) || s.Update != nil {
		return nil
	}
	if acts, wait := s.check(f, todo); wait {
		return acts
	}
	if !f.Covered {
		if f.CgroupErr != "" {
			return s.errored(f, f.CgroupErr)
		}
		return nil
	}
	var acts []Action
	for _, k := range todo {
		if k.restart {
			s.Gen++
			if s.Restarting = maps.Clone(s.Restarting); s.Restarting == nil {
				s.Restarting = map[string]model.ContainerID{}
			}
			s.Restarting[k.c.Name] = k.c.View.Current.ID
			target := k.target
			acts = append(acts, Give{Name: k.c.Name, Gen: s.Gen, ID: k.c.View.Current.ID, Resources: &target, Restart: true})
		}
	}
	return append(acts, s.next(todo)...)
}

// next updates one container: what shrinks goes first, so that growth finds the room.
func (s *State) next(todo []change) []Action {
	for _, k := range todo {
		if less := shrunk(k.from, k.to); !k.restart && less != k.from {
			return s.give(k, less)
		}
	}
	for _, k := range todo {
		if !k.restart {
			return s.give(k, k.to)
		}
	}
	return nil
}

func (s *State) give(k change, v values) []Action {
	s.Gen++
	s.Update = &Update{Name: k.c.Name, ID: k.c.View.Current.ID, Gen: s.Gen, To: with(&k.target, v)}
	return []Action{Give{Name: k.c.Name, Gen: s.Gen, ID: s.Update.ID, Resources: s.Update.To}}
}

// check looks at memory use before a limit sinks; wait says that nothing else may be done now. An instance that came after
// the look is looked at too.
func (s *State) check(f Facts, todo []change) (acts []Action, wait bool) {
	if s.Check.Stage == Checking {
		return nil, true
	}
	next := s.sinking(f, todo)
	unseen := func(k Sinking) bool { return !slices.Contains(s.Check.Containers, k) }
	if s.Check.Stage == Checked && !slices.ContainsFunc(next.Containers, unseen) {
		return nil, false
	}
	if next.PodLimit == 0 && len(next.Containers) == 0 {
		s.Check.Stage = Checked
		return nil, false
	}
	s.Gen++
	next.Stage, next.Gen = Checking, s.Gen
	s.Check = next
	ids := make([]model.ContainerID, 0, len(next.Containers))
	for _, k := range next.Containers {
		ids = append(ids, k.ID)
	}
	return []Action{Look{Gen: s.Gen, Containers: ids}}, true
}

// sinking are the memory limits that are about to sink.
func (s *State) sinking(f Facts, todo []change) Check {
	var check Check
	memory := false
	for _, k := range todo {
		if k.from.memoryLimit != k.to.memoryLimit || k.from.memoryRequest != k.to.memoryRequest {
			memory = true
		}
		if !k.restart && k.to.memoryLimit != 0 && lower(k.from.memoryLimit, k.to.memoryLimit) != k.from.memoryLimit {
			check.Containers = append(check.Containers, Sinking{k.c.Name, k.c.View.Current.ID, model.Bytes(k.to.memoryLimit)})
		}
	}
	if was, now := podLimit(allocation.Apply(f.Allocated, s.Actuated())), podLimit(f.Allocated); memory && now != 0 && lower(was, now) != was {
		check.PodLimit = model.Bytes(now)
	}
	return check
}

// podLimit is the memory limit of the pod's cgroup, 0 for none.
func podLimit(pod *v1.Pod) int64 {
	if m := cgroups.PodResources(pod, cgroups.PodConfig{}).Resources.Memory; m != nil && m.Limit != nil {
		return *m.Limit
	}
	return 0
}

// finish ends the resize once the pod's cgroup is what is promised.
func (s *State) finish(f Facts) []Action {
	if !f.Exact {
		if f.CgroupErr != "" && s.Progress != nil {
			return s.errored(f, f.CgroupErr)
		}
		return nil
	}
	s.News = true
	s.Resizing, s.Level, s.Failures, s.RetryAt, s.Check = false, f.Allocated.Spec.Resources, 0, time.Time{}, Check{}
	if s.Progress == nil {
		return nil
	}
	generation := s.Progress.Generation
	s.Progress = nil
	return []Action{Event{Reason: allocation.EventCompleted, Message: allocation.Text("Pod resize completed", f.Allocated, generation, "")}}
}

// Settling says that every container has what is promised, so that the pod's cgroup may be just that.
func (s *State) Settling(f Facts) bool {
	return len(s.changes(f)) == 0 && s.Update == nil && len(s.Restarting) == 0
}

// record tells the node what has been carried out when it is news.
func (s *State) record() []Action {
	if !s.News {
		return nil
	}
	s.News = false
	now := s.Actuated()
	if len(now.Containers) == 0 || s.Told != nil && allocation.Equal(s.Told, now) {
		return nil
	}
	s.Told = now
	return []Action{Record{Actuated: now}}
}
