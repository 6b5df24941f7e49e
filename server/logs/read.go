package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/klog/v2"
)

// Reader reads log files. It is safe for concurrent use.
type Reader struct {
	Hints *Hints
}

// Ready is called once, when the file is open and before anything is written: an answer can begin.
type Ready func()

// Read writes the log file at path to the sink. With Follow it goes on until live says that the container has ended and
// everything it wrote was read, or the context ends, which is no error.
func (rd *Reader) Read(ctx context.Context, path string, o Options, live Liveness, sink Sink, ready Ready) error {
	// A runtime may give a link; its target's folder is where things happen.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("failed to try resolving symlinks in path %q: %w", path, err)
	}
	t, err := open(real, o)
	if err != nil {
		return err
	}
	defer func() { _ = t.file.Close() }()
	t.log = klog.FromContext(ctx)
	t.w = newWriter(sink, o)
	if ready != nil {
		ready()
	}
	if o.Follow {
		err = rd.follow(ctx, t, live)
	} else if err = t.drain(ctx); err == nil {
		err = t.finish()
	}
	if flushErr := t.w.flush(); err == nil {
		err = flushErr
	}
	if errors.Is(err, errLimit) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// tailing is an open log file and how far it was read.
type tailing struct {
	log  klog.Logger
	path string
	file *os.File
	in   *bufio.Reader
	// read is the offset behind everything read from the file.
	read int64
	// stop is the offset at which reading ends when the log is not followed; -1 for none.
	stop int64
	// part is the beginning of a physical line whose end has not been written yet.
	part []byte
	w    *writer
}

// open opens the log at the place where the options want it to begin.
func open(path string, o Options) (*tailing, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("failed to open log file %q: %w", path, err)
	}
	t := &tailing{path: path, file: f, stop: -1}
	st, err := f.Stat()
	if err == nil && o.TailLines != nil {
		t.read, err = tailStart(f, st.Size(), *o.TailLines)
	}
	if err == nil && !o.Follow {
		// What is written from now on does not belong to the answer; a busy container must not make it endless.
		t.stop = st.Size()
	}
	if err == nil {
		_, err = f.Seek(t.read, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("failed to tail log file %q: %w", path, err)
	}
	t.in = bufio.NewReaderSize(t.source(), 64<<10)
	return t, nil
}

// source is the file, ending at stop.
func (t *tailing) source() io.Reader {
	if t.stop >= 0 {
		return io.LimitReader(t.file, t.stop-t.read)
	}
	return t.file
}

// drain writes all whole lines that the file has. An unfinished line waits in part.
func (t *tailing) drain(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunk, err := t.in.ReadSlice('\n')
		t.read += int64(len(chunk))
		switch {
		case err == nil && len(t.part) == 0:
			if err := t.emit(chunk); err != nil {
				return err
			}
		case err == nil:
			t.part = append(t.part, chunk...)
			if err := t.finish(); err != nil {
				return err
			}
		case errors.Is(err, bufio.ErrBufferFull):
			t.part = append(t.part, chunk...)
		case errors.Is(err, io.EOF):
			t.part = append(t.part, chunk...)
			return nil
		default:
			return fmt.Errorf("failed to read log file %q: %w", t.path, err)
		}
	}
}

// finish writes what was kept of an unfinished line.
func (t *tailing) finish() error {
	if len(t.part) == 0 {
		return nil
	}
	err := t.emit(t.part)
	t.part = t.part[:0]
	return err
}

// emit parses and writes one physical line. A line that cannot be parsed is skipped: the rest of the log is still
// worth reading. Its text stays out of the agent's own log, where others would read it.
func (t *tailing) emit(raw []byte) error {
	l, err := parse(raw)
	if err != nil {
		t.log.V(2).Info("Skipped a line of a container log that cannot be parsed", "path", t.path, "bytes", len(raw), "err", err)
		return nil
	}
	return t.w.write(l)
}
