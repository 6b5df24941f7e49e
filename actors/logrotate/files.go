package logrotate

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/troupe-dev/troupe/actors/logrotate/rotation"
	"github.com/troupe-dev/troupe/messages/model"
)

// The functions of this file run in the runner's goroutines: they touch no actor's state.

// Reopener is the part of the runtime that log rotation needs.
type Reopener interface {
	ContainerStatus(ctx context.Context, id model.ContainerID) (model.Container, error)
	ReopenContainerLog(ctx context.Context, id model.ContainerID) error
}

// rotate brings the files of a log into order and starts a new one.
func rotate(ctx context.Context, runtime Reopener, id model.ContainerID, log string, maxFiles int) error {
	files, err := rotated(log)
	if err != nil {
		return err
	}
	steps := rotation.Plan(files, maxFiles)
	for _, f := range steps.Remove {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove old log: %w", err)
		}
	}
	for _, f := range steps.Compress {
		if err := compress(ctx, f); err != nil {
			return fmt.Errorf("compress log %s: %w", f, err)
		}
	}
	next := rotation.Rotated(log, time.Now())
	if err := os.Rename(log, next); err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	if err := runtime.ReopenContainerLog(ctx, id); err != nil {
		// The container goes on writing into the renamed file: under its old name it is tried again.
		if e := os.Rename(next, log); e != nil {
			err = errors.Join(err, e)
		}
		return fmt.Errorf("reopen log of container %s: %w", id, err)
	}
	return nil
}

// rotated lists the earlier files of a log. The directory is read by hand, because names of pods may look like patterns.
func rotated(log string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(log))
	if err != nil {
		return nil, fmt.Errorf("list rotated logs: %w", err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(log)+".") {
			out = append(out, filepath.Join(filepath.Dir(log), e.Name()))
		}
	}
	return out, nil
}

// compress replaces a log by its compressed version, in the kubelet's steps: a reader finds one or the other.
func compress(ctx context.Context, log string) error {
	in, err := os.Open(log)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	tmp := rotation.Temporary(log)
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode())
	if err != nil {
		return err
	}
	defer func() {
		out.Close()
		_ = os.Remove(tmp) // gone when all went well
	}()
	w := gzip.NewWriter(out)
	if _, err := io.Copy(w, reader{ctx, in}); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp, rotation.Compressed(log)); err != nil {
		return err
	}
	return os.Remove(log)
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
