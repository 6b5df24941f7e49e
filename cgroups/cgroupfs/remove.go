package cgroupfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/troupe-dev/troupe/cgroups"
)

// Bounds of a removal without a nearer deadline in its context, and the pauses between attempts: a killed process
// leaves its cgroup a moment after the signal.
const (
	removeTimeout = 10 * time.Second
	firstPause    = time.Millisecond
	longestPause  = 100 * time.Millisecond
)

// RemoveDirs kills every process below the directories and removes them, children first. It is what both drivers do
// with what the runtime left behind. The directories may be missing. It ends when the context does, or after ten
// seconds, with cgroups.ErrBusy.
func RemoveDirs(ctx context.Context, n cgroups.Name, dirs []string) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	pause := firstPause
	for {
		err := removeOnce(dirs)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EAGAIN) {
			return explain("remove", n, err)
		}
		Kill(dirs)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("remove cgroup %s: %w: %v (%s)", n, cgroups.ErrBusy, err, survivors(dirs))
		}
		pause = min(2*pause, longestPause)
	}
}

// removeOnce tries rmdir bottom-up, and returns the last failure. A leaf needs one system call.
func removeOnce(dirs []string) error {
	var last error
	for _, dir := range dirs {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY) {
			if sub := subdirs(dir); len(sub) > 0 {
				if serr := removeOnce(sub); serr != nil {
					last = serr
					continue
				}
				err = unix.Rmdir(dir)
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			last = &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
	return last
}

func subdirs(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out
}

// Kill sends SIGKILL to everything below the directories: in one write where the kernel has cgroup.kill (v2, since
// 5.14), else process by process, thawing frozen ones so that they can die.
func Kill(dirs []string) {
	for _, dir := range dirs {
		if os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
			continue
		}
		walk(dir, func(d string) {
			_ = os.WriteFile(filepath.Join(d, "freezer.state"), []byte("THAWED"), 0)
			_ = os.WriteFile(filepath.Join(d, "cgroup.freeze"), []byte("0"), 0)
			killMembers(d)
		})
	}
}

// killMembers kills the processes that are directly in a cgroup. A number may be given to another process between the
// reading and the signal, so each is held (os.FindProcess opens a pidfd) and killed only if the cgroup still lists it.
func killMembers(dir string) {
	held := map[int]*os.Process{}
	for _, pid := range pids(dir) {
		if pid <= 1 || pid == os.Getpid() || len(held) == 256 { // the rest is for the next round
			continue
		}
		if p, err := os.FindProcess(pid); err == nil {
			held[pid] = p
		}
	}
	for _, pid := range pids(dir) {
		if p := held[pid]; p != nil {
			_ = p.Kill()
		}
	}
	for _, p := range held {
		_ = p.Release()
	}
}

// walk calls f for the directory and for all below it.
func walk(dir string, f func(string)) {
	f(dir)
	for _, sub := range subdirs(dir) {
		walk(sub, f)
	}
}

// pids reads the processes that are directly in a cgroup.
func pids(dir string) []int {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var out []int
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// survivors describes what cannot be removed, for the error.
func survivors(dirs []string) string {
	seen := map[int]bool{}
	for _, dir := range dirs {
		walk(dir, func(d string) {
			for _, pid := range pids(d) {
				seen[pid] = true
			}
		})
	}
	if len(seen) == 0 {
		return "no process is left in it"
	}
	var parts []string
	for pid := range seen {
		state := "?"
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			if i := strings.LastIndexByte(string(b), ')'); i >= 0 && len(b) > i+2 {
				state = string(b[i+2 : i+3])
			}
		}
		parts = append(parts, fmt.Sprintf("pid %d in state %s", pid, state))
		if len(parts) == 5 {
			break
		}
	}
	return strings.Join(parts, ", ")
}
