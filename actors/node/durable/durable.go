// Package durable replaces small files so that neither a crash of the agent nor one of the machine leaves half of one.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Replace makes content the whole of the file at path, with mode 0600: a reader finds the old content or the new one and
// nothing in between, and once it has returned nil, a crash of the machine does not lose it. The folder must be there.
// Two replacements of one file at the same time are allowed; one of them wins.
func Replace(path string, content []byte) (err error) {
	dir, name := filepath.Split(path)
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	f, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
