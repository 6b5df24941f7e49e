package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupMount = "/sys/fs/cgroup"

// Unified tells whether this machine has cgroup v2 alone.
func Unified() bool {
	var s unix.Statfs_t
	return unix.Statfs(cgroupMount, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC
}

// hierarchies are the folders below which a cgroup of one path has to be made.
func hierarchies() ([]string, error) {
	if Unified() {
		return []string{cgroupMount}, nil
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() { // links to combined hierarchies are not folders of their own
			dirs = append(dirs, filepath.Join(cgroupMount, e.Name()))
		}
	}
	return dirs, nil
}

// makeCgroup makes the cgroup that the pods of a run live below. An agent does not make its own root.
func makeCgroup() error {
	dirs, err := hierarchies()
	if err != nil {
		return fmt.Errorf("find the cgroup hierarchies: %w", err)
	}
	for _, d := range dirs {
		group := filepath.Join(d, Cgroup)
		if err := os.MkdirAll(group, 0o755); err != nil {
			return fmt.Errorf("make the cgroup of the run: %w", err)
		}
		if Unified() {
			b, err := os.ReadFile(filepath.Join(d, "cgroup.controllers"))
			if err != nil {
				return err
			}
			for _, c := range strings.Fields(string(b)) {
				for _, at := range []string{d, group} {
					// a controller that cannot be delegated is one that the agent does without
					_ = os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+"+c), 0)
				}
			}
			continue
		}
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} { // empty in a new cgroup of v1, and then no task may enter
			b, err := os.ReadFile(filepath.Join(d, f))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(group, f), b, 0); err != nil {
				return fmt.Errorf("set %s: %w", f, err)
			}
		}
	}
	return nil
}

// removeCgroup removes it with all below. The processes inside must have been killed; the kernel may take a moment to
// let go of them.
func removeCgroup() error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	var left error
	for range 50 {
		left = nil
		for _, d := range dirs {
			root := filepath.Join(d, Cgroup)
			var groups []string
			_ = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
				if err == nil && e.IsDir() {
					groups = append(groups, p)
				}
				return nil
			})
			for i := len(groups) - 1; i >= 0; i-- {
				if err := os.Remove(groups[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
					left = err
				}
			}
		}
		if left == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return left
}
