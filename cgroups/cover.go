package cgroups

import specs "github.com/opencontainers/runtime-spec/specs-go"

// Cover is d with no value below other's: what a pod's cgroup must have while its containers change from one to the other.
// An absent limit is unlimited, so that it stays as it is; both must be of the same cgroup.
func Cover(d, other Desired) Desired {
	out := d
	if a, b := d.Resources.CPU, other.Resources.CPU; a != nil {
		c := *a
		if b != nil && a.Shares != nil && b.Shares != nil {
			shares := max(*a.Shares, *b.Shares)
			c.Shares = &shares
		}
		switch {
		case b == nil || b.Quota == nil:
			c.Quota, c.Period = nil, nil
		case a.Quota != nil && cpuRatio(b) > cpuRatio(a):
			c.Quota, c.Period = b.Quota, b.Period
		}
		out.Resources.CPU = &c
	}
	if a, b := d.Resources.Memory, other.Resources.Memory; a != nil {
		switch {
		case b == nil || b.Limit == nil:
			out.Resources.Memory = nil
		case limit(b.Limit) > limit(a.Limit):
			out.Resources.Memory = &specs.LinuxMemory{Limit: b.Limit}
		}
	}
	return out
}
