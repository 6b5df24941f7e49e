package pod

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Bounds of the timeline: how the pod began is kept, and its newest steps.
const (
	timelineFirst = 16
	timelineLast  = 24
)

// explainer keeps what explain shows. It runs on the actor's goroutine and publishes immutable values.
type explainer struct {
	since    time.Time // of the stage
	timeline []model.TimelineStep
	last     map[string]model.ContainerStage
}

// update publishes the newest explanation when the step may have changed it.
func (e *explainer) update(c *spawn.Cell, a *Actor, before podplan.Stage, now time.Time, ev podmsg.Event) {
	stage := podplan.StageOf(&a.state)
	if e.since.IsZero() {
		e.since = now
		e.add(model.TimelineStep{At: now, What: "assigned"})
		c.Entry().SetState(stage.String())
	}
	if stage != before {
		e.since = now
		e.add(model.TimelineStep{At: now, What: stage.String()})
		c.Entry().SetState(stage.String())
	}
	switch x := ev.(type) {
	case podmsg.Done:
		step := model.TimelineStep{At: now, What: x.Op.String()}
		if x.Err != nil {
			step.Err = x.Err.Error()
		}
		e.add(step)
	case podmsg.Child:
		if e.last == nil {
			e.last = map[string]model.ContainerStage{}
		}
		if was, known := e.last[x.View.Name]; !known || was != x.View.Stage {
			e.last[x.View.Name] = x.View.Stage
			e.add(model.TimelineStep{At: now, What: x.View.Name + ": " + x.View.Stage.String()})
		}
	case podmsg.Acked:
		e.add(model.TimelineStep{At: now, What: "status acknowledged"})
	case podmsg.Admitted:
		e.add(model.TimelineStep{At: now, What: "admitted"})
	case podmsg.CgroupReady:
		e.add(model.TimelineStep{At: now, What: "cgroup ready"})
	case podmsg.VolumesReady:
		e.add(model.TimelineStep{At: now, What: "volumes ready"})
	}
	c.Entry().SetDetail(explanation(a.state, a.status, a.incarnation, e.since, e.timeline))
}

func (e *explainer) add(s model.TimelineStep) {
	if len(e.timeline) < timelineFirst+timelineLast {
		e.timeline = append(e.timeline, s) // behind the end of what was published before
		return
	}
	next := make([]model.TimelineStep, 0, timelineFirst+timelineLast)
	next = append(next, e.timeline[:timelineFirst]...)
	next = append(next, e.timeline[timelineFirst+1:]...)
	e.timeline = append(next, s)
}

func explanation(s podplan.State, st v1.PodStatus, inc model.Incarnation, since time.Time, timeline []model.TimelineStep) model.PodExplain {
	out := model.PodExplain{
		Namespace: s.Pod.Namespace, Name: s.Pod.Name, UID: s.Pod.UID, Incarnation: inc, Stage: podplan.StageOf(&s).String(), Since: since,
		Phase: string(st.Phase), Ready: ready(&st), Adopted: s.Adopted, Attempt: s.Attempt, Failures: s.Failure.Count, RetryAt: s.Failure.RetryAt,
		LastError: s.LastErr, Timeline: timeline,
	}
	if s.LastErr != "" {
		out.LastClass = s.LastClass.String()
	}
	if s.Sandbox != nil {
		out.Sandbox, out.Attempt, out.IPs = s.Sandbox.ID, s.Sandbox.Attempt, s.Sandbox.IPs
	}
	if s.Op != podmsg.OpNone {
		out.InFlight = []model.CallView{{Op: s.Op.String(), ID: string(s.OpID), Since: s.OpSince}}
	}
	if s.End != nil {
		out.Reason, out.Deadline = s.End.Reason, s.End.Deadline
		if s.Pod.DeletionTimestamp != nil {
			out.DeletionAsked = s.End.Since
		}
	}
	for _, b := range podplan.Blockers(&s) {
		out.Blockers = append(out.Blockers, b)
	}
	for _, name := range podplan.Names(s.Pod) {
		out.Containers = append(out.Containers, model.ExplainContainer(s.Views[name], imageOf(s.Pod, name)))
	}
	return out
}

func ready(st *v1.PodStatus) bool {
	for i := range st.Conditions {
		if st.Conditions[i].Type == v1.PodReady {
			return st.Conditions[i].Status == v1.ConditionTrue
		}
	}
	return false
}

func imageOf(pod *v1.Pod, name string) string {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return list[i].Image
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			return pod.Spec.EphemeralContainers[i].Image
		}
	}
	return ""
}
