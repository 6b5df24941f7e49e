package allocation

import (
	"encoding/json"

	v1 "k8s.io/api/core/v1"
)

// Reasons of the events of a resize, the kubelet's.
const (
	EventStarted    = "ResizeStarted"
	EventCompleted  = "ResizeCompleted"
	EventDeferred   = "ResizeDeferred"
	EventInfeasible = "ResizeInfeasible"
	EventError      = "ResizeError"
)

type summary struct {
	InitContainers []line `json:"initContainers,omitempty"`
	Containers     []line `json:"containers,omitempty"`
	Generation     int64  `json:"generation"`
	Error          string `json:"error,omitempty"`
}

type line struct {
	Name      string                  `json:"name"`
	Resources v1.ResourceRequirements `json:"resources"`
}

// Text is the message of a resize's event: what happened, and the pod's resources as JSON in the form that readers of the
// kubelet's events parse.
func Text(what string, pod *v1.Pod, generation int64, failure string) string {
	s := summary{Generation: generation, Error: failure}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		s.InitContainers = append(s.InitContainers, line{c.Name, c.Resources})
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		s.Containers = append(s.Containers, line{c.Name, c.Resources})
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return what
	}
	return what + ": " + string(raw)
}
