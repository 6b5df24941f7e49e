package nodestatus

import (
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Capacity writes capacity and allocatable. Resources that others advertise (extended ones) stay as they are.
func Capacity(s *v1.NodeStatus, c Config, m Machine) {
	capacity := v1.ResourceList{}
	for name, q := range s.Capacity {
		if !isHugePages(name) { // sizes that the machine no longer has go
			capacity[name] = q
		}
	}
	for name, q := range Own(c, m) {
		capacity[name] = q
	}
	allocatable := v1.ResourceList{}
	for name, q := range capacity {
		if before, ok := s.Allocatable[name]; ok && isForeign(name) {
			allocatable[name] = before
			continue
		}
		allocatable[name] = q.DeepCopy()
	}
	reserve(allocatable, capacity, c)
	s.Capacity, s.Allocatable = capacity, allocatable
}

// Own is the capacity that this node itself vouches for.
func Own(c Config, m Machine) v1.ResourceList {
	pods := int64(c.MaxPods)
	if c.PodsPerCore > 0 {
		pods = min(pods, int64(m.Cores)*int64(c.PodsPerCore))
	}
	own := v1.ResourceList{
		v1.ResourceCPU:              *resource.NewMilliQuantity(int64(m.Cores)*1000, resource.DecimalSI),
		v1.ResourceMemory:           quantity(int64(m.Memory)),
		v1.ResourcePods:             *resource.NewQuantity(pods, resource.DecimalSI),
		v1.ResourceEphemeralStorage: quantity(int64(m.Storage)),
	}
	for size, n := range m.HugePages {
		page := quantity(int64(size))
		own[v1.ResourceName(v1.ResourceHugePagesPrefix+page.String())] = quantity(int64(size) * n)
	}
	return own
}

// reserve takes away what pods do not get: the reservations, what lies below the hard eviction thresholds, and of
// memory what huge pages hold.
func reserve(allocatable, capacity v1.ResourceList, c Config) {
	take := func(name v1.ResourceName, q resource.Quantity) {
		have, ok := allocatable[name]
		if !ok {
			return
		}
		have.Sub(q)
		if have.Sign() < 0 {
			have.Set(0)
		}
		allocatable[name] = have
	}
	for _, list := range []v1.ResourceList{c.KubeReserved, c.SystemReserved} {
		for name, q := range list {
			take(name, q)
		}
	}
	for signal, name := range map[string]v1.ResourceName{"memory.available": v1.ResourceMemory, "nodefs.available": v1.ResourceEphemeralStorage} {
		if q, ok := threshold(c.EvictionHard[signal], capacity[name]); ok {
			take(name, q)
		}
	}
	for name, q := range capacity {
		if isHugePages(name) {
			take(v1.ResourceMemory, q)
		}
	}
}

// threshold reads an eviction threshold: a quantity, or a share of the capacity.
func threshold(text string, capacity resource.Quantity) (resource.Quantity, bool) {
	if text == "" {
		return resource.Quantity{}, false
	}
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		share, err := strconv.ParseFloat(percent, 32)
		if err != nil || share < 0 {
			return resource.Quantity{}, false
		}
		// In single precision, as the kubelet computes it: a node must not change its allocatable with its agent.
		return quantity(int64(float64(capacity.Value()) * float64(float32(share)/100))), true
	}
	q, err := resource.ParseQuantity(text)
	return q, err == nil
}

func isHugePages(name v1.ResourceName) bool {
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

// isForeign says that others advertise the resource.
func isForeign(name v1.ResourceName) bool {
	switch name {
	case v1.ResourceCPU, v1.ResourceMemory, v1.ResourcePods, v1.ResourceEphemeralStorage:
		return false
	}
	return !isHugePages(name)
}
