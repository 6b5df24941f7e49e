package root

import (
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
)

// Ground says where the kernel counts what pods use, for whoever measures. It never changes.
type Ground struct {
	Cgroups *cgroupfs.Host
	// Kubepods is the driver's path of the cgroup of all pods.
	Kubepods string
	// MemoryCapacity is the machine's, in bytes.
	MemoryCapacity uint64

	layout cgroups.Layout
	driver cgroups.Driver
}

func newGround(cfg Config, h *Host, driver cgroups.Driver) Ground {
	layout := cgroupConfig(cfg, h, driver).Pod.Layout
	return Ground{Cgroups: h.Cgroups, Kubepods: layout.Kubepods().Path(driver), MemoryCapacity: uint64(h.Capacity.Memory().Value()), layout: layout, driver: driver}
}

// PodCgroup is the driver's path of the pod's cgroup; "" when pods have none of their own.
func (g Ground) PodCgroup(pod *v1.Pod) string {
	if !g.layout.PerQOS {
		return ""
	}
	return g.layout.Pod(pod.UID, cgroups.QOSClass(pod)).Path(g.driver)
}
