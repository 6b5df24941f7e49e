// Package machine reads what the node's status tells of the machine: from /proc, /sys and /etc. Everything is read under
// a root, so that tests bring their own.
package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/utils/cpuset"

	"github.com/troupe-dev/troupe/actors/node/nodestatus"
	"github.com/troupe-dev/troupe/messages/model"
)

// Read reads the machine whose root file system is at root ("/" outside of tests). storage is the folder whose file
// system holds the pods' data: its size is the capacity of ephemeral storage. Facts that are missing stay empty; only
// a machine without memory or CPUs is an error.
func Read(root, storage string) (nodestatus.Machine, error) {
	r := reader(root)
	m := nodestatus.Machine{
		MachineID:  r.first("etc/machine-id", "var/lib/dbus/machine-id"),
		SystemUUID: r.first("sys/class/dmi/id/product_uuid", "proc/device-tree/system-id", "proc/device-tree/vm,uuid", "etc/machine-id"),
		BootID:     r.first("proc/sys/kernel/random/boot_id"),
		Kernel:     r.first("proc/sys/kernel/osrelease"),
		OSImage:    r.osImage(),
		HugePages:  r.hugePages(),
		AppArmor:   strings.HasPrefix(r.first("sys/module/apparmor/parameters/enabled"), "Y"),
	}
	cpus, err := cpuset.Parse(r.first("sys/devices/system/cpu/online"))
	if err != nil || cpus.Size() == 0 {
		return m, fmt.Errorf("count CPUs of %s: %w", root, orMissing(err))
	}
	m.Cores = cpus.Size()
	memory := r.meminfo()
	m.Memory, m.Swap = memory["MemTotal"], memory["SwapTotal"]
	if m.Memory == 0 {
		return m, fmt.Errorf("read memory of %s: %w", root, errMissing)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(storage, &fs); err != nil {
		return m, fmt.Errorf("size of the file system of %s: %w", storage, err)
	}
	m.Storage = model.Bytes(fs.Blocks) * model.Bytes(fs.Bsize)
	return m, nil
}

var errMissing = errors.New("the system does not say")

func orMissing(err error) error {
	if err == nil {
		return errMissing
	}
	return err
}

type reader string

// first is the content of the first file that has one.
func (r reader) first(paths ...string) string {
	for _, p := range paths {
		if data, err := os.ReadFile(filepath.Join(string(r), p)); err == nil {
			if text := strings.Trim(string(data), " \n\t\x00"); text != "" {
				return text
			}
		}
	}
	return ""
}

// osImage is PRETTY_NAME of os-release(5).
func (r reader) osImage() string {
	for _, line := range strings.Split(r.first("etc/os-release", "usr/lib/os-release"), "\n") {
		if value, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return "Linux"
}

// meminfo is /proc/meminfo in bytes, of what it gives in kB.
func (r reader) meminfo() map[string]model.Bytes {
	sizes := map[string]model.Bytes{}
	for _, line := range strings.Split(r.first("proc/meminfo"), "\n") {
		name, rest, _ := strings.Cut(line, ":")
		if kb, ok := strings.CutSuffix(strings.TrimSpace(rest), " kB"); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(kb), 10, 64); err == nil {
				sizes[name] = model.Bytes(n << 10)
			}
		}
	}
	return sizes
}

func (r reader) hugePages() map[model.Bytes]int64 {
	const folder, prefix = "sys/kernel/mm/hugepages", "hugepages-"
	entries, err := os.ReadDir(filepath.Join(string(r), folder))
	if err != nil {
		return nil
	}
	pages := map[model.Bytes]int64{}
	for _, e := range entries {
		kb, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), "kB"), prefix)
		if !ok {
			continue
		}
		size, err := strconv.ParseInt(kb, 10, 64)
		n, err2 := strconv.ParseInt(r.first(filepath.Join(folder, e.Name(), "nr_hugepages")), 10, 64)
		if err == nil && err2 == nil {
			pages[model.Bytes(size<<10)] = n
		}
	}
	return pages
}
