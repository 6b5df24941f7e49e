package images

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// libraryDirs are where Debian and Ubuntu keep shared libraries, in the loader's order.
var libraryDirs = []string{"/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib", "/lib"}

// program adds a dynamic program of an unpacked Debian root, with its loader and all libraries it names. Libraries go
// to /lib, where the loader finds them without a cache, but for those that a program searches in a folder of its own.
func (f files) program(root, from, to string) error {
	src, err := resolve(root, from)
	if err != nil {
		return err
	}
	if err := f.copy(to, src, 0o755); err != nil {
		return err
	}
	return f.needs(root, src, nil)
}

func (f files) needs(root, file string, runpath []string) error {
	e, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	defer e.Close()
	for _, p := range e.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return fmt.Errorf("read the loader of %s: %w", file, err)
		}
		loader := strings.TrimRight(string(b), "\x00")
		src, err := resolve(root, loader)
		if err != nil {
			return err
		}
		if err := f.copy(loader, src, 0o755); err != nil {
			return err
		}
	}
	if own, err := e.DynString(elf.DT_RUNPATH); err == nil && len(own) > 0 {
		runpath = append(runpath, strings.Split(own[0], ":")...)
	}
	libs, err := e.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("libraries of %s: %w", file, err)
	}
	for _, l := range libs {
		if err := f.library(root, l, runpath); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func (f files) library(root, name string, runpath []string) error {
	for _, d := range append(runpath[:len(runpath):len(runpath)], libraryDirs...) {
		src, err := resolve(root, path.Join(d, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		to := "/lib/" + name
		for _, r := range runpath {
			if r == d {
				to = path.Join(d, name)
			}
		}
		if _, ok := f[to]; ok {
			return nil
		}
		if err := f.copy(to, src, 0o755); err != nil {
			return err
		}
		return f.needs(root, src, runpath)
	}
	return fmt.Errorf("library %s: %w", name, fs.ErrNotExist)
}

// resolve finds a path inside root, following links as if root were /.
func resolve(root, p string) (string, error) {
	for range 40 {
		done := "/"
		parts := strings.Split(strings.Trim(path.Clean(p), "/"), "/")
		again := false
		for i, part := range parts {
			next := path.Join(done, part)
			to, err := os.Readlink(filepath.Join(root, next))
			if err != nil {
				done = next
				continue
			}
			if !path.IsAbs(to) {
				to = path.Join(done, to)
			}
			p, again = path.Join(append([]string{to}, parts[i+1:]...)...), true
			break
		}
		if !again {
			if _, err := os.Stat(filepath.Join(root, done)); err == nil {
				return filepath.Join(root, done), nil
			}
			// The unpacked packages know no merged /usr: /lib is /usr/lib, /bin is /usr/bin.
			if !strings.HasPrefix(done, "/usr/") {
				p = "/usr" + done
				continue
			}
			return "", fmt.Errorf("%s in Debian's packages: %w", p, fs.ErrNotExist)
		}
	}
	return "", fmt.Errorf("%s: too many links", p)
}
