package root

import (
	"path/filepath"

	"github.com/troupe-dev/troupe/actors/container/containerspec"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/messages/model"
)

// limits is what every container's limits depend on besides its spec: the configuration, and what the machine has.
func limits(cfg Config, host *Host) containerspec.Node {
	k, v2 := cfg.Kubelet, host.Cgroups.Version == cgroupfs.V2
	// What each CPU tells of its heat is nobody's business in a container; which there are, the machine says. The pattern is fixed.
	masked, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")
	memory := model.Bytes(host.Capacity.Memory().Value())
	return containerspec.Node{
		MemoryCapacity: memory, CFSQuota: k.CPUCFSQuota == nil || *k.CPUCFSQuota, CFSPeriodMicros: period(k), HugePageSizes: host.Cgroups.HugePageSizes,
		Masked: masked,
		// Unset means the version's own habit: v1 always ends one process, v2 the whole container.
		GroupOOMKill: v2 && (k.SingleProcessOOMKill == nil || !*k.SingleProcessOOMKill),
		Swap: cgroups.Swap{
			Accounted: host.Cgroups.SwapAccounted, Unified: v2, Limited: limitedSwap(cfg), Memory: memory, Swap: host.Machine.Swap,
		},
	}
}

// limitedSwap says that some containers may swap. The validation of the configuration allows it on cgroup v2 only.
func limitedSwap(cfg Config) bool { return cfg.Kubelet.MemorySwap.SwapBehavior == "LimitedSwap" }
