// Package mounts is the mount port of the volume actor: k8s.io/mount-utils' Interface, with the mounts that every pod
// needs (tmpfs, hugetlbfs, bind, unmount) done by system call. The library runs mount(8) for each of them, which costs
// a process per volume; it stays in charge of all other file systems.
package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
)

// Mounter mounts in this process' mount namespace. It is safe for concurrent use.
type Mounter struct {
	mount.Interface
	noSwapRefused atomic.Bool
}

var _ mount.Interface = (*Mounter)(nil)

// New returns a Mounter that hands what it does not know to rest.
func New(rest mount.Interface) *Mounter { return &Mounter{Interface: rest} }

// flags are the options that mount(2) takes as bits; every other option is data for the file system.
func flag(option string) (uintptr, bool) {
	switch option {
	case "defaults", "rw":
		return 0, true
	case "ro":
		return unix.MS_RDONLY, true
	case "bind":
		return unix.MS_BIND, true
	case "rbind":
		return unix.MS_BIND | unix.MS_REC, true
	case "remount":
		return unix.MS_REMOUNT, true
	case "nosuid":
		return unix.MS_NOSUID, true
	case "nodev":
		return unix.MS_NODEV, true
	case "noexec":
		return unix.MS_NOEXEC, true
	case "noatime":
		return unix.MS_NOATIME, true
	case "relatime":
		return unix.MS_RELATIME, true
	}
	return 0, false
}

// Mount mounts source on target.
func (m *Mounter) Mount(source, target, fstype string, options []string) error {
	return m.MountSensitiveWithoutSystemdWithMountFlags(source, target, fstype, options, nil, nil)
}

// MountSensitive is Mount with options that must not be logged.
func (m *Mounter) MountSensitive(source, target, fstype string, options, sensitive []string) error {
	if m.own(fstype, options, sensitive) {
		return m.mount(source, target, fstype, options)
	}
	return m.Interface.MountSensitive(source, target, fstype, options, sensitive)
}

// MountSensitiveWithoutSystemd is MountSensitive outside of any systemd scope.
func (m *Mounter) MountSensitiveWithoutSystemd(source, target, fstype string, options, sensitive []string) error {
	return m.MountSensitiveWithoutSystemdWithMountFlags(source, target, fstype, options, sensitive, nil)
}

// MountSensitiveWithoutSystemdWithMountFlags is the same with flags for mount(8), which a system call does not need.
func (m *Mounter) MountSensitiveWithoutSystemdWithMountFlags(source, target, fstype string, options, sensitive, flags []string) error {
	if m.own(fstype, options, sensitive) {
		return m.mount(source, target, fstype, options)
	}
	return m.Interface.MountSensitiveWithoutSystemdWithMountFlags(source, target, fstype, options, sensitive, flags)
}

// own tells what is done by system call. A bind mount that must also change flags needs a second, remounting call with
// flags read from the source: the library knows how.
func (m *Mounter) own(fstype string, options, sensitive []string) bool {
	if len(sensitive) > 0 {
		return false
	}
	switch fstype {
	case "tmpfs", "hugetlbfs":
		return true
	case "":
		return len(options) == 1 && (options[0] == "bind" || options[0] == "rbind")
	}
	return false
}

// NoSwap is the tmpfs option that keeps its pages out of swap (Linux 6.4, not in a user namespace). A kernel that
// refuses it is remembered and the mount done without.
const NoSwap = "noswap"

func (m *Mounter) mount(source, target, fstype string, options []string) error {
	if m.noSwapRefused.Load() {
		options = without(options, NoSwap)
	}
	err := sysMount(source, target, fstype, options)
	if errors.Is(err, unix.EINVAL) && fstype == "tmpfs" && len(without(options, NoSwap)) < len(options) {
		if err = sysMount(source, target, fstype, without(options, NoSwap)); err == nil {
			m.noSwapRefused.Store(true)
		}
	}
	if err != nil {
		return fmt.Errorf("mount %s on %s (options %v): %w%s", describe(source, fstype), target, options, err, hint(err))
	}
	return nil
}

func sysMount(source, target, fstype string, options []string) error {
	var bits uintptr
	var data []string
	for _, o := range options {
		if f, ok := flag(o); ok {
			bits |= f
		} else {
			data = append(data, o)
		}
	}
	return unix.Mount(source, target, fstype, bits, strings.Join(data, ","))
}

// Unmount unmounts the topmost mount at target, which must not be a link. A target that is no mount point is an error
// for which errors.Is(err, unix.EINVAL) holds.
func (m *Mounter) Unmount(target string) error {
	if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w%s", target, err, hint(err))
	}
	return nil
}

// IsMountPoint tells whether something is mounted on path, bind mounts included, without reading the mount table where
// the kernel can tell (openat2).
func (m *Mounter) IsMountPoint(path string) (bool, error) {
	if _, err := os.Lstat(path); err != nil {
		return false, err
	}
	return mountinfo.Mounted(path)
}

// IsLikelyNotMountPoint is the negation of IsMountPoint: exact answers are cheap here.
func (m *Mounter) IsLikelyNotMountPoint(path string) (bool, error) {
	mounted, err := m.IsMountPoint(path)
	if err != nil {
		return true, err
	}
	return !mounted, nil
}

func describe(source, fstype string) string {
	if fstype == "" {
		return source
	}
	return fstype
}

func hint(err error) string {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, fs.ErrPermission):
		return " (this machine does not let the agent mount: CAP_SYS_ADMIN is needed)"
	case errors.Is(err, unix.ENODEV):
		return " (the kernel does not have this file system)"
	}
	return ""
}

func without(options []string, drop string) []string {
	out := make([]string, 0, len(options))
	for _, o := range options {
		if o != drop {
			out = append(out, o)
		}
	}
	return out
}
