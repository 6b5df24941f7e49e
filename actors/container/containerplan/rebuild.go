package containerplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// Rebuild makes the state of a container from what is desired, what the runtime shows (newest first) and what the API
// last said of it. First start, actor restart and agent restart all come here.
//
// Assumptions: the annotations of an instance are the kubelet's. A running instance that the API already shows as
// Running has had its postStart; one that it does not may not have, so the hook runs again (at least once). Ready and
// started are the API's word for the same instance until a probe says otherwise.
//
// Nil instances mean that what the runtime has is not known: the container then looks before it does anything. An empty
// list means that the runtime has none.
func Rebuild(pod *v1.Pod, name string, instances []model.Container, curve policy.Curve) State {
	s := New(pod, name, curve)
	p := plan{s: &s}
	switch {
	case instances == nil:
		s.Unseen, s.Doubt, s.DoubtCreate = true, true, true
	case len(instances) == 0:
		p.remember()
	default:
		p.adopt(instances)
	}
	return s
}

// remember takes what the API says of a container of which the runtime has nothing.
func (p *plan) remember() {
	s := p.s
	last := findStatus(&s.Pod.Status, s.Name)
	if last == nil {
		return
	}
	s.RestartCount = max(s.RestartCount, last.RestartCount)
	s.Cur = vanished(s.Pod, last, p.now)
	if s.Cur != nil || last.ContainerID != "" || last.RestartCount > 0 {
		s.NextCount = s.RestartCount + 1
	}
}

// adopt takes the instances that the runtime has, and what only the API knows of them.
func (p *plan) adopt(instances []model.Container) {
	s := p.s
	cur := instances[0]
	p.setCur(&cur)
	for i := 1; i < len(instances); i++ {
		if c := instances[i]; c.State == model.ContainerExited {
			if s.Prev != nil {
				s.Older = c.ID
				break
			}
			s.Prev = &c
		}
	}
	s.Dirty = !cur.Detailed && cur.State != model.ContainerCreated
	last := findStatus(&s.Pod.Status, s.Name)
	if last == nil {
		return
	}
	s.RestartCount = max(s.RestartCount, last.RestartCount)
	s.NextCount = s.RestartCount + 1
	if s.Cur.State == model.ContainerRunning && trimScheme(last.ContainerID) == string(s.Cur.ID) {
		s.PostStarted = last.State.Running != nil
		s.Started = last.Started != nil && *last.Started
		s.Ready = last.Ready
	}
}

func findStatus(st *v1.PodStatus, name string) *v1.ContainerStatus {
	for _, list := range [][]v1.ContainerStatus{st.ContainerStatuses, st.InitContainerStatuses, st.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

func trimScheme(id string) string {
	for i := 0; i+2 < len(id); i++ {
		if id[i:i+3] == "://" {
			return id[i+3:]
		}
	}
	return id
}

// vanished is the instance that the API knows and the runtime no longer has: ended as the API says, or, when it was
// last seen running, lost with exit code 137.
func vanished(pod *v1.Pod, last *v1.ContainerStatus, now time.Time) *model.Container {
	c := model.Container{
		ID: model.ContainerID(trimScheme(last.ContainerID)), UID: pod.UID, Name: last.Name, State: model.ContainerExited, Detailed: true,
		Image: last.Image, ImageRef: last.ImageID, Attempt: uint32(last.RestartCount),
		Annotations: map[string]string{AnnotationRestartCount: itoa(last.RestartCount)},
	}
	switch {
	case last.State.Terminated != nil:
		t := last.State.Terminated
		c.ExitCode, c.Reason, c.Message = t.ExitCode, t.Reason, t.Message
		c.StartedAt, c.FinishedAt = t.StartedAt.Time, t.FinishedAt.Time
	case last.State.Running != nil:
		c.ExitCode, c.Reason, c.Message, c.StartedAt = exitLost, ReasonStatusUnknown, messageLost, last.State.Running.StartedAt.Time
		c.FinishedAt = now
	default:
		return nil
	}
	return &c
}
