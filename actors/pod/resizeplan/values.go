package resizeplan

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// values are the four numbers of a container that a resize can change. A limit of 0 is none.
type values struct{ memoryLimit, memoryRequest, cpuLimit, cpuRequest int64 }

func valuesOf(r *v1.ResourceRequirements) values {
	if r == nil {
		return values{}
	}
	return values{
		memoryLimit: r.Limits.Memory().Value(), memoryRequest: r.Requests.Memory().Value(),
		cpuLimit: r.Limits.Cpu().MilliValue(), cpuRequest: r.Requests.Cpu().MilliValue(),
	}
}

// lower is the smaller limit; none is above all.
func lower(a, b int64) int64 {
	switch {
	case a == 0:
		return b
	case b == 0:
		return a
	}
	return min(a, b)
}

// shrunk is a with everything lowered that is lower in b: the first of the two steps from a to b.
func shrunk(a, b values) values {
	return values{lower(a.memoryLimit, b.memoryLimit), min(a.memoryRequest, b.memoryRequest), lower(a.cpuLimit, b.cpuLimit), min(a.cpuRequest, b.cpuRequest)}
}

// needsRestart says whether the container's policy asks for a restart when this changes.
func needsRestart(policy []v1.ContainerResizePolicy, from, to values) bool {
	for _, p := range policy {
		if p.RestartPolicy != v1.RestartContainer {
			continue
		}
		switch p.ResourceName {
		case v1.ResourceMemory:
			if from.memoryLimit != to.memoryLimit || from.memoryRequest != to.memoryRequest {
				return true
			}
		case v1.ResourceCPU:
			if from.cpuLimit != to.cpuLimit || from.cpuRequest != to.cpuRequest {
				return true
			}
		}
	}
	return false
}

// with is r with these numbers; an entry that was not there and is 0 stays away.
func with(r *v1.ResourceRequirements, v values) *v1.ResourceRequirements {
	out := *r
	out.Limits, out.Requests = maps.Clone(r.Limits), maps.Clone(r.Requests)
	set := func(list *v1.ResourceList, name v1.ResourceName, q resource.Quantity) {
		if had, ok := (*list)[name]; ok && had.Cmp(q) == 0 {
			return // keep how it was written
		}
		if q.IsZero() {
			if _, ok := (*list)[name]; !ok {
				return
			}
		}
		if *list == nil {
			*list = v1.ResourceList{}
		}
		(*list)[name] = q
	}
	set(&out.Limits, v1.ResourceMemory, *resource.NewQuantity(v.memoryLimit, resource.BinarySI))
	set(&out.Limits, v1.ResourceCPU, *resource.NewMilliQuantity(v.cpuLimit, resource.DecimalSI))
	set(&out.Requests, v1.ResourceMemory, *resource.NewQuantity(v.memoryRequest, resource.BinarySI))
	set(&out.Requests, v1.ResourceCPU, *resource.NewMilliQuantity(v.cpuRequest, resource.DecimalSI))
	return &out
}

// higher is the larger limit; none is above all.
func higher(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// atLeast is r with everything raised that is higher in other.
func atLeast(r, other *v1.ResourceRequirements) *v1.ResourceRequirements {
	a, b := valuesOf(r), valuesOf(other)
	out := with(r, values{higher(a.memoryLimit, b.memoryLimit), max(a.memoryRequest, b.memoryRequest), higher(a.cpuLimit, b.cpuLimit), max(a.cpuRequest, b.cpuRequest)})
	for name, q := range out.Limits {
		if q.IsZero() {
			delete(out.Limits, name) // none
		}
	}
	return out
}
