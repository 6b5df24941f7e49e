package volumeplan

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	helper "k8s.io/component-helpers/resource"

	"github.com/troupe-dev/troupe/messages/model"
)

// TmpfsSize is how much a tmpfs of the pod may hold: the smallest of the node's allocatable memory, the pod's memory
// limit where every container has one (or the pod itself), and limit. Zero leaves it to the kernel (half the memory).
func TmpfsSize(pod *v1.Pod, allocatable v1.ResourceList, limit *resource.Quantity) model.Bytes {
	size := model.Bytes(allocatable.Memory().Value())
	lower := func(n int64) {
		// With no allocatable known (a node that has not registered) any limit counts.
		if n > 0 && (size <= 0 || model.Bytes(n) <= size) {
			size = model.Bytes(n)
		}
	}
	lower(podMemoryLimit(pod))
	if limit != nil {
		lower(limit.Value())
	}
	return max(size, 0)
}

func podMemoryLimit(pod *v1.Pod) int64 {
	declared := true
	limits := helper.PodLimits(pod, helper.PodResourcesOptions{
		ContainerFn: func(res v1.ResourceList, _ helper.ContainerType) {
			if res.Memory().IsZero() {
				declared = false
			}
		},
	})
	if pod.Spec.Resources != nil && !pod.Spec.Resources.Limits.Memory().IsZero() {
		declared = true
	}
	if !declared {
		return 0
	}
	return limits.Memory().Value()
}

// HugePageSize is the page size of a HugePages or HugePages-<size> emptyDir: the one that the pod requests.
func HugePageSize(pod *v1.Pod, medium v1.StorageMedium) (resource.Quantity, error) {
	var want, found resource.Quantity
	any := medium == v1.StorageMediumHugePages
	if !any {
		text := strings.TrimPrefix(string(medium), string(v1.StorageMediumHugePagesPrefix))
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return q, fmt.Errorf("medium %s names no page size: %w", medium, err)
		}
		want = q
	}
	lists := []v1.ResourceList{}
	if pod.Spec.Resources != nil {
		lists = append(lists, pod.Spec.Resources.Requests)
	}
	for i := range pod.Spec.Containers {
		lists = append(lists, pod.Spec.Containers[i].Resources.Requests)
	}
	for i := range pod.Spec.InitContainers {
		lists = append(lists, pod.Spec.InitContainers[i].Resources.Requests)
	}
	for _, list := range lists {
		for name := range list {
			text, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix)
			if !ok {
				continue
			}
			size, err := resource.ParseQuantity(text)
			if err != nil {
				return size, fmt.Errorf("resource %s names no page size: %w", name, err)
			}
			switch {
			case !any && size.Cmp(want) == 0:
				return size, nil
			case any && !found.IsZero() && found.Cmp(size) != 0:
				return found, fmt.Errorf("medium: %s can't be used if container requests multiple huge page sizes", medium)
			case any:
				found = size
			}
		}
	}
	if found.IsZero() {
		return found, fmt.Errorf("medium %s: hugePages storage requested, but there is no resource request for huge pages", medium)
	}
	return found, nil
}
