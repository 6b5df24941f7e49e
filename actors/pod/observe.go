package pod

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/observe"
)

// observe tells once when all containers of a pod that this agent started run.
func (a *Actor) observe(now time.Time) {
	if a.counted || a.state.Orphan {
		return
	}
	if a.firstSeen.IsZero() {
		a.firstSeen = now
	}
	if a.state.Adopted || a.state.End != nil {
		a.counted = true
		return
	}
	if podplan.StageOf(&a.state) != podplan.Running {
		return
	}
	pulled := now
	for i := range a.state.Pod.Spec.Containers {
		v := a.state.Views[a.state.Pod.Spec.Containers[i].Name]
		if v.Current == nil || v.Current.State == model.ContainerCreated || v.Stage == model.StageStarting {
			return
		}
		if v.Current.CreatedAt.Before(pulled) {
			pulled = v.Current.CreatedAt
		}
	}
	a.counted = true
	// What init containers and pulls took is between the pod's arrival and the first create of an app container, less the
	// sandbox, which the service level includes; only init containers make that difference large.
	var apart time.Duration
	if len(a.state.Pod.Spec.InitContainers) > 0 {
		apart = pulled.Sub(a.firstSeen)
	}
	a.deps.Observer.PodStarted(a.state.Pod.CreationTimestamp.Time, a.firstSeen, now, max(apart, 0))
}

// observeEnds tells of each container whose end the newer status shows and the older one did not, also when the next
// instance runs already.
func observeEnds(o observe.Observer, before, after *v1.PodStatus) {
	for _, list := range []struct {
		kind          string
		before, after []v1.ContainerStatus
	}{
		{observe.InitContainer, before.InitContainerStatuses, after.InitContainerStatuses},
		{observe.Container, before.ContainerStatuses, after.ContainerStatuses},
		{observe.EphemeralContainer, before.EphemeralContainerStatuses, after.EphemeralContainerStatuses},
	} {
		for i := range list.after {
			var was *v1.ContainerStateTerminated
			for j := range list.before {
				if list.before[j].Name == list.after[i].Name {
					was = ended(&list.before[j])
				}
			}
			if is := ended(&list.after[i]); is != nil && (was == nil || was.ContainerID != is.ContainerID) {
				o.ContainerTerminated(list.kind, is.ExitCode, is.Reason)
			}
		}
	}
}

// ended is the newest end that a status shows.
func ended(s *v1.ContainerStatus) *v1.ContainerStateTerminated {
	if s.State.Terminated != nil {
		return s.State.Terminated
	}
	return s.LastTerminationState.Terminated
}
