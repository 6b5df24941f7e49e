package model

import v1 "k8s.io/api/core/v1"

// Allocation is a set of resources of one pod: what the node has promised it (allocated), or what the runtime was last
// told (actuated). It is immutable.
type Allocation struct {
	// Containers has app containers, init containers and sidecars by name. Of an actuated allocation the limits are the
	// effective ones: a limit of the pod stands in for one that the container lacks.
	Containers map[string]v1.ResourceRequirements
	// Pod is the pod's own resources (spec.resources); nil for none.
	Pod *v1.ResourceRequirements
}
