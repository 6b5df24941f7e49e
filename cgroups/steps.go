package cgroups

import (
	"math"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Steps orders the change of existing cgroups from have to want so that it can be stopped after any step: everything
// that grows first, parents before children, then everything that shrinks, children before parents. On v1 the kernel
// refuses a child's quota above its parent's; on both versions a parent that shrinks first would squeeze its children.
// The lists are matched by name; a cgroup missing from have is taken as unlimited. Each step holds only what changes.
func Steps(have, want []Desired) []Desired {
	now := make(map[string]specs.LinuxResources, len(have))
	for _, d := range have {
		now[d.Name.String()] = d.Resources
	}
	var grow, shrink []Desired
	for _, w := range want {
		up, down := split(now[w.Name.String()], w.Resources)
		if !empty(up) {
			grow = append(grow, Desired{Name: w.Name, Resources: up})
		}
		if !empty(down) {
			shrink = append(shrink, Desired{Name: w.Name, Resources: down})
		}
	}
	byDepth := func(a, b Desired) int { return len(a.Name) - len(b.Name) }
	slices.SortStableFunc(grow, byDepth)
	slices.SortStableFunc(shrink, func(a, b Desired) int { return byDepth(b, a) })
	return append(grow, shrink...)
}

// split returns the values of want that are above those of have (or have no direction), and those below.
func split(have, want specs.LinuxResources) (up, down specs.LinuxResources) {
	if w := want.CPU; w != nil {
		h := have.CPU
		if h == nil {
			h = &specs.LinuxCPU{}
		}
		var u, d specs.LinuxCPU
		if w.Shares != nil && (h.Shares == nil || *h.Shares != *w.Shares) {
			u.Shares = w.Shares
		}
		if w.Cpus != h.Cpus {
			u.Cpus = w.Cpus
		}
		if w.Quota != nil {
			switch a, b := cpuRatio(h), cpuRatio(w); {
			case b > a || b == a && !samePeriod(h, w):
				u.Quota, u.Period = w.Quota, w.Period
			case b < a:
				d.Quota, d.Period = w.Quota, w.Period
			}
		}
		if u != (specs.LinuxCPU{}) {
			up.CPU = &u
		}
		if d != (specs.LinuxCPU{}) {
			down.CPU = &d
		}
	}
	if w := want.Memory; w != nil && w.Limit != nil {
		a := math.Inf(1)
		if have.Memory != nil {
			a = limit(have.Memory.Limit)
		}
		m := &specs.LinuxMemory{Limit: w.Limit}
		if b := limit(w.Limit); b > a {
			up.Memory = m
		} else if b < a {
			down.Memory = m
		}
	}
	if w := want.Pids; w != nil && w.Limit != nil {
		a := math.Inf(1)
		if have.Pids != nil {
			a = limit(have.Pids.Limit)
		}
		p := &specs.LinuxPids{Limit: w.Limit}
		if b := limit(w.Limit); b > a {
			up.Pids = p
		} else if b < a {
			down.Pids = p
		}
	}
	if !slices.Equal(have.HugepageLimits, want.HugepageLimits) {
		up.HugepageLimits = want.HugepageLimits // no rule between parent and child
	}
	for k, v := range want.Unified {
		if have.Unified[k] != v {
			if up.Unified == nil {
				up.Unified = map[string]string{}
			}
			up.Unified[k] = v
		}
	}
	return up, down
}

// limit reads a limit whose absence or non-positive value means unlimited.
func limit(v *int64) float64 {
	if v == nil || *v <= 0 {
		return math.Inf(1)
	}
	return float64(*v)
}

func cpuRatio(c *specs.LinuxCPU) float64 {
	period := DefaultPeriodMicros
	if c.Period != nil && *c.Period > 0 {
		period = *c.Period
	}
	return limit(c.Quota) / float64(period)
}

func samePeriod(a, b *specs.LinuxCPU) bool {
	if a.Period == nil || b.Period == nil {
		return a.Period == b.Period
	}
	return *a.Period == *b.Period
}

func empty(r specs.LinuxResources) bool {
	return r.CPU == nil && r.Memory == nil && r.Pids == nil && len(r.HugepageLimits) == 0 && len(r.Unified) == 0
}
