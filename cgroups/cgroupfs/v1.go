package cgroupfs

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/cgroups/v3/cgroup1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// v1Names returns the hierarchies that a pod's cgroup is made in: those with limits, and those that the kubelet wants
// to see (cpuacct for usage, systemd). The runtime makes the others itself when it needs them; a removal covers all.
func (h *Host) v1Names() []string {
	var out []string
	for _, c := range [...]string{"cpu", "cpuacct", "cpuset", "memory", "hugetlb", "pids", "name=systemd"} {
		if h.Hierarchies[c] != "" {
			out = append(out, c)
		}
	}
	return out
}

func (h *Host) v1Hierarchy() ([]cgroup1.Subsystem, error) {
	var out []cgroup1.Subsystem
	for _, c := range h.v1Names() {
		switch c {
		case "cpu":
			out = append(out, cgroup1.NewCpu(h.Root))
		case "cpuacct":
			out = append(out, cgroup1.NewCpuacct(h.Root))
		case "cpuset":
			out = append(out, newCpuset(h.Root))
		case "memory":
			out = append(out, cgroup1.NewMemory(h.Root))
		case "pids":
			out = append(out, cgroup1.NewPids(h.Root))
		case "name=systemd":
			out = append(out, cgroup1.NewNamed(h.Root, "systemd"))
		case "hugetlb":
			s, err := cgroup1.NewHugetlb(h.Root)
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// writeV1 creates or updates: in the library both make missing directories and write the given values.
func (h *Host) writeV1(path string, r specs.LinuxResources) error {
	create := func() error {
		_, err := cgroup1.New(cgroup1.StaticPath(path), &r,
			cgroup1.WithHierarchy(h.v1Hierarchy))
		return err
	}
	err := create()
	if errors.Is(err, unix.EINVAL) && r.CPU != nil && r.CPU.Quota != nil && r.CPU.Period != nil {
		// The library writes the period first. With the old quota that may exceed the parent's share for a moment.
		quota := []byte(strconv.FormatInt(*r.CPU.Quota, 10))
		if os.WriteFile(filepath.Join(h.Dir("cpu", path), "cpu.cfs_quota_us"), quota, 0) == nil {
			err = create()
		}
	}
	return err
}
