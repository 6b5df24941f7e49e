// Package subpath makes one path inside a volume mountable into a container without trusting the volume's content: what a
// container may have written there (links, renames while we look) cannot lead out of the volume.
//
// The path is resolved by the kernel (openat2, RESOLVE_BENEATH), and what was found is bind-mounted by its descriptor to
// pods/<uid>/volume-subpaths/<volume>/<container>/<index>, as the kubelet does. The mounts go with the pod's directory.
package subpath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"

	"github.com/troupe-dev/troupe/actors/volume/podtree"
	"github.com/troupe-dev/troupe/actors/volume/volumeplan"
	"github.com/troupe-dev/troupe/messages/model"
)

// Folder is the directory of bind mounts in a pod's directory.
const Folder = "volume-subpaths"

// Request is one volumeMount with a subPath (subPathExpr already expanded).
type Request struct {
	// Root is the agent's root directory.
	Root      string
	UID       model.UID
	Container string
	// Index of the volumeMount in the container.
	Index int
	// Volume is the volume's name, VolumeRoot where it stands on the node (model.VolumeMount.HostPath).
	Volume     string
	VolumeRoot string
	SubPath    string
}

// Error hides from the pod's owner what lies on the node; the cause is for the log.
type Error struct {
	Text  string
	Cause error
}

// Error is the text for the pod's status and events.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Prepare returns the path on the node to mount into the container. A sub-path that does not exist becomes a directory
// with the volume root's mode. It may be repeated: the same file stays mounted, another one replaces it. It blocks on the
// disk: call it in an effect.
func Prepare(m mount.Interface, r Request) (hostPath string, err error) {
	if filepath.IsAbs(r.SubPath) {
		return "", fmt.Errorf("error SubPath `%s` must not be an absolute path", r.SubPath)
	}
	if slices.Contains(strings.Split(r.SubPath, "/"), "..") {
		return "", fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", r.SubPath)
	}
	root, err := open(unix.AT_FDCWD, r.VolumeRoot, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", r.hide("prepare subPath", err)
	}
	defer unix.Close(root)
	fd, err := beneath(root, r.SubPath)
	if errors.Is(err, unix.ENOENT) {
		if err = makeDirs(root, r.SubPath); err != nil {
			return "", r.hide("create subPath directory", err)
		}
		fd, err = beneath(root, r.SubPath)
	}
	if err != nil {
		return "", r.hide("prepare subPath", err)
	}
	defer unix.Close(fd)
	target, err := bind(m, fd, r)
	if err != nil {
		return "", r.hide("prepare subPath", err)
	}
	return target, nil
}

// CleanContainer unmounts and removes all sub-paths of one container.
func CleanContainer(ctx context.Context, m mount.Interface, root string, uid model.UID, container string) error {
	base := filepath.Join(volumeplan.PodDir(root, uid), Folder)
	volumes, err := os.ReadDir(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	tree := podtree.Tree{Mounts: m}
	var errs []error
	for _, v := range volumes {
		errs = append(errs, tree.Remove(ctx, filepath.Join(base, v.Name(), container)))
	}
	return errors.Join(errs...)
}

func (r Request) hide(what string, cause error) error {
	return &Error{fmt.Sprintf("failed to %s for volumeMount %q of container %q", what, r.Volume, r.Container), cause}
}

func (r Request) target() string {
	return filepath.Join(volumeplan.PodDir(r.Root, r.UID), Folder, r.Volume, r.Container, strconv.Itoa(r.Index))
}

// bind mounts what fd stands for on the target.
func bind(m mount.Interface, fd int, r Request) (string, error) {
	target := r.target()
	var want unix.Stat_t
	if err := unix.Fstat(fd, &want); err != nil {
		return "", fmt.Errorf("stat the subPath: %w", err)
	}
	done, err := clear(m, target, &want)
	if err != nil || done {
		return target, err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return "", err
	}
	if want.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = os.Mkdir(target, 0o750)
	} else { // any file will do to mount a file, device or socket on
		err = os.WriteFile(target, nil, 0o640)
	}
	if err != nil {
		return "", err
	}
	source := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
	if err := m.MountSensitiveWithoutSystemdWithMountFlags(source, target, "", []string{"bind"}, nil, []string{"--no-canonicalize"}); err != nil {
		_ = os.Remove(target)
		return "", err
	}
	return target, nil
}

// clear takes away what an earlier container left at target, unless it is what we want (done).
func clear(m mount.Interface, target string, want *unix.Stat_t) (done bool, err error) {
	for range 16 {
		mounted, err := m.IsMountPoint(target)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !mounted {
			// Not a mount: an empty directory or file of ours. Remove refuses a directory with content.
			return false, os.Remove(target)
		}
		var have unix.Stat_t
		if err := unix.Lstat(target, &have); err == nil && have.Dev == want.Dev && have.Ino == want.Ino {
			return true, nil
		}
		if err := m.Unmount(target); err != nil {
			return false, err
		}
	}
	return false, fmt.Errorf("too many mounts at %s", target)
}

// beneath opens path below root; no link leads out of root, not even by a rename while we look.
func beneath(root int, path string) (int, error) {
	return open(root, path, unix.O_PATH, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
}

func open(dir int, path string, flags uint64, resolve uint64) (int, error) {
	for {
		fd, err := unix.Openat2(dir, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve})
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("open %q: %w", path, err)
		}
		return fd, nil
	}
}

// makeDirs makes the missing directories of path below root with the root's mode. Of the part that exists links are
// followed inside the volume; of what is made here they are not.
func makeDirs(root int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(root, &st); err != nil {
		return err
	}
	mode := st.Mode & 0o7777
	parts := strings.Split(filepath.Clean(path), "/")
	fd, have := -1, len(parts)-1
	for ; have >= 0; have-- {
		prefix := filepath.Join(append([]string{"."}, parts[:have]...)...)
		var err error
		if fd, err = beneath(root, prefix); err == nil {
			break
		}
		if !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	if fd < 0 {
		return unix.ENOENT
	}
	for _, name := range parts[have:] {
		next, err := makeDir(fd, name, mode)
		unix.Close(fd)
		if err != nil {
			return err
		}
		fd = next
	}
	return unix.Close(fd)
}

func makeDir(parent int, name string, mode uint32) (int, error) {
	made := unix.Mkdirat(parent, name, mode)
	if made != nil && !errors.Is(made, unix.EEXIST) {
		return -1, fmt.Errorf("mkdir %q: %w", name, made)
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the new %q: %w", name, err)
	}
	if made != nil {
		return fd, nil // somebody was faster: it is theirs
	}
	// The umask took bits away, and mkdir ignores setgid.
	if err := unix.Fchmod(fd, mode); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("chmod the new %q: %w", name, err)
	}
	return fd, nil
}
