package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tunables are the kernel settings that a kubelet sets for the whole machine.
var tunables = []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"}

// Remember writes those settings down beside a run's files, for Sweep.
func Remember(l Layout) error {
	m := map[string]string{}
	for _, t := range tunables {
		if b, err := os.ReadFile(filepath.Join("/proc/sys", t)); err == nil {
			m[t] = strings.TrimSpace(string(b))
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.Work, "settings.json"), b, 0o644)
}

// restore sets back what the agent has changed of them.
func restore(work string) error {
	b, err := os.ReadFile(filepath.Join(work, "settings.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var before map[string]string
	if err := json.Unmarshal(b, &before); err != nil {
		return err
	}
	var errs []error
	for k, v := range before {
		f := filepath.Join("/proc/sys", k)
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) != v {
			errs = append(errs, os.WriteFile(f, []byte(v), 0))
		}
	}
	return errors.Join(errs...)
}

// Sweep removes what outlives the namespaces of a run: its cgroup, its files (but the logs), the settings that the agent
// changed. Every process of the run must have ended.
func Sweep(l Layout) error {
	var errs []error
	if err := removeCgroup(); err != nil {
		errs = append(errs, fmt.Errorf("remove the cgroup of the run: %w", err))
	}
	errs = append(errs, restore(l.Work), keepLogs(l), os.RemoveAll(l.Work))
	if _, err := os.Stat(l.made()); err == nil {
		if err := os.Remove(KubeletRoot); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		errs = append(errs, os.Remove(l.made()))
	}
	return errors.Join(errs...)
}

// made is the mark of a mount point that is ours to remove.
func (l Layout) made() string { return filepath.Join(l.Cache, ".made-kubelet-root") }

// MountPoint makes the folder that the agent's own is mounted over, on a machine that has none.
func MountPoint(l Layout) error {
	if _, err := os.Stat(KubeletRoot); err == nil {
		return nil
	}
	if err := os.WriteFile(l.made(), nil, 0o644); err != nil {
		return err
	}
	return os.MkdirAll(KubeletRoot, 0o750)
}

// keepLogs moves the servers' logs out of a run's folder, in place of those of the run before.
func keepLogs(l Layout) error {
	from := filepath.Join(l.Work, "logs")
	if _, err := os.Stat(from); err != nil {
		return nil
	}
	if err := os.RemoveAll(l.Logs); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(l.Logs), 0o755); err != nil {
		return err
	}
	return os.Rename(from, l.Logs)
}
