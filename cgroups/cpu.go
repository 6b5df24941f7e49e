package cgroups

import "github.com/troupe-dev/troupe/messages/model"

// Bounds of cpu.shares and of the quota: the kernel's (kernel/sched), the same as the kubelet's.
const (
	MinShares      uint64 = 2
	MaxShares      uint64 = 262144
	sharesPerCPU          = 1024
	milliPerCPU           = 1000
	minQuotaMicros        = 1000
)

// DefaultPeriodMicros is the CFS period used when the configuration names none: 100 ms, in microseconds.
const DefaultPeriodMicros uint64 = 100_000

// Shares returns the cpu.shares for a CPU request: 1024 for each core, within the kernel's bounds.
func Shares(request model.MilliCPU) uint64 {
	if request <= 0 {
		return MinShares
	}
	if request > model.MilliCPU(MaxShares) { // also keeps the product below in range
		return MaxShares
	}
	return min(max(uint64(request)*sharesPerCPU/milliPerCPU, MinShares), MaxShares)
}

// Quota returns the CFS quota, in microseconds per period, for a CPU limit; 0 for no limit. The kernel refuses less
// than 1 ms.
func Quota(limit model.MilliCPU, periodMicros uint64) int64 {
	if limit <= 0 {
		return 0
	}
	return max(int64(limit)*int64(periodMicros)/milliPerCPU, minQuotaMicros)
}

// Weight returns the cgroup v2 cpu.weight for cpu.shares by the linear formula of KEP 2254, which the kubelet uses for
// the cgroups that it owns. Runtimes use another, quadratic one for containers.
func Weight(shares uint64) uint64 {
	shares = min(max(shares, MinShares), MaxShares)
	return 1 + (shares-MinShares)*9999/(MaxShares-MinShares)
}

// WeightToShares is the inverse of Weight, rounded down.
func WeightToShares(weight uint64) uint64 {
	weight = min(max(weight, 1), 10000)
	return (weight-1)*(MaxShares-MinShares)/9999 + MinShares
}
