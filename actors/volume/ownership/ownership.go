// Package ownership gives the files of a volume to the pod's fsGroup. The rules are those of the Kubernetes API
// (fsGroup, fsGroupChangePolicy) with the bits that the kubelet sets.
package ownership

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
)

const (
	writeBits  = fs.FileMode(0o660)
	readBits   = fs.FileMode(0o440)
	searchBits = fs.FileMode(0o110)
)

// Apply gives dir and everything below it to group and adds the bits that let the group use it: read and write (read
// alone when readOnly), search and setgid for directories. Links keep their mode. Children come before their directory,
// so that the root only looks right (OnRootMismatch) when all below it is. The whole tree is walked even when a file
// refuses; the first refusal is returned.
func Apply(dir string, group int64, readOnly bool, policy *v1.PodFSGroupChangePolicy) error {
	if policy != nil && *policy == v1.FSGroupChangeOnRootMismatch && matches(dir, group, readOnly) {
		return nil
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	var first error
	walk(dir, info, int(group), readOnly, &first)
	return first
}

func walk(path string, info fs.FileInfo, group int, readOnly bool, first *error) {
	note := func(err error) {
		// What vanishes while we walk needs no group.
		if err != nil && *first == nil && !errors.Is(err, fs.ErrNotExist) {
			*first = err
		}
	}
	if info.IsDir() {
		names, err := readNames(path)
		note(err)
		for _, n := range names {
			child := filepath.Join(path, n)
			ci, err := os.Lstat(child)
			if err != nil {
				note(err)
				continue
			}
			walk(child, ci, group, readOnly, first)
		}
	}
	note(os.Lchown(path, -1, group))
	// chmod follows links: it would change the file that the link points to.
	if info.Mode()&fs.ModeSymlink != 0 {
		return
	}
	bits := needed(readOnly)
	if info.IsDir() {
		bits |= searchBits | fs.ModeSetgid
	}
	note(os.Chmod(path, info.Mode()|bits))
}

// matches tells whether the root already looks as Apply would leave it.
func matches(dir string, group int64, readOnly bool) bool {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int64(st.Gid) != group {
		return false
	}
	bits := needed(readOnly) | searchBits
	return info.Mode().Perm()&bits == bits && info.Mode()&fs.ModeSetgid != 0
}

func needed(readOnly bool) fs.FileMode {
	if readOnly {
		return readBits
	}
	return writeBits
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
