package resizeplan

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/allocation"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// Admitted takes the node's promise of admission. It may come again after the node's actor was rebuilt; what this plan has
// carried out meanwhile is newer than the node's record then.
func (s *State) Admitted(pod *v1.Pod, e podmsg.Admitted) {
	if e.Allocated == nil {
		return
	}
	first := s.Allocated == nil
	if !first && !allocation.Equal(s.Allocated, e.Allocated) {
		s.begin()
	}
	s.Allocated = e.Allocated
	s.Forgotten()
	if !first {
		s.Told, s.News = nil, true
		return
	}
	s.Given = map[string]v1.ResourceRequirements{}
	if e.Actuated == nil {
		s.Level = e.Allocated.Pod
	} else {
		for name, r := range e.Actuated.Containers {
			s.Given[name] = r
		}
		s.Level, s.Told = e.Actuated.Pod, e.Actuated
		s.Resizing = true // what is left of a resize is found by the first step
	}
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Status != v1.ConditionTrue {
			continue
		}
		was := &Condition{Reason: c.Reason, Message: c.Message, Generation: c.ObservedGeneration, Since: c.LastTransitionTime.Time}
		switch c.Type {
		case v1.PodResizePending:
			s.Pending = was
		case v1.PodResizeInProgress:
			s.Progress = was
		}
	}
}

// begin starts over for a new promise.
func (s *State) begin() {
	s.Resizing, s.Check, s.Failures, s.RetryAt = true, Check{}, 0, time.Time{}
}

// Forgotten: the node's actor was rebuilt, so that what was asked is asked again.
func (s *State) Forgotten() { s.Seen, s.Asked, s.Waiting = nil, nil, false }

// Resized takes the node's yes.
func (s *State) Resized(f Facts, e podmsg.Resized) []Action {
	if s.Allocated == nil {
		return nil
	}
	s.answered(e.Generation)
	if s.Pending != nil && s.Pending.Generation <= e.Generation {
		s.Pending = nil
	}
	if allocation.Equal(s.Allocated, e.Allocated) {
		return nil
	}
	s.Allocated = e.Allocated
	s.begin()
	s.Progress = &Condition{Generation: e.Generation, Since: f.Now}
	return []Action{Event{Reason: allocation.EventStarted, Message: allocation.Text("Pod resize started", allocation.Apply(f.Desired, e.Allocated), e.Generation, "")}}
}

// Refused takes the node's no.
func (s *State) Refused(f Facts, e podmsg.ResizePending) []Action {
	if s.Allocated == nil || (s.Asked != nil && e.Generation != s.Asked.Generation) {
		return nil // about an object that is not the newest any more
	}
	s.answered(e.Generation)
	was := s.Pending
	next := &Condition{Reason: e.Reason, Message: e.Message, Generation: e.Generation, Since: f.Now}
	if was != nil && was.Reason == next.Reason {
		next.Since = was.Since
	}
	s.Pending = next
	if was != nil && was.Reason == next.Reason && was.Generation == next.Generation {
		return nil
	}
	event := allocation.EventDeferred
	if e.Reason == v1.PodReasonInfeasible {
		event = allocation.EventInfeasible
	}
	return []Action{Event{Warning: true, Reason: event, Message: allocation.Text("Pod resize "+e.Reason, f.Desired, e.Generation, e.Message)}}
}

func (s *State) answered(generation int64) {
	if s.Asked == nil || s.Asked.Generation == generation {
		s.Waiting = false
	}
}

// Used takes the look at memory use. A limit at or below what is used is refused: on cgroup v2 the kernel would kill to
// get below it.
func (s *State) Used(f Facts, e podmsg.MemoryUsage) []Action {
	c := &s.Check
	if c.Stage != Checking || c.Gen != e.Gen {
		return nil
	}
	if e.Err != nil {
		return s.failed(f, fmt.Sprintf("unable to read memory usage for pod %q", podText(f.Desired)))
	}
	var errs []string
	if c.PodLimit > 0 && e.Pod >= c.PodLimit {
		errs = append(errs, fmt.Sprintf("attempting to set pod memory limit (%d) below current usage (%d)", c.PodLimit, e.Pod))
	}
	for _, k := range c.Containers {
		if used, ok := e.Containers[k.ID]; ok && used >= k.Limit {
			errs = append(errs, fmt.Sprintf("attempting to set container %q memory limit (%d) below current usage (%d)", k.Name, k.Limit, used))
		}
	}
	switch len(errs) {
	case 0:
		c.Stage = Checked
		return nil
	case 1:
		return s.failed(f, "cannot decrease memory limits: "+errs[0])
	}
	return s.failed(f, "cannot decrease memory limits: ["+strings.Join(errs, ", ")+"]")
}

// failed shows why what is promised cannot be carried out, and tries again later from the beginning.
func (s *State) failed(f Facts, message string) []Action {
	s.Failures++
	d := retryFirst
	for i := 1; i < s.Failures && d < retryMax; i++ {
		d *= 2
	}
	s.RetryAt, s.Check = f.Now.Add(min(d, retryMax)), Check{}
	return s.errored(f, message)
}

func (s *State) errored(f Facts, message string) []Action {
	was := s.Progress
	next := &Condition{Reason: v1.PodReasonError, Message: message, Generation: f.Desired.Generation, Since: f.Now}
	if was != nil {
		next.Generation = was.Generation
		if was.Reason == next.Reason {
			next.Since = was.Since
			if was.Message == message {
				return nil
			}
		}
	}
	s.Progress = next
	return []Action{Event{Warning: true, Reason: allocation.EventError, Message: allocation.Text("Pod resize error", f.Allocated, next.Generation, message)}}
}

// podText is how the kubelet names a pod in messages.
func podText(pod *v1.Pod) string { return fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID) }

// Actuated is what was carried out, as the record has it.
func (s *State) Actuated() *model.Allocation {
	return &model.Allocation{Containers: s.Given, Pod: s.Level}
}

// Holds is what the pod's cgroup must have room for while a resize is under way: what every container was last given, and
// what it may be given at this moment, which is what the containers know. shown is that object; nil when no promise has
// been shown to them.
func (s *State) Holds(shown *v1.Pod) *model.Allocation {
	if shown == nil {
		return s.Actuated()
	}
	out := allocation.Actuated(shown)
	for name, given := range s.Given {
		if r, ok := out.Containers[name]; ok {
			out.Containers[name] = *atLeast(&given, &r)
		}
	}
	if u := s.Update; u != nil {
		if r, ok := out.Containers[u.Name]; ok {
			out.Containers[u.Name] = *atLeast(&r, u.To) // it may happen yet, whatever was promised since
		}
	}
	if s.Level != nil && out.Pod != nil {
		out.Pod = atLeast(s.Level, out.Pod)
	} else {
		out.Pod = nil
	}
	return out
}

// Lost: a container's actor was rebuilt from nothing, so what it was told is told again.
func (s *State) Lost(name string) {
	if s.Update != nil && s.Update.Name == name {
		s.Update = nil
	}
	delete(s.Restarting, name)
	delete(s.Heard, name)
}
