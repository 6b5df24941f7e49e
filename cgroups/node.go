package cgroups

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/troupe-dev/troupe/messages/model"
)

// PIDs is the pseudo resource under which process ids are counted and reserved (kubeReserved: {pid: "1000"}).
const PIDs v1.ResourceName = "pid"

// The values of enforceNodeAllocatable.
const (
	EnforcePods                       = "pods"
	EnforceKubeReserved               = "kube-reserved"
	EnforceSystemReserved             = "system-reserved"
	EnforceKubeReservedCompressible   = "kube-reserved-compressible"
	EnforceSystemReservedCompressible = "system-reserved-compressible"
)

// NodeConfig is what the values of the node's own cgroups depend on.
type NodeConfig struct {
	Layout Layout
	Driver Driver
	// Capacity is the node's, with PIDs where the kernel's limit is known.
	Capacity                     v1.ResourceList
	KubeReserved, SystemReserved v1.ResourceList
	// KubeReservedCgroup and SystemReservedCgroup are written as the driver names cgroups; they must exist.
	KubeReservedCgroup, SystemReservedCgroup string
	Enforce                                  []string
	// CPUs is the kubepods cpuset, as a list such as "0-3"; "" leaves the kernel's default.
	CPUs          string
	HugePageSizes []model.Bytes
}

// Kubepods returns the cgroup of all pods: allocatable when enforced, else the node's capacity, because the kernel's
// default of 1024 shares would starve the pods of a large node. The eviction threshold is not subtracted: eviction
// has to come before the kernel's limit.
func Kubepods(cfg NodeConfig) Desired {
	list := cfg.Capacity
	if slices.Contains(cfg.Enforce, EnforcePods) {
		list = subtract(cfg.Capacity, cfg.SystemReserved, cfg.KubeReserved)
	}
	d := Desired{Name: cfg.Layout.Kubepods(), Resources: listResources(list, cfg.HugePageSizes)}
	if cfg.CPUs != "" && d.Resources.CPU != nil {
		d.Resources.CPU.Cpus = cfg.CPUs
	}
	return d
}

// Reserved returns the cgroups of the system's own daemons that limits are enforced on.
func Reserved(cfg NodeConfig) ([]Desired, error) {
	var out []Desired
	for _, r := range []struct {
		full, compressible, cgroup string
		list                       v1.ResourceList
	}{
		{EnforceSystemReserved, EnforceSystemReservedCompressible, cfg.SystemReservedCgroup, cfg.SystemReserved},
		{EnforceKubeReserved, EnforceKubeReservedCompressible, cfg.KubeReservedCgroup, cfg.KubeReserved},
	} {
		full := slices.Contains(cfg.Enforce, r.full)
		if !full && !slices.Contains(cfg.Enforce, r.compressible) {
			continue
		}
		if r.cgroup == "" {
			return nil, fmt.Errorf("enforceNodeAllocatable has %s: its cgroup must be named", r.full)
		}
		res := listResources(r.list, cfg.HugePageSizes)
		if !full {
			res = specs.LinuxResources{CPU: res.CPU}
		}
		out = append(out, Desired{Name: ParseName(cfg.Driver, r.cgroup), Resources: res})
	}
	return out, nil
}

func listResources(list v1.ResourceList, sizes []model.Bytes) specs.LinuxResources {
	var r specs.LinuxResources
	if q, ok := list[v1.ResourceMemory]; ok && q.Value() > 0 {
		limit := q.Value()
		r.Memory = &specs.LinuxMemory{Limit: &limit}
	}
	if q, ok := list[v1.ResourceCPU]; ok {
		shares := Shares(model.MilliCPU(q.MilliValue()))
		r.CPU = &specs.LinuxCPU{Shares: &shares}
	}
	if q, ok := list[PIDs]; ok && q.Value() > 0 {
		limit := q.Value()
		r.Pids = &specs.LinuxPids{Limit: &limit}
	}
	r.HugepageLimits = hugePageLimits(list, sizes)
	return r
}

// subtract returns capacity less the reservations, never below zero.
func subtract(capacity v1.ResourceList, reserved ...v1.ResourceList) v1.ResourceList {
	out := v1.ResourceList{}
	for name, q := range capacity {
		left := q.DeepCopy()
		for _, r := range reserved {
			left.Sub(r[name])
		}
		if left.Sign() < 0 {
			left.Set(0)
		}
		out[name] = left
	}
	return out
}

// EvictionReservation returns what the hard eviction thresholds (evictionHard: signal to quantity or percentage) keep
// free of each resource.
func EvictionReservation(evictionHard map[string]string, capacity v1.ResourceList) (v1.ResourceList, error) {
	out := v1.ResourceList{}
	for signal, name := range map[string]v1.ResourceName{
		"memory.available": v1.ResourceMemory,
		"nodefs.available": v1.ResourceEphemeralStorage,
	} {
		s, ok := evictionHard[signal]
		if !ok {
			continue
		}
		total := capacity[name]
		if p, isPercent := strings.CutSuffix(s, "%"); isPercent {
			f, err := strconv.ParseFloat(p, 32)
			if err != nil || f < 0 || f > 100 {
				return nil, fmt.Errorf("evictionHard %s: %q is not a percentage", signal, s)
			}
			// Single precision, so that the node shows the same allocatable bytes as under the kubelet.
			out[name] = *resource.NewQuantity(int64(float64(total.Value())*float64(float32(f)/100)), resource.BinarySI)
			continue
		}
		q, err := resource.ParseQuantity(s)
		if err != nil {
			return nil, fmt.Errorf("evictionHard %s: %q: %w", signal, s, err)
		}
		out[name] = q
	}
	return out, nil
}

// Allocatable returns what the node offers to pods (node.status.allocatable): capacity less what is reserved for
// Kubernetes, for the system and for eviction; memory also less the huge pages, which are taken from it.
func Allocatable(capacity, kubeReserved, systemReserved, eviction v1.ResourceList) v1.ResourceList {
	out := subtract(capacity, systemReserved, kubeReserved, eviction)
	memory, ok := out[v1.ResourceMemory]
	if !ok {
		return out
	}
	for name, q := range capacity {
		if strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) {
			memory.Sub(q)
		}
	}
	if memory.Sign() < 0 {
		memory.Set(0)
	}
	out[v1.ResourceMemory] = memory
	return out
}

// ValidateReservations says which resources are reserved beyond the node's capacity.
func ValidateReservations(capacity, kubeReserved, systemReserved, eviction v1.ResourceList) error {
	var bad []string
	for name, total := range capacity {
		var sum resource.Quantity
		for _, r := range []v1.ResourceList{systemReserved, kubeReserved, eviction} {
			sum.Add(r[name])
		}
		if sum.Cmp(total) > 0 {
			bad = append(bad, fmt.Sprintf("%s: %s reserved of %s", name, sum.String(), total.String()))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	sort.Strings(bad)
	return fmt.Errorf("more is reserved than the node has: %s", strings.Join(bad, "; "))
}

// QOSTiers returns the burstable and best-effort tiers. burstableRequests is the sum of the CPU requests of the
// burstable pods that are on the node.
func QOSTiers(l Layout, burstableRequests model.MilliCPU, sizes []model.Bytes) []Desired {
	tier := func(class v1.PodQOSClass, shares uint64) Desired {
		return Desired{Name: l.QOS(class), Resources: specs.LinuxResources{
			CPU:            &specs.LinuxCPU{Shares: &shares},
			HugepageLimits: eachPageSize(sizes, func(model.Bytes) uint64 { return unlimitedHugePages }),
		}}
	}
	return []Desired{
		tier(v1.PodQOSBurstable, Shares(burstableRequests)),
		tier(v1.PodQOSBestEffort, MinShares),
	}
}
