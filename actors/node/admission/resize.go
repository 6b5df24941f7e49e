package admission

import (
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/kubectl/pkg/util/qos"

	"github.com/troupe-dev/troupe/actors/pod/allocation"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
)

// ResizeRules are the node's settings that forbid some resizes altogether.
type ResizeRules struct {
	// StaticCPU and StaticMemory: the CPU and memory managers give guaranteed pods fixed sets (policies static and Static).
	StaticCPU, StaticMemory bool
	// Swap: some containers may swap (cgroups.MaySwap; memorySwap LimitedSwap on cgroup v2).
	Swap bool
}

// The policies' names as their messages have them.
const (
	staticCPU    = "static"
	staticMemory = "Static"
)

// CheckResize says why the pod can never be resized like this, nil when it can. allocated is what it is promised now.
func (r ResizeRules) CheckResize(pod *v1.Pod, allocated *model.Allocation) *Refusal {
	infeasible := func(format string, args ...any) *Refusal {
		return &Refusal{Reason: v1.PodReasonInfeasible, Message: fmt.Sprintf(format, args...)}
	}
	class := qos.GetPodQOS(pod)
	if r.Swap && swapChanges(pod, allocated) {
		return infeasible("In-place resize of containers with swap is not supported.")
	}
	if class != v1.PodQOSGuaranteed {
		return nil
	}
	if r.StaticCPU && changes(pod, allocated, v1.ResourceCPU) {
		return infeasible("Resize is infeasible for Guaranteed Pods alongside CPU Manager policy %q", staticCPU)
	}
	if r.StaticMemory && changes(pod, allocated, v1.ResourceMemory) {
		return infeasible("Resize is infeasible for Guaranteed Pods alongside Memory Manager policy %q", staticMemory)
	}
	return nil
}

// changes says whether a container's request of a resource is to be another one. For a guaranteed pod it is the limit too.
func changes(pod *v1.Pod, allocated *model.Allocation, name v1.ResourceName) bool {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			was, now := allocated.Containers[list[i].Name].Requests[name], list[i].Resources.Requests[name]
			if was.Cmp(now) != 0 {
				return true
			}
		}
	}
	return false
}

// swapChanges: a container's share of the swap follows its memory request, and cannot be changed while it runs.
func swapChanges(pod *v1.Pod, allocated *model.Allocation) bool {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			was, known := allocated.Containers[c.Name]
			if !known || was.Requests.Memory().Cmp(*c.Resources.Requests.Memory()) == 0 {
				continue
			}
			restarts := slices.ContainsFunc(c.ResizePolicy, func(p v1.ContainerResizePolicy) bool {
				return p.ResourceName == v1.ResourceMemory && p.RestartPolicy == v1.RestartContainer
			})
			if !restarts && (cgroups.MaySwap(pod, was) || cgroups.MaySwap(pod, c.Resources)) {
				return true
			}
		}
	}
	return false
}

// Pending is a resize that waits for room.
type Pending struct {
	Pod       *v1.Pod
	Allocated *model.Allocation
	// Since is when it was first refused; zero for one that was never tried.
	Since time.Time
}

// Order sorts pending resizes in the order in which they may take what room there is: those that need none, then by
// priority, by quality of service (guaranteed first), and by how long they have waited.
func Order(list []Pending) {
	rank := func(p *Pending) (grows int, priority int32, class int) {
		if allocation.Increases(p.Pod, p.Allocated) {
			grows = 1
		}
		if p.Pod.Spec.Priority != nil {
			priority = *p.Pod.Spec.Priority
		}
		if qos.GetPodQOS(p.Pod) != v1.PodQOSGuaranteed {
			class = 1
		}
		return grows, priority, class
	}
	slices.SortStableFunc(list, func(a, b Pending) int {
		ag, ap, ac := rank(&a)
		bg, bp, bc := rank(&b)
		switch {
		case ag != bg:
			return ag - bg
		case ap != bp:
			if ap > bp {
				return -1
			}
			return 1
		case ac != bc:
			return ac - bc
		case a.Since.IsZero() != b.Since.IsZero():
			if b.Since.IsZero() {
				return -1
			}
			return 1
		}
		return a.Since.Compare(b.Since)
	})
}
