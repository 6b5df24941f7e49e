package cgroupfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/troupe-dev/troupe/cgroups"
)

// Applier writes cgroups by itself. It holds no state but the host, so it may be shared.
type Applier struct {
	host *Host
}

var _ cgroups.Applier = (*Applier)(nil)

// New returns an applier for a detected host.
func New(host *Host) *Applier { return &Applier{host: host} }

// Apply implements cgroups.Applier.
func (a *Applier) Apply(_ context.Context, d cgroups.Desired) error {
	return explain("apply", d.Name, a.host.write(d.Name.String(), d.Resources, true))
}

// Update implements cgroups.Applier.
func (a *Applier) Update(_ context.Context, d cgroups.Desired) error {
	return explain("update", d.Name, a.host.write(d.Name.String(), d.Resources, false))
}

// Remove implements cgroups.Applier.
func (a *Applier) Remove(ctx context.Context, n cgroups.Name) error {
	if len(n) == 0 {
		return explain("remove", n, errors.New("the root stays"))
	}
	return RemoveDirs(ctx, n, a.host.Dirs(n.String()))
}

// Exists implements cgroups.Applier.
func (a *Applier) Exists(n cgroups.Name) bool { return a.host.Exists(n.String()) }

// Children implements cgroups.Applier.
func (a *Applier) Children(n cgroups.Name) ([]cgroups.Name, error) {
	names, err := a.host.Children(n.String())
	if err != nil {
		return nil, explain("list", n, err)
	}
	out := make([]cgroups.Name, 0, len(names))
	for _, base := range names {
		out = append(out, n.Child(base))
	}
	return out, nil
}

// Parent implements cgroups.Applier.
func (a *Applier) Parent(n cgroups.Name) string { return n.Path(cgroups.Cgroupfs) }

// Write puts values into an existing or (create) new cgroup at a driver's path. The systemd driver uses it for what
// systemd cannot set.
func (h *Host) Write(path string, r specs.LinuxResources, create bool) error {
	return h.write(path, r, create)
}

func (h *Host) write(path string, r specs.LinuxResources, create bool) error {
	if !h.has("hugetlb") {
		r.HugepageLimits = nil
	}
	if !h.has("pids") {
		r.Pids = nil
	}
	if r.CPU != nil && !h.has("cpuset") {
		cpu := *r.CPU
		cpu.Cpus, cpu.Mems = "", ""
		r.CPU = &cpu
	}
	if !create {
		// The library creates what is missing; an update must not bring a removed cgroup back.
		if _, err := os.Stat(h.Dir("cpu", path)); err != nil {
			return err
		}
	}
	if h.Version == V2 {
		return h.writeV2(path, r, create)
	}
	return h.writeV1(path, r)
}

// Exists says whether the cgroup is in every hierarchy that the kubelet looks at.
func (h *Host) Exists(path string) bool {
	if h.Version == V2 {
		have, err := words(filepath.Join(h.Root, path, "cgroup.controllers"))
		if err != nil {
			return false
		}
		for _, c := range h.Controllers {
			if !have[c] {
				return false
			}
		}
		return true
	}
	for _, s := range h.v1Names() {
		if _, err := os.Stat(h.Dir(s, path)); err != nil {
			return false
		}
	}
	return true
}

// Children lists the names of the cgroups directly below a path, in any hierarchy, sorted by hierarchy and name.
func (h *Host) Children(path string) ([]string, error) {
	seen := map[string]bool{}
	var out []string
	for _, dir := range h.Dirs(path) {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() && !seen[e.Name()] {
				seen[e.Name()] = true
				out = append(out, e.Name())
			}
		}
	}
	return out, nil
}
