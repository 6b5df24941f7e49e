package cgroupfs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/troupe-dev/troupe/cgroups"
)

// writeV2 creates or updates. The library alone would enable only the controllers that have a value, turn shares into
// the runtime's quadratic weight and drop Unified; so the values are translated here, and every controller that the
// kernel has is enabled on the way down.
func (h *Host) writeV2(path string, r specs.LinuxResources, create bool) error {
	res := v2Resources(r)
	if !create {
		m, err := cgroup2.Load(path, cgroup2.WithMountpoint(h.Root))
		if err != nil {
			return err
		}
		if err := m.Update(res); err != nil {
			return err
		}
		return h.writeRaw(path, r)
	}
	dir := filepath.Join(h.Root, path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if !h.Exists(path) {
		m, err := cgroup2.Load(path, cgroup2.WithMountpoint(h.Root))
		if err != nil {
			return err
		}
		if err := m.ToggleControllers(h.Controllers, cgroup2.Enable); err != nil {
			return err
		}
		if !h.Exists(path) {
			// Usually processes sit in an inner cgroup (EBUSY on its subtree_control), which v2 forbids.
			return fmt.Errorf("controllers %v cannot all be enabled down to %s", h.Controllers, dir)
		}
	}
	m, err := cgroup2.Load(path, cgroup2.WithMountpoint(h.Root))
	if err != nil {
		return err
	}
	if err := m.Update(res); err != nil {
		return err
	}
	return h.writeRaw(path, r)
}

func v2Resources(r specs.LinuxResources) *cgroup2.Resources {
	out := &cgroup2.Resources{}
	if c := r.CPU; c != nil {
		cpu := &cgroup2.CPU{Cpus: c.Cpus, Mems: c.Mems}
		if c.Shares != nil {
			w := cgroups.Weight(*c.Shares)
			cpu.Weight = &w
		}
		if c.Quota != nil {
			quota := c.Quota
			if *quota <= 0 {
				quota = nil // "max"
			}
			cpu.Max = cgroup2.NewCPUMax(quota, c.Period)
		}
		out.CPU = cpu
	}
	if r.Memory != nil && r.Memory.Limit != nil && *r.Memory.Limit > 0 {
		out.Memory = &cgroup2.Memory{Max: r.Memory.Limit}
	}
	if r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit > 0 {
		out.Pids = &cgroup2.Pids{Max: *r.Pids.Limit}
	}
	if len(r.HugepageLimits) > 0 {
		list := cgroup2.HugeTlb{}
		for _, l := range r.HugepageLimits {
			list = append(list, cgroup2.HugeTlbEntry{HugePageSize: l.Pagesize, Limit: l.Limit})
		}
		out.HugeTlb = &list
	}
	return out
}

// writeRaw writes what the library has no value for: the ends of limits, and the files named in Unified.
func (h *Host) writeRaw(path string, r specs.LinuxResources) error {
	raw := map[string]string{}
	if r.Memory != nil && r.Memory.Limit != nil && *r.Memory.Limit <= 0 {
		raw["memory.max"] = "max"
	}
	if r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit <= 0 {
		raw["pids.max"] = "max"
	}
	for _, l := range r.HugepageLimits {
		// Reservations count too, as the runtimes do it; kernels before 5.7 have no such file.
		name := "hugetlb." + l.Pagesize + ".rsvd.max"
		if _, err := os.Stat(filepath.Join(h.Root, path, name)); err == nil {
			raw[name] = strconv.FormatUint(l.Limit, 10)
		}
	}
	for k, v := range r.Unified {
		if strings.Contains(k, "/") || !strings.Contains(k, ".") {
			return fmt.Errorf("unified file %q: %w", k, fs.ErrInvalid)
		}
		raw[k] = v
	}
	for name, value := range raw {
		if err := os.WriteFile(filepath.Join(h.Root, path, name), []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}
