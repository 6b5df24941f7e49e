package cgstat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/messages/model"
)

// unlimited is from where on v1 means no limit: it answers the largest multiple of a page.
const unlimited = 1 << 62

// Limits are what a cgroup may use at most; nil where it has no limit of its own, or none is known.
type Limits struct{ Memory, Swap *model.Bytes }

// ReadLimits reads the limits of the cgroup at a driver's path. A cgroup that is gone is an error that matches
// fs.ErrNotExist; the root has none.
func ReadLimits(h *cgroupfs.Host, path string) (Limits, error) {
	dir := h.Dir("memory", path)
	memory, swap := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	if h.Version == cgroupfs.V2 {
		memory, swap = "memory.max", "memory.swap.max"
	}
	var l Limits
	var err error
	if l.Memory, err = limit(filepath.Join(dir, memory)); err != nil {
		return Limits{}, fmt.Errorf("read limits of cgroup %s: %w", path, err)
	}
	l.Swap, err = limit(filepath.Join(dir, swap))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // the kernel may have no swap accounting
		return Limits{}, fmt.Errorf("read limits of cgroup %s: %w", path, err)
	}
	return l, nil
}

// limit reads a file with a number or "max". Of a directory that is there, a missing file means no limit.
func limit(file string) (*model.Bytes, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := os.Stat(filepath.Dir(file)); gone == nil {
			return nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(string(b)) == "max" {
		return nil, nil
	}
	n, err := number(file)
	if err != nil || n >= unlimited {
		return nil, err
	}
	v := model.Bytes(n)
	return &v, nil
}

// Swap reads how much of the cgroup's memory is swapped out; nil where the kernel does not count it.
func Swap(h *cgroupfs.Host, path string) (*model.Bytes, error) {
	dir := h.Dir("memory", path)
	var n uint64
	var err error
	if h.Version == cgroupfs.V2 {
		n, err = number(filepath.Join(dir, "memory.swap.current"))
	} else {
		var v []uint64
		if v, err = pairs(filepath.Join(dir, "memory.stat"), "total_swap"); err == nil {
			n = v[0]
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read swap of cgroup %s: %w", path, err)
	}
	v := model.Bytes(n)
	return &v, nil
}

// Processes lists the processes directly in the cgroup, not those below it.
func Processes(h *cgroupfs.Host, path string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(h.Dir("memory", path), "cgroup.procs"))
	if err != nil {
		return nil, fmt.Errorf("read processes of cgroup %s: %w", path, err)
	}
	return strings.Fields(string(b)), nil
}
