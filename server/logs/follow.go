package logs

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

// Liveness tells whether the container whose log is followed still runs.
type Liveness interface {
	// Ended asks the runtime. When it cannot be asked the container counts as running.
	Ended(ctx context.Context) bool
	// Doubt says without any call whether the agent already believes that the container no longer runs.
	Doubt() bool
}

// net is how often a follower that got no hint looks at Doubt, in memory. Only lost hints make it matter.
const net = 10 * time.Second

// blindNet replaces net where the kernel gives no hints (its watches are used up).
const blindNet = time.Second

// suspicion is when to ask the runtime again after a hint that the container may have ended: runtimes close the log a
// little before they report the exit.
func suspicion() []time.Duration {
	return []time.Duration{20 * time.Millisecond, 80 * time.Millisecond, 300 * time.Millisecond, time.Second}
}

// follow reads until the container has ended. Order matters: hints are on before the last read that found nothing, and
// the file is read once more after the runtime said that the container has ended.
func (rd *Reader) follow(ctx context.Context, t *tailing, live Liveness) error {
	var wake <-chan struct{}
	period := net
	h, err := rd.Hints.watch(t.path)
	if err != nil {
		t.log.Info("Following a container log without kernel hints", "path", t.path, "err", err)
		period = blindNet
		h = &hint{}
	} else {
		defer h.stop()
		wake = h.C
	}
	ended := live.Ended(ctx)
	asks := []time.Duration{time.Second} // the end may have come before the hints were on
	timer := time.NewTimer(period)
	defer timer.Stop()
	for {
		if err := t.drain(ctx); err != nil {
			return err
		}
		if moved, err := t.rotated(ctx); err != nil {
			return err
		} else if moved {
			asks = nil
			continue
		}
		if ended {
			return t.finish()
		}
		if err := t.w.flush(); err != nil {
			return err
		}
		if len(asks) > 0 {
			timer.Reset(asks[0])
		} else {
			timer.Reset(period)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
			if h.closed.Swap(false) {
				asks = suspicion()
				ended = live.Ended(ctx)
			}
		case <-timer.C:
			if len(asks) > 0 {
				asks = asks[1:]
				ended = live.Ended(ctx)
			} else {
				ended = live.Doubt() && live.Ended(ctx)
			}
		}
	}
}

// rotated goes on with the new file when the path names another one than the open one, and with the beginning when the
// file was cut. It says whether there is something new to read.
func (t *tailing) rotated(ctx context.Context) (bool, error) {
	mine, err := t.file.Stat()
	if err != nil {
		return false, fmt.Errorf("stat log file %q: %w", t.path, err)
	}
	now, err := os.Stat(t.path)
	if os.IsNotExist(err) {
		return false, nil // between rename and reopen the writer still has the old file
	}
	if err != nil {
		return false, fmt.Errorf("stat log file %q: %w", t.path, err)
	}
	if os.SameFile(mine, now) {
		if now.Size() >= t.read {
			return false, nil
		}
		if _, err := t.file.Seek(0, io.SeekStart); err != nil {
			return false, fmt.Errorf("seek in log file %q: %w", t.path, err)
		}
		t.restart(t.file)
		return true, nil
	}
	next, err := os.Open(t.path)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("failed to open log file %q: %w", t.path, err)
	}
	// The new file exists, so the old one is complete now: what came between the last read and the change is read first.
	if err := t.drain(ctx); err != nil {
		_ = next.Close()
		return false, err
	}
	if err := t.finish(); err != nil {
		_ = next.Close()
		return false, err
	}
	_ = t.file.Close()
	t.restart(next)
	return true, nil
}

func (t *tailing) restart(f *os.File) {
	t.file, t.read, t.part = f, 0, nil
	t.in.Reset(f)
}
