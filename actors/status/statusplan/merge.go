package statusplan

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// owned says that the node alone writes conditions of this type (KEP-5328 and the API's documentation list them).
func owned(t v1.PodConditionType) bool {
	switch t {
	case v1.PodScheduled, v1.PodReady, v1.PodInitialized, v1.ContainersReady, v1.PodResizeInProgress, v1.PodResizePending,
		v1.PodReadyToStartContainers, v1.AllContainersRestarting:
		return true
	}
	return false
}

// shared says that the node and others write conditions of this type: ours replaces theirs, theirs stays without ours.
func shared(t v1.PodConditionType) bool { return t == v1.DisruptionTarget }

// Terminal says that a pod in this phase has ended for good.
func Terminal(p v1.PodPhase) bool { return p == v1.PodSucceeded || p == v1.PodFailed }

// maxTerminationMessages bounds the termination messages of all containers of a pod together, in bytes (API
// documentation of terminationMessagePath).
const maxTerminationMessages = 12 << 10

// Normalize returns a copy of the status as the API server would give it back: times to the second, container statuses
// in the API's order, termination messages within their bounds.
func Normalize(pod *v1.Pod, status *v1.PodStatus) *v1.PodStatus {
	s := status.DeepCopy()
	room := maxTerminationMessages
	if n := len(pod.Spec.Containers) + len(pod.Spec.InitContainers) + len(pod.Spec.EphemeralContainers); n > 0 {
		room /= n
	}
	if s.StartTime != nil {
		*s.StartTime = toSecond(*s.StartTime)
	}
	for i := range s.Conditions {
		c := &s.Conditions[i]
		c.LastProbeTime, c.LastTransitionTime = toSecond(c.LastProbeTime), toSecond(c.LastTransitionTime)
	}
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			normalizeState(&list[i].State, room)
			normalizeState(&list[i].LastTerminationState, room)
		}
	}
	byName := func(a, b v1.ContainerStatus) int { return strings.Compare(a.Name, b.Name) }
	slices.SortStableFunc(s.ContainerStatuses, byName)
	slices.SortStableFunc(s.EphemeralContainerStatuses, byName)
	slices.SortStableFunc(s.InitContainerStatuses, func(a, b v1.ContainerStatus) int {
		return position(pod.Spec.InitContainers, a.Name) - position(pod.Spec.InitContainers, b.Name)
	})
	return s
}

func position(list []v1.Container, name string) int {
	for i := range list {
		if list[i].Name == name {
			return i
		}
	}
	return len(list)
}

func normalizeState(s *v1.ContainerState, room int) {
	if s.Running != nil {
		s.Running.StartedAt = toSecond(s.Running.StartedAt)
	}
	if t := s.Terminated; t != nil {
		t.StartedAt, t.FinishedAt = toSecond(t.StartedAt), toSecond(t.FinishedAt)
		if len(t.Message) > room {
			t.Message = t.Message[:room]
		}
	}
}

// toSecond has no fraction and the local zone, as a time has that was read from the API.
func toSecond(t metav1.Time) metav1.Time {
	if t.IsZero() {
		return metav1.Time{}
	}
	return metav1.Unix(t.Unix(), 0)
}

// Merge returns what the API should hold: ours, with everything in it that others own, and nothing that may not go
// back. Both are only read; ours must have been normalized. The result shares memory with them.
//
// Invariants: a terminal phase stays, observedGeneration does not sink, startTime and qosClass stay once set.
func Merge(api, ours *v1.PodStatus) *v1.PodStatus {
	m := *ours
	m.NominatedNodeName = api.NominatedNodeName
	m.ResourceClaimStatuses = api.ResourceClaimStatuses
	m.ExtendedResourceClaimStatus = api.ExtendedResourceClaimStatus
	m.NodeAllocatableResourceClaimStatuses = api.NodeAllocatableResourceClaimStatuses
	m.Resize = api.Resize
	if api.StartTime != nil && !api.StartTime.IsZero() {
		m.StartTime = api.StartTime
	}
	if api.QOSClass != "" {
		m.QOSClass = api.QOSClass
	}
	m.ObservedGeneration = max(m.ObservedGeneration, api.ObservedGeneration)
	if Terminal(api.Phase) && m.Phase != api.Phase {
		m.Phase, m.Reason, m.Message = api.Phase, api.Reason, api.Message
	}
	m.Conditions = mergeConditions(api.Conditions, ours.Conditions)
	if Terminal(m.Phase) {
		notReady(&m)
	}
	return &m
}

// mergeConditions keeps those of others first, in their order, then ours in ours.
func mergeConditions(api, ours []v1.PodCondition) []v1.PodCondition {
	merged := make([]v1.PodCondition, 0, len(api)+len(ours))
	for _, c := range api {
		if owned(c.Type) || shared(c.Type) && find(ours, c.Type) != nil {
			continue
		}
		merged = append(merged, c)
	}
	for _, c := range ours {
		if !owned(c.Type) && !shared(c.Type) {
			continue
		}
		// A transition is a change of the condition's status; a rebuilt pod must not move its time.
		if old := find(api, c.Type); old != nil && old.Status == c.Status && !old.LastTransitionTime.IsZero() {
			c.LastTransitionTime = old.LastTransitionTime
		}
		merged = append(merged, c)
	}
	return merged
}

func find(list []v1.PodCondition, t v1.PodConditionType) *v1.PodCondition {
	for i := range list {
		if list[i].Type == t {
			return &list[i]
		}
	}
	return nil
}

// notReady: no reader may see a pod that has ended and is ready, whoever of us is late.
func notReady(s *v1.PodStatus) {
	reason := "PodCompleted"
	if s.Phase == v1.PodFailed {
		reason = "PodFailed"
	}
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if (c.Type == v1.PodReady || c.Type == v1.ContainersReady) && c.Status == v1.ConditionTrue {
			c.Status, c.Reason, c.Message = v1.ConditionFalse, reason, ""
		}
	}
}
