package fieldpath

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Resource returns the container resource that the selector names, divided by its divisor (default 1) and rounded up.
// A CPU, memory or ephemeral-storage limit that the container does not set (or sets to 0) is taken from defaults;
// hugepages are never defaulted. The selector's ContainerName chooses the container, or own when it is empty.
func Resource(sel *v1.ResourceFieldSelector, pod *v1.Pod, own string, defaults v1.ResourceList) (string, error) {
	name := sel.ContainerName
	if name == "" {
		name = own
	}
	c := findContainer(pod, name)
	if c == nil {
		return "", fmt.Errorf("container %s not found", name)
	}
	return ContainerResource(sel, c, defaults)
}

// ContainerResource is Resource for a container at hand.
func ContainerResource(sel *v1.ResourceFieldSelector, c *v1.Container, defaults v1.ResourceList) (string, error) {
	kind, rest, _ := strings.Cut(sel.Resource, ".")
	name := v1.ResourceName(rest)
	huge := strings.HasPrefix(rest, v1.ResourceHugePagesPrefix)
	known := huge || name == v1.ResourceCPU || name == v1.ResourceMemory || name == v1.ResourceEphemeralStorage
	if !known || (kind != "limits" && kind != "requests") {
		return "", fmt.Errorf("unsupported container resource : %v", sel.Resource)
	}
	list := c.Resources.Requests
	if kind == "limits" {
		list = c.Resources.Limits
	}
	q := list[name]
	if kind == "limits" && !huge && q.IsZero() {
		q = defaults[name]
	}
	return divide(q, sel.Divisor, name == v1.ResourceCPU), nil
}

// DefaultLimits returns what stands in for limits that a container does not set: the node's allocatable, overruled by
// the pod-level limits. Environment variables use it; volumes use the allocatable alone, as the kubelet does.
func DefaultLimits(pod *v1.Pod, allocatable v1.ResourceList) v1.ResourceList {
	if pod.Spec.Resources == nil || len(pod.Spec.Resources.Limits) == 0 {
		return allocatable
	}
	out := allocatable.DeepCopy()
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if q, ok := pod.Spec.Resources.Limits[name]; ok && !q.IsZero() {
			if _, ok := out[name]; ok {
				out[name] = q.DeepCopy()
			}
		}
	}
	return out
}

// divide rounds q/divisor up; CPU is divided in thousandths so that a divisor of 1m works.
func divide(q, divisor resource.Quantity, milli bool) string {
	if divisor.IsZero() {
		divisor = *resource.NewQuantity(1, resource.DecimalSI)
	}
	num, den := q.Value(), divisor.Value()
	if milli {
		num, den = q.MilliValue(), divisor.MilliValue()
	}
	return strconv.FormatInt(int64(math.Ceil(float64(num)/float64(den))), 10)
}

func findContainer(pod *v1.Pod, name string) *v1.Container {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i]
		}
	}
	return nil
}
