package podstatus

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// owned are the conditions that this agent writes; all others are left as they are.
func owned(t v1.PodConditionType) bool {
	switch t {
	case v1.PodScheduled, v1.PodReady, v1.PodInitialized, v1.ContainersReady, v1.PodReadyToStartContainers,
		v1.PodResizePending, v1.PodResizeInProgress, v1.AllContainersRestarting:
		return true
	}
	return false
}

// Owned tells other packages which conditions belong to the agent.
func Owned(t v1.PodConditionType) bool { return owned(t) || t == v1.DisruptionTarget }

func (b *builder) conditions(out *v1.PodStatus) {
	out.Conditions = make([]v1.PodCondition, 0, 6) // what a pod has in most cases
	for i := range b.pod.Status.Conditions {
		if c := b.pod.Status.Conditions[i]; !owned(c.Type) && c.Type != v1.DisruptionTarget {
			out.Conditions = append(out.Conditions, c)
		}
	}
	if c := condition(b.prev.Conditions, v1.DisruptionTarget); c != nil {
		out.Conditions = append(out.Conditions, *c)
	} else if c := condition(b.pod.Status.Conditions, v1.DisruptionTarget); c != nil {
		out.Conditions = append(out.Conditions, *c)
	}
	if b.s.End != nil && b.s.End.Condition != nil && terminal(out.Phase) { // others read it with the end, not before
		c := *b.s.End.Condition
		b.set(out, c.Type, c.Status, c.Reason, c.Message)
	}
	start := v1.ConditionFalse
	if b.readyToStart() {
		start = v1.ConditionTrue
	}
	b.set(out, v1.PodReadyToStartContainers, start, "", "")
	b.initializedCondition(out)
	status, reason, message := b.containersReady(out)
	ready, why, text := status, reason, message
	if status == v1.ConditionTrue {
		if m := b.gates(out); m != "" {
			ready, why, text = v1.ConditionFalse, "ReadinessGatesNotReady", m
		}
	}
	b.set(out, v1.PodReady, ready, why, text)
	b.set(out, v1.ContainersReady, status, reason, message)
	b.set(out, v1.PodScheduled, v1.ConditionTrue, "", "")
	if couldRestartAll(&b.pod.Spec) {
		b.restartingAll(out)
	}
}

// couldRestartAll: some exit rule asks to restart all containers.
func couldRestartAll(spec *v1.PodSpec) bool {
	for _, list := range [][]v1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			for j := range list[i].RestartPolicyRules {
				if list[i].RestartPolicyRules[j].Action == v1.ContainerRestartRuleActionRestartAllContainers {
					return true
				}
			}
		}
	}
	return false
}

// restartingAll says whether such a restart is under way.
func (b *builder) restartingAll(out *v1.PodStatus) {
	switch {
	case out.Phase == v1.PodSucceeded:
		b.set(out, v1.AllContainersRestarting, v1.ConditionFalse, "PodCompleted", "")
	case out.Phase == v1.PodFailed:
		b.set(out, v1.AllContainersRestarting, v1.ConditionFalse, "PodFailed", "")
	case b.s.Round != nil && !b.s.Round.NewSandbox:
		b.set(out, v1.AllContainersRestarting, v1.ConditionTrue, "RestartAllContainersStarted", "container exited with restart policy rule")
	default:
		b.set(out, v1.AllContainersRestarting, v1.ConditionFalse, "", "")
	}
}

// set appends a condition; its transition time is the previous one's while the status is the same.
func (b *builder) set(out *v1.PodStatus, t v1.PodConditionType, status v1.ConditionStatus, reason, message string) {
	c := v1.PodCondition{Type: t, Status: status, Reason: reason, Message: message, ObservedGeneration: b.pod.Generation, LastTransitionTime: b.now}
	if p := condition(b.prev.Conditions, t); p != nil && p.Status == status {
		c.LastTransitionTime = p.LastTransitionTime
	} else if p := condition(b.pod.Status.Conditions, t); p != nil && p.Status == status && condition(b.prev.Conditions, t) == nil {
		c.LastTransitionTime = p.LastTransitionTime
	}
	for i := range out.Conditions {
		if out.Conditions[i].Type == t {
			out.Conditions[i] = c
			return
		}
	}
	out.Conditions = append(out.Conditions, c)
}

func condition(list []v1.PodCondition, t v1.PodConditionType) *v1.PodCondition {
	for i := range list {
		if list[i].Type == t {
			return &list[i]
		}
	}
	return nil
}

func (b *builder) initializedCondition(out *v1.PodStatus) {
	var open []string
	for i := range b.pod.Spec.InitContainers {
		c := &b.pod.Spec.InitContainers[i]
		st := find(out.InitContainerStatuses, c.Name)
		done := st.Ready
		if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			done = st.Started != nil && *st.Started
		}
		if !done {
			open = append(open, c.Name)
		}
	}
	was := condition(b.prev.Conditions, v1.PodInitialized)
	switch {
	case out.Phase == v1.PodSucceeded:
		b.set(out, v1.PodInitialized, v1.ConditionTrue, "PodCompleted", "")
	case len(open) == 0, b.appRan(out), was != nil && was.Status == v1.ConditionTrue:
		b.set(out, v1.PodInitialized, v1.ConditionTrue, "", "")
	default:
		b.set(out, v1.PodInitialized, v1.ConditionFalse, "ContainersNotInitialized", "containers with incomplete status: "+join(open))
	}
}

// appRan: an app container runs or ran, so the pod was initialized before.
func (b *builder) appRan(out *v1.PodStatus) bool {
	for i := range out.ContainerStatuses {
		st := &out.ContainerStatuses[i]
		if st.LastTerminationState.Terminated != nil || st.State.Running != nil || (st.State.Terminated != nil && b.s.Views[st.Name].Current != nil) {
			return true
		}
	}
	return false
}

func (b *builder) containersReady(out *v1.PodStatus) (v1.ConditionStatus, string, string) {
	switch out.Phase {
	case v1.PodSucceeded:
		return v1.ConditionFalse, "PodCompleted", ""
	case v1.PodFailed:
		return v1.ConditionFalse, "PodFailed", ""
	}
	var unready []string
	for i := range b.pod.Spec.InitContainers {
		name := b.pod.Spec.InitContainers[i].Name
		if b.s.Views[name].Kind == model.KindSidecar && !find(out.InitContainerStatuses, name).Ready {
			unready = append(unready, name)
		}
	}
	for i := range b.pod.Spec.Containers {
		if name := b.pod.Spec.Containers[i].Name; !find(out.ContainerStatuses, name).Ready {
			unready = append(unready, name)
		}
	}
	if len(unready) > 0 {
		return v1.ConditionFalse, "ContainersNotReady", "containers with unready status: " + join(unready)
	}
	return v1.ConditionTrue, "", ""
}

// gates says which readiness gates hold the pod back; "" when none does.
func (b *builder) gates(out *v1.PodStatus) string {
	var open []string
	for _, g := range b.pod.Spec.ReadinessGates {
		c := condition(out.Conditions, g.ConditionType)
		switch {
		case c == nil:
			open = append(open, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", string(g.ConditionType)))
		case c.Status != v1.ConditionTrue:
			open = append(open, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", string(g.ConditionType), c.Status))
		}
	}
	return strings.Join(open, ", ")
}
