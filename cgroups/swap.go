package cgroups

import (
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Swap is what a node decides about the swap of its containers (KEP 2400).
type Swap struct {
	// Accounted: the kernel counts and limits swap by cgroup. Where it does not, nothing is said about swap.
	Accounted bool
	// Unified: the limits are those of cgroup v2.
	Unified bool
	// Limited: memorySwap.swapBehavior is LimitedSwap; otherwise no container swaps.
	Limited bool
	// Memory and Swap are what the machine has.
	Memory, Swap model.Bytes
}

// Share returns how much of the node's swap a container with these resources may use, in bytes: of the swap the part that
// its memory request is of the memory, if it may swap at all.
func (s Swap) Share(pod *v1.Pod, r v1.ResourceRequirements) model.Bytes {
	request := model.Bytes(r.Requests.Memory().Value())
	if !s.Limited || !s.Accounted || !s.Unified || !MaySwap(pod, r) || s.Memory <= 0 || request > s.Memory {
		return 0
	}
	return model.Bytes(float64(request) / float64(s.Memory) * float64(s.Swap))
}

// MaySwap says whether a container with these resources swaps on a node with LimitedSwap: those of burstable pods that
// are not critical, unless their memory is all requested or not declared at all.
func MaySwap(pod *v1.Pod, r v1.ResourceRequirements) bool {
	request, limit := r.Requests.Memory(), r.Limits.Memory()
	declared := !request.IsZero() || !limit.IsZero()
	return QOSClass(pod) == v1.PodQOSBurstable && !Critical(pod) && declared && request.Cmp(*limit) != 0
}
