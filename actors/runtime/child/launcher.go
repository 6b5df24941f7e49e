package child

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrStopped is the answer of a launcher that was stopped.
var ErrStopped = errors.New("the process was stopped for good")

// Launcher starts one process again and again on request, never two at once, until it is stopped for good. Its owner
// decides when (runtimeplan); whoever made it can stop it even when that owner is gone. Safe for concurrent use.
type Launcher struct {
	Spec Spec
	// Grace is how long Stop waits after SIGTERM before it kills.
	Grace time.Duration
	// Before, if set, prepares each start (a stale socket is removed, a configuration is written).
	Before func() error

	mu      sync.Mutex
	current *Process
	stopped bool
}

// Start starts the process and returns its id. exited is called once when it has ended.
func (l *Launcher) Start(exited func(Exit)) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return 0, ErrStopped
	}
	if p := l.current; p != nil {
		select {
		case <-p.Done():
		default:
			return 0, errors.New("start " + l.Spec.Name + ": it is running already")
		}
	}
	if l.Before != nil {
		if err := l.Before(); err != nil {
			return 0, err
		}
	}
	p, err := Start(l.Spec, exited)
	if err != nil {
		return 0, err
	}
	l.current = p
	return p.PID(), nil
}

// Stop ends the process, if one runs, and refuses further starts. It returns when the process has ended.
func (l *Launcher) Stop(ctx context.Context) error {
	l.mu.Lock()
	l.stopped = true
	p := l.current
	l.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.Stop(ctx, l.Grace)
}

// PID is the process that runs now, 0 for none.
func (l *Launcher) PID() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return 0
	}
	select {
	case <-l.current.Done():
		return 0
	default:
		return l.current.PID()
	}
}
