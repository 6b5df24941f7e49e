package pod

import (
	"time"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/model"
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
