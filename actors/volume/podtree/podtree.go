// Package podtree takes a pod's directory off the node: it unmounts what is mounted below it and removes the files. It
// never deletes across a mount.
package podtree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Unmounter is what podtree needs of the mount port.
type Unmounter interface {
	Unmount(target string) error
}

// Tree removes pod directories. It holds no state and is safe for concurrent use on different pods.
type Tree struct {
	Mounts Unmounter
}

// ownContent says which volume plugins' directories hold files that belong to the pod and die with it. What is found in
// the directory of any other plugin after its unmount is somebody's data and is left alone.
func ownContent(plugin string) bool {
	switch plugin {
	case "kubernetes.io~empty-dir", "kubernetes.io~configmap", "kubernetes.io~secret", "kubernetes.io~projected",
		"kubernetes.io~downward-api", "kubernetes.io~git-repo":
		return true
	}
	return false
}

// Blocked is what keeps a directory on the node, with a sentence for a person.
type Blocked struct {
	Path string
	Err  error
}

// Error names the path and the reason.
func (b *Blocked) Error() string { return fmt.Sprintf("%s: %v", b.Path, b.Err) }

// Unwrap returns the cause.
func (b *Blocked) Unwrap() error { return b.Err }

// Remove unmounts everything below dir and removes dir. A directory that is not there is success. It stops between
// entries when ctx ends. The error is a *Blocked where one path is to blame.
//
// Safety: directories are opened with RESOLVE_NO_XDEV, so a mount that appears at any moment is an error and not a way
// into foreign files; the kernel refuses to remove a mount point. The mount table is read only when that happens and a
// plain unmount of the place does not help.
func (t Tree) Remove(ctx context.Context, dir string) error {
	parent, err := unix.Open(filepath.Dir(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &Blocked{filepath.Dir(dir), err}
	}
	defer unix.Close(parent)
	r := remover{ctx: ctx, tree: t, root: dir}
	return r.entry(parent, filepath.Base(dir), dir)
}

type remover struct {
	ctx  context.Context
	tree Tree
	root string
}

// entry removes name, of which path is the full name, from the open directory parent.
func (r *remover) entry(parent int, name, path string) error {
	for range maxStack {
		if err := r.ctx.Err(); err != nil {
			return &Blocked{path, err}
		}
		fd, err := openBeneath(parent, name)
		switch {
		case err == nil:
			return r.directory(parent, fd, name, path)
		case errors.Is(err, unix.ENOENT):
			return nil
		case errors.Is(err, unix.EXDEV):
			if err := r.unmount(path); err != nil {
				return err
			}
			continue
		case !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP):
			return &Blocked{path, err}
		}
		// A file, a link, a socket; or a file that is a mount point, which the kernel does not unlink.
		if !r.mayDelete(path) {
			return &Blocked{path, errors.New("the volume's directory still holds data after its unmount, which is not ours to delete")}
		}
		err = unix.Unlinkat(parent, name, 0)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return &Blocked{path, err}
		}
		if err := r.unmount(path); err != nil {
			return err
		}
	}
	return &Blocked{path, fmt.Errorf("more than %d mounts on top of each other", maxStack)}
}

// maxStack bounds how many mounts are taken off one place: more are being added as fast as we remove them.
const maxStack = 64

func (r *remover) directory(parent, fd int, name, path string) error {
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	for range maxStack {
		names, err := f.Readdirnames(-1)
		if err != nil {
			return &Blocked{path, err}
		}
		var first error
		for _, n := range names {
			if err := r.entry(fd, n, filepath.Join(path, n)); err != nil && first == nil {
				first = err
			}
		}
		if first != nil {
			return first
		}
		err = unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
		switch {
		case err == nil || errors.Is(err, unix.ENOENT):
			return nil
		case errors.Is(err, unix.ENOTEMPTY): // somebody still writes, or the file system skipped names while we removed
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return &Blocked{path, err}
			}
		case errors.Is(err, unix.EBUSY): // mounted on after we opened it
			if err := r.unmount(path); err != nil {
				return err
			}
		default:
			return &Blocked{path, err}
		}
	}
	return &Blocked{path, errors.New("files keep appearing, something still writes here")}
}

// mayDelete tells whether a file at path dies with the pod. Paths are <root>/volumes/<plugin>/<name>/… for volumes.
func (r *remover) mayDelete(path string) bool {
	rel, ok := strings.CutPrefix(path, r.root+"/volumes/")
	if !ok {
		return true
	}
	plugin, _, inside := strings.Cut(rel, "/")
	return !inside || ownContent(plugin) || isPluginState(plugin, path)
}

// isPluginState names the one file that the CSI plugin keeps beside its mount.
func isPluginState(plugin, path string) bool {
	return plugin == "kubernetes.io~csi" && filepath.Base(path) == "vol_data.json"
}

// unmount takes the topmost mount off path. When others are mounted below it they go first, deepest first, as the mount
// table shows them.
func (r *remover) unmount(path string) error {
	err := r.tree.Mounts.Unmount(path)
	if err == nil {
		return nil
	}
	below, tableErr := Below(path)
	if tableErr != nil {
		return &Blocked{path, errors.Join(err, tableErr)}
	}
	for _, p := range below {
		if err = r.tree.Mounts.Unmount(p); err != nil {
			return &Blocked{p, fmt.Errorf("still in use: %w", err)}
		}
	}
	if len(below) == 0 {
		return &Blocked{path, err}
	}
	return nil
}

// Below returns the mount points at and below path, deepest and newest first.
func Below(path string) ([]string, error) {
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(path))
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	out := make([]string, 0, len(infos))
	for _, i := range infos {
		out = append(out, i.Mountpoint)
	}
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	return out, nil
}

// openBeneath opens the directory name in parent without following a link or crossing a mount (EXDEV).
func openBeneath(parent int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	for {
		fd, err := unix.Openat2(parent, name, &unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOSYS):
			return openOld(parent, name, flags)
		}
		return fd, err
	}
}

// openOld serves kernels before 5.6: the mount table is asked for every directory.
func openOld(parent int, name string, flags int) (int, error) {
	fd, err := unix.Openat(parent, name, flags, 0)
	if err != nil {
		return -1, err
	}
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err == nil {
		var mounted bool
		if mounted, err = mountinfo.Mounted(real); err == nil && mounted {
			err = unix.EXDEV
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
