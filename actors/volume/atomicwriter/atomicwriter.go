// Package atomicwriter writes the files of a volume so that a reader sees all of the old content or all of the new. The
// layout on disk is the one that the kubelet uses, so that either agent can take over a volume that the other wrote:
//
//	<dir>/..2006_01_02_15_04_05.123456/user/labels   the content, one directory per version
//	<dir>/..data -> ..2006_01_02_15_04_05.123456      swapped by rename
//	<dir>/user   -> ..data/user                       what the container opens
//
// One goroutine at a time may write one directory. A crash at any point leaves the old or the new version in place; the
// next write removes what was left over.
package atomicwriter

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/troupe-dev/troupe/actors/volume/payload"
)

const (
	dataLink = "..data"
	tempLink = "..data_tmp"
	// The limits of Linux for a path and for one name in it.
	maxPath = 4096
	maxName = 255
)

// Write makes files the content of dir, which must exist. It reports whether anything was written: equal content is left
// alone, modes and owners included. Finish, if not nil, runs when the new version is complete and not yet visible, to set
// the group and modes of everything below dir.
func Write(dir string, files payload.Files, finish func() error) (changed bool, err error) {
	clean, err := check(files)
	if err != nil {
		return false, err
	}
	current, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read the version of %s: %w", dir, err)
	}
	var gone []string
	if current != "" {
		same := false
		gone, same, err = compare(filepath.Join(dir, current), clean)
		if err != nil {
			return false, fmt.Errorf("compare %s: %w", dir, err)
		}
		if same {
			return false, link(dir, clean)
		}
	}
	if err := replace(dir, clean, finish); err != nil {
		return false, fmt.Errorf("write %s: %w", dir, err)
	}
	if err := link(dir, clean); err != nil {
		return true, fmt.Errorf("link the files of %s: %w", dir, err)
	}
	for _, name := range gone {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true, fmt.Errorf("remove an old file of %s: %w", dir, err)
		}
	}
	return true, sweep(dir)
}

// check refuses paths that would leave the volume or collide with the writer's own names.
func check(files payload.Files) (payload.Files, error) {
	out := make(payload.Files, len(files))
	for path, f := range files {
		switch {
		case path == "":
			return nil, fmt.Errorf("invalid path: must not be empty: %q", path)
		case filepath.IsAbs(path):
			return nil, fmt.Errorf("invalid path: must be relative path: %s", path)
		case len(path) > maxPath:
			return nil, fmt.Errorf("invalid path: must be less than or equal to %d characters", maxPath)
		}
		names := strings.Split(path, "/")
		for _, n := range names {
			if n == ".." {
				return nil, fmt.Errorf("invalid path: must not contain '..': %s", path)
			}
			if len(n) > maxName {
				return nil, fmt.Errorf("invalid path: filenames must be less than or equal to %d characters", maxName)
			}
		}
		if strings.HasPrefix(filepath.Clean(path), "..") {
			return nil, fmt.Errorf("invalid path: must not start with '..': %s", path)
		}
		out[filepath.Clean(path)] = f
	}
	return out, nil
}

// compare tells whether the version at root holds exactly files, and which names at its top level files no longer have.
func compare(root string, files payload.Files) (gone []string, same bool, err error) {
	keep := map[string]bool{}
	for path := range files {
		for p := path; p != "."; p = filepath.Dir(p) {
			keep[p] = true
		}
	}
	same = true
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				same = false
				return nil
			}
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if rel == "." || keep[rel] {
			return nil
		}
		same = false
		if !strings.Contains(rel, "/") {
			gone = append(gone, rel)
		}
		return nil
	})
	if err != nil || !same {
		return gone, false, err
	}
	for path, f := range files {
		onDisk, err := os.ReadFile(filepath.Join(root, path))
		if errors.Is(err, fs.ErrNotExist) {
			return gone, false, nil
		}
		if err != nil {
			return gone, false, err
		}
		if !bytes.Equal(onDisk, f.Data) {
			return gone, false, nil
		}
	}
	return gone, true, nil
}

// replace writes a new version and swaps the link to it.
func replace(dir string, files payload.Files, finish func() error) (err error) {
	version, err := os.MkdirTemp(dir, time.Now().UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(version)
		}
	}()
	// MkdirTemp makes it 0700, and the umask may take away more elsewhere: group and others must be able to read.
	if err := os.Chmod(version, 0o755); err != nil {
		return err
	}
	if err := fill(version, files); err != nil {
		return err
	}
	if finish != nil {
		if err := finish(); err != nil {
			return err
		}
	}
	temp := filepath.Join(dir, tempLink)
	// A crash between symlink and rename leaves the temporary link behind.
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Base(version), temp); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir, dataLink)); err != nil {
		_ = os.Remove(temp)
		return err
	}
	return nil
}

func fill(version string, files payload.Files) error {
	for path, f := range files {
		full := filepath.Join(version, path)
		if strings.Contains(path, "/") {
			if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
				return err
			}
		}
		if err := writeFile(full, f); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, f payload.File) error {
	mode := fs.FileMode(f.Mode)
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = w.Write(f.Data)
	if err == nil {
		err = w.Chmod(mode) // whatever the umask
	}
	if err == nil && f.Owner != nil {
		err = w.Chown(int(*f.Owner), -1)
	}
	return errors.Join(err, w.Close())
}

// link makes the links that containers open. A name that exists is left alone: it may be the mount point of another
// volume that is nested in this one.
func link(dir string, files payload.Files) error {
	done := map[string]bool{}
	for path, f := range files {
		name, _, _ := strings.Cut(path, "/")
		if done[name] {
			continue
		}
		done[name] = true
		full := filepath.Join(dir, name)
		if err := os.Symlink(filepath.Join(dataLink, name), full); err != nil {
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			return err
		}
		if f.Owner != nil {
			if err := os.Lchown(full, int(*f.Owner), -1); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweep removes every version but the current one: the one before it, and what a crash left over.
func sweep(dir string) error {
	current, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "..") && e.Name() != current {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
