// Package cgstat reads what a cgroup uses, straight from its files and only when asked.
package cgstat

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/messages/model"
)

// Usage is the usage of one cgroup with all below it. A field whose controller is missing is zero.
type Usage struct {
	// CPUNanos is the CPU time consumed since the cgroup was made, in nanoseconds.
	CPUNanos uint64
	// Memory is everything charged, page cache included. WorkingSet leaves out the file pages that the kernel would
	// drop first; it is what eviction and `kubectl top` mean by memory.
	Memory, WorkingSet, RSS     model.Bytes
	PageFaults, MajorPageFaults uint64
	Pids                        uint64
}

// Read reads the usage of the cgroup at a driver's path (cgroups.Name.Path). A cgroup that is gone is an error that
// matches fs.ErrNotExist.
func Read(h *cgroupfs.Host, path string) (Usage, error) {
	var u Usage
	err := read(h, path, &u)
	if err != nil {
		return Usage{}, fmt.Errorf("read usage of cgroup %s: %w", path, err)
	}
	return u, nil
}

func read(h *cgroupfs.Host, path string, u *Usage) error {
	memory := h.Dir("memory", path)
	current, inactive, rss := "memory.usage_in_bytes", "total_inactive_file", "total_rss"
	faults, major := "total_pgfault", "total_pgmajfault"
	if h.Version == cgroupfs.V2 {
		current, inactive, rss, faults, major = "memory.current", "inactive_file", "anon", "pgfault", "pgmajfault"
	}
	used, err := number(filepath.Join(memory, current))
	if err != nil {
		return err
	}
	stat, err := pairs(filepath.Join(memory, "memory.stat"), inactive, rss, faults, major)
	if err != nil {
		return err
	}
	u.Memory, u.RSS = model.Bytes(used), model.Bytes(stat[1])
	u.WorkingSet = model.Bytes(used - min(used, stat[0]))
	u.PageFaults, u.MajorPageFaults = stat[2], stat[3]

	if h.Version == cgroupfs.V2 {
		cpu, err := pairs(filepath.Join(h.Dir("cpu", path), "cpu.stat"), "usage_usec")
		if err != nil {
			return err
		}
		u.CPUNanos = cpu[0] * 1000
	} else if dir := h.Dir("cpuacct", path); dir != "" {
		if u.CPUNanos, err = number(filepath.Join(dir, "cpuacct.usage")); err != nil {
			return err
		}
	}
	if dir := h.Dir("pids", path); dir != "" {
		// The root of v2 has no such file.
		if n, err := number(filepath.Join(dir, "pids.current")); err == nil {
			u.Pids = n
		}
	}
	return nil
}

// OOMKills returns how many processes of the cgroup (v2: and of those below it) the kernel has killed for want of
// memory since it was made.
func OOMKills(h *cgroupfs.Host, path string) (uint64, error) {
	file := "memory.oom_control"
	if h.Version == cgroupfs.V2 {
		file = "memory.events"
	}
	v, err := pairs(filepath.Join(h.Dir("memory", path), file), "oom_kill")
	if err != nil {
		return 0, fmt.Errorf("read oom kills of cgroup %s: %w", path, err)
	}
	return v[0], nil
}

// number reads a file that holds one number.
func number(file string) (uint64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return v, nil
}

// pairs reads a file of "key value" lines and returns the values of the keys, 0 for one that is missing.
func pairs(file string, keys ...string) ([]uint64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	out := make([]uint64, len(keys))
	for line := range bytes.Lines(b) {
		key, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		if !ok {
			continue
		}
		for i, want := range keys {
			if string(key) != want {
				continue
			}
			if out[i], err = strconv.ParseUint(string(value), 10, 64); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", file, want, err)
			}
		}
	}
	return out, nil
}

// CPUNanos reads the CPU time alone, which the root cgroup of v2 has too.
func CPUNanos(h *cgroupfs.Host, path string) (uint64, error) {
	if h.Version == cgroupfs.V2 {
		v, err := pairs(filepath.Join(h.Dir("cpu", path), "cpu.stat"), "usage_usec")
		if err != nil {
			return 0, fmt.Errorf("read CPU time of cgroup %s: %w", path, err)
		}
		return v[0] * 1000, nil
	}
	n, err := number(filepath.Join(h.Dir("cpuacct", path), "cpuacct.usage"))
	if err != nil {
		return 0, fmt.Errorf("read CPU time of cgroup %s: %w", path, err)
	}
	return n, nil
}
