package cgroupfs

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/containerd/cgroups/v3/cgroup1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// cpuset is the library's v1 controller with a short way for the common case. A new v1 cpuset is empty and takes no
// process until it has CPUs and memory nodes; the library makes sure of that from the root down, twice, which is half of
// what a pod's cgroup costs. Here a cgroup whose parent has values takes them over.
type cpuset struct {
	root string
	full interface {
		cgroup1.Subsystem
		Create(path string, resources *specs.LinuxResources) error
	}
}

func newCpuset(root string) cpuset {
	return cpuset{root: filepath.Join(root, "cpuset"), full: cgroup1.NewCpuset(root)}
}

// Name implements cgroup1.Subsystem.
func (c cpuset) Name() cgroup1.Name { return c.full.Name() }

// Path is where the library finds the cgroup.
func (c cpuset) Path(path string) string { return filepath.Join(c.root, path) }

// Create makes the cgroup if it is missing.
func (c cpuset) Create(path string, r *specs.LinuxResources) error {
	if r.CPU != nil && (r.CPU.Cpus != "" || r.CPU.Mems != "") {
		return c.full.Create(path, r)
	}
	dir := c.Path(path)
	if err := os.Mkdir(dir, 0o755); err != nil {
		if !os.IsExist(err) {
			return c.full.Create(path, r) // parents are missing
		}
		if have, err := os.ReadFile(filepath.Join(dir, "cpuset.mems")); err == nil && len(bytes.TrimSpace(have)) > 0 {
			return nil // mems are written last
		}
	}
	for _, file := range [...]string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil || len(bytes.TrimSpace(value)) == 0 {
			return c.full.Create(path, r)
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
			return err
		}
	}
	return nil
}
