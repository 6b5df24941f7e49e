// Package cgroupfs makes cgroups as desired by writing the cgroup file system, on v1 and on v2, through
// containerd/cgroups where that library does what the kubelet does, and by raw files where it does not.
package cgroupfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
)

// Version is the version of the hierarchy that limits pods.
type Version int

// The versions. A hybrid host (controllers on v1, an empty v2 hierarchy beside them) counts as V1.
const (
	V1 Version = 1
	V2 Version = 2
)

// Host is what the node's cgroup mounts look like. It is read once and never changes.
type Host struct {
	Version Version
	// Root is the common mount point, /sys/fs/cgroup on ordinary hosts.
	Root string
	// Hierarchies are the v1 mounts by controller name ("cpu", "name=systemd", …), the hybrid v2 mount under
	// "unified"; on v2 the one mount under "".
	Hierarchies map[string]string
	// HugePageSizes are the node's, empty when the hugetlb controller is missing.
	HugePageSizes []model.Bytes
	// Controllers are those of cpu, cpuset, memory, hugetlb and pids that the kernel has.
	Controllers []string
	// SwapAccounted: the kernel counts and limits swap by cgroup.
	SwapAccounted bool

	mounts []string // the distinct mount points, sorted
}

// wanted are the controllers that limit pods.
var wanted = [...]string{"cpu", "cpuset", "memory", "hugetlb", "pids"}

// DefaultRoot is where cgroups are mounted by convention.
const DefaultRoot = "/sys/fs/cgroup"

// Detect reads how cgroups are mounted at root. It fails with cgroups.ErrNotMounted or cgroups.ErrReadOnly and says
// what to do about it.
func Detect(root string) (*Host, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return nil, fmt.Errorf("%w at %s: %v", cgroups.ErrNotMounted, root, err)
	}
	h := &Host{Version: V1, Root: root, Hierarchies: map[string]string{}}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		h.Version = V2
		h.Hierarchies[""] = root
		if st.Flags&unix.ST_RDONLY != 0 {
			return nil, fmt.Errorf("%w: %s (in a container, run privileged with a private or host cgroup namespace)", cgroups.ErrReadOnly, root)
		}
		have, err := words(filepath.Join(root, "cgroup.controllers"))
		if err != nil {
			return nil, fmt.Errorf("read the controllers of %s: %w", root, err)
		}
		h.keep(func(c string) bool { return have[c] })
		if !h.has("memory") || !h.has("cpu") {
			return nil, fmt.Errorf("%w with the cpu and memory controllers: %s has only %v", cgroups.ErrNotMounted, root, h.Controllers)
		}
	} else if err := h.readV1(); err != nil {
		return nil, err
	}
	if h.has("hugetlb") {
		h.HugePageSizes = pageSizes("/sys/kernel/mm/hugepages")
	}
	h.SwapAccounted = h.swapAccounted("/proc/self/cgroup")
	h.mounts = h.distinct()
	return h, nil
}

// swapAccounted looks for a file that limits swap. On v2 the root has none: this process's own cgroup is asked (self is
// its list, cgroups(7)), or any child of the root if that is where it is.
func (h *Host) swapAccounted(self string) bool {
	if h.Version == V1 {
		_, err := os.Stat(h.Dir("memory", "memory.memsw.limit_in_bytes"))
		return err == nil
	}
	path := "/"
	if b, err := os.ReadFile(self); err == nil {
		path = strings.TrimPrefix(strings.TrimSpace(string(b)), "0::")
	}
	for _, pattern := range []string{filepath.Join(h.Root, path, "memory.swap.max"), filepath.Join(h.Root, "*", "memory.swap.max")} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}

// readV1 finds every hierarchy below the root in this process's mounts. Where a controller is mounted twice the
// shortest path wins, as in the kubelet.
func (h *Host) readV1() error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(h.Root))
	if err != nil {
		return fmt.Errorf("read the mounts below %s: %w", h.Root, err)
	}
	readOnly := ""
	for _, m := range mounts {
		var names []string
		switch m.FSType {
		case "cgroup":
			for _, o := range strings.Split(m.VFSOptions, ",") {
				if v1Controllers[o] || strings.HasPrefix(o, "name=") {
					names = append(names, o)
				}
			}
		case "cgroup2":
			names = []string{"unified"}
		}
		for _, name := range names {
			if old, ok := h.Hierarchies[name]; !ok || len(m.Mountpoint) < len(old) {
				h.Hierarchies[name] = m.Mountpoint
			}
			if name == "memory" && strings.HasPrefix(m.Options+",", "ro,") {
				readOnly = m.Mountpoint
			}
		}
	}
	h.keep(func(c string) bool { return h.Hierarchies[c] != "" })
	if !h.has("memory") || !h.has("cpu") {
		return fmt.Errorf("%w below %s with the cpu and memory controllers (cgroup v1 needs them mounted one by one, v2 needs a cgroup2 mount)", cgroups.ErrNotMounted, h.Root)
	}
	if readOnly != "" {
		return fmt.Errorf("%w: %s (in a container, run privileged)", cgroups.ErrReadOnly, readOnly)
	}
	return nil
}

var v1Controllers = map[string]bool{
	"cpu": true, "cpuacct": true, "cpuset": true, "memory": true, "hugetlb": true, "pids": true, "devices": true,
	"freezer": true, "blkio": true, "net_cls": true, "net_prio": true, "perf_event": true, "rdma": true, "misc": true,
}

func (h *Host) keep(have func(string) bool) {
	for _, c := range wanted {
		if have(c) {
			h.Controllers = append(h.Controllers, c)
		}
	}
}

func (h *Host) has(controller string) bool {
	for _, c := range h.Controllers {
		if c == controller {
			return true
		}
	}
	return false
}

// Dirs returns where a cgroup's directories are, one for each distinct hierarchy, sorted. path is a Name.Path.
func (h *Host) Dirs(path string) []string {
	mounts := h.mounts
	if mounts == nil {
		mounts = h.distinct()
	}
	dirs := make([]string, len(mounts))
	for i, mount := range mounts {
		dirs[i] = filepath.Join(mount, path)
	}
	return dirs
}

// distinct resolves the mounts: controllers mounted together are links to one directory.
func (h *Host) distinct() []string {
	var mounts []string
	for _, mount := range h.Hierarchies {
		if real, err := filepath.EvalSymlinks(mount); err == nil {
			mount = real
		}
		mounts = append(mounts, mount)
	}
	slices.Sort(mounts)
	return slices.Compact(mounts)
}

// Dir returns the directory of a cgroup in a controller's hierarchy, "" where the controller is missing.
func (h *Host) Dir(controller, path string) string {
	if h.Version == V2 {
		return filepath.Join(h.Root, path)
	}
	if mount := h.Hierarchies[controller]; mount != "" {
		return filepath.Join(mount, path)
	}
	return ""
}

// words reads a file of words separated by blanks.
func words(file string) (map[string]bool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	set := map[string]bool{}
	for _, w := range strings.Fields(string(b)) {
		set[w] = true
	}
	return set, nil
}

// pageSizes reads names such as hugepages-2048kB.
func pageSizes(dir string) []model.Bytes {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []model.Bytes
	for _, e := range entries {
		s, ok := strings.CutPrefix(e.Name(), "hugepages-")
		if s, ok2 := strings.CutSuffix(s, "kB"); ok && ok2 {
			if n, err := strconv.ParseInt(s, 10, 64); err == nil {
				out = append(out, model.Bytes(n)*1024)
			}
		}
	}
	return out
}

// explain turns the file system's errors into those of package cgroups.
func explain(op string, n cgroups.Name, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.EROFS) {
		err = fmt.Errorf("%w (%w)", cgroups.ErrReadOnly, err)
	}
	if errors.Is(err, fs.ErrNotExist) && op == "update" {
		return fmt.Errorf("%s cgroup %s: it does not exist: %w", op, n, err)
	}
	return fmt.Errorf("%s cgroup %s: %w", op, n, err)
}
