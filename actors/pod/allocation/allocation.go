// Package allocation turns pods into resource allocations and back. Allocated is what the node has promised a pod,
// actuated what the runtime was told, desired what the spec asks; in between lies an in-place resize (KEP-1287,
// KEP-5419). It is pure.
package allocation

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/component-helpers/resource"

	"github.com/troupe-dev/troupe/messages/model"
)

// Of is what the pod's spec asks.
func Of(pod *v1.Pod) *model.Allocation {
	a := &model.Allocation{Containers: map[string]v1.ResourceRequirements{}, Pod: pod.Spec.Resources}
	each(pod, func(c *v1.Container) { a.Containers[c.Name] = c.Resources })
	return a
}

// each visits the containers that can be resized: all but ephemeral ones.
func each(pod *v1.Pod, f func(*v1.Container)) {
	for i := range pod.Spec.InitContainers {
		f(&pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		f(&pod.Spec.Containers[i])
	}
}

// Apply is the pod with the resources of the allocation; the same pod when nothing differs or a is nil. Containers that
// the allocation does not name keep theirs.
func Apply(pod *v1.Pod, a *model.Allocation) *v1.Pod {
	if a == nil || fits(pod, a) {
		return pod
	}
	out := *pod
	out.Spec.Resources = a.Pod
	out.Spec.InitContainers = with(pod.Spec.InitContainers, a)
	out.Spec.Containers = with(pod.Spec.Containers, a)
	return &out
}

func with(list []v1.Container, a *model.Allocation) []v1.Container {
	if len(list) == 0 {
		return list
	}
	out := make([]v1.Container, len(list))
	copy(out, list)
	for i := range out {
		if r, ok := a.Containers[out[i].Name]; ok {
			out[i].Resources = r
		}
	}
	return out
}

// fits says whether the pod's spec asks just what is allocated.
func fits(pod *v1.Pod, a *model.Allocation) bool {
	if !Same(pod.Spec.Resources, a.Pod) {
		return false
	}
	same := true
	each(pod, func(c *v1.Container) {
		if r, ok := a.Containers[c.Name]; ok && same {
			same = Same(&c.Resources, &r)
		}
	})
	return same
}

// Fits says whether the pod asks just what is allocated: no resize is due.
func Fits(pod *v1.Pod, a *model.Allocation) bool { return a == nil || fits(pod, a) }

// Same compares by value; nil and empty are the same.
func Same(a, b *v1.ResourceRequirements) bool {
	var none v1.ResourceRequirements
	if a == nil {
		a = &none
	}
	if b == nil {
		b = &none
	}
	return equality.Semantic.DeepEqual(a, b)
}

// Equal compares two allocations by value.
func Equal(a, b *model.Allocation) bool {
	if a == nil || b == nil {
		return a == b
	}
	if !Same(a.Pod, b.Pod) || len(a.Containers) != len(b.Containers) {
		return false
	}
	for name, r := range a.Containers {
		other, ok := b.Containers[name]
		if !ok || !Same(&r, &other) {
			return false
		}
	}
	return true
}

// Effective is what the runtime is told of a container: a CPU or memory limit of the pod stands in for one that the
// container lacks. The container's own maps are never changed.
func Effective(podLevel, c *v1.ResourceRequirements) v1.ResourceRequirements {
	out := *c
	if podLevel == nil {
		return out
	}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		own, of := c.Limits[name], podLevel.Limits[name]
		if !own.IsZero() || of.IsZero() {
			continue
		}
		limits := make(v1.ResourceList, len(out.Limits)+1)
		for k, v := range out.Limits {
			limits[k] = v
		}
		limits[name] = of
		out.Limits = limits
	}
	return out
}

// Actuated is what the runtime has been told once every container of the pod runs as allocated.
func Actuated(pod *v1.Pod) *model.Allocation {
	a := &model.Allocation{Containers: map[string]v1.ResourceRequirements{}, Pod: pod.Spec.Resources}
	each(pod, func(c *v1.Container) { a.Containers[c.Name] = Effective(pod.Spec.Resources, &c.Resources) })
	return a
}

// Rebuild makes both allocations of a pod that runs and whose record was lost, from what the API says of it: status.resources
// of a running container is what it was given. What the status does not say is taken from the spec: a lost record restarts
// no container.
func Rebuild(pod *v1.Pod) (allocated, actuated *model.Allocation) {
	allocated = Of(pod)
	for _, list := range [][]v1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			st := &list[i]
			own, known := allocated.Containers[st.Name]
			if !known || st.Resources == nil || st.State.Running == nil {
				continue
			}
			own.Requests = merged(own.Requests, st.Resources.Requests, st.AllocatedResources)
			own.Limits = merged(own.Limits, st.Resources.Limits, nil)
			allocated.Containers[st.Name] = own
		}
	}
	return allocated, Actuated(Apply(pod, allocated))
}

// merged takes CPU and memory from the first list that has them, everything else from the spec.
func merged(spec, first, second v1.ResourceList) v1.ResourceList {
	if len(first) == 0 && len(second) == 0 {
		return spec
	}
	out := make(v1.ResourceList, len(spec))
	for k, v := range spec {
		out[k] = v
	}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if q, ok := second[name]; ok {
			out[name] = q
		} else if q, ok := first[name]; ok {
			out[name] = q
		}
	}
	return out
}

// Increases says whether the pod asks for more CPU or memory than it has: such a resize needs room.
func Increases(desired *v1.Pod, allocated *model.Allocation) bool {
	was := resource.PodRequests(Apply(desired, allocated), resource.PodResourcesOptions{})
	now := resource.PodRequests(desired, resource.PodResourcesOptions{})
	return now.Memory().Cmp(*was.Memory()) > 0 || now.Cpu().Cmp(*was.Cpu()) > 0
}
