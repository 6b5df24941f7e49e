// Package logrotate is the /logs actor: it keeps the logs of containers below their size. On the node's tick it looks at
// the size of each log that is being written, one stat each; only what is too large costs more. What is done with the
// files of a log is decided in rotation.
package logrotate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Kind is the actor's kind in the inspection.
const Kind = "logs"

// Lane is the runner's lane of rotations; its width is containerLogMaxWorkers.
const Lane runner.Lane = "logs"

const (
	// scanTimeout bounds a look at all logs, rotateTimeout one rotation with its compressions.
	scanTimeout   = 30 * time.Second
	rotateTimeout = 5 * time.Minute
	// slack lets a tick count that comes a little early.
	slack = time.Second
)

// Pods lists the node's pods with their newest status. It must not block.
type Pods interface{ List() []*v1.Pod }

// Deps are the parties that the actor talks to. All are required.
type Deps struct {
	Runtime Reopener
	Runner  *runner.Runner
	Pods    Pods
	// LogDir is the directory of a pod's logs.
	LogDir func(pod *v1.Pod) string
	Logger klog.Logger
}

// Config of the actor.
type Config struct {
	// MaxSize is the size in bytes from which a log is rotated (containerLogMaxSize); negative: never.
	MaxSize int64
	// MaxFiles bounds the files of one log, the one that is written included (containerLogMaxFiles, at least 2).
	MaxFiles int
	// Workers is how many logs are rotated at once (containerLogMaxWorkers).
	Workers int
	// Interval is the pause between two looks (containerLogMonitorInterval), Tick that of the node's ticks. Looks fall on
	// ticks, unless those are too rare.
	Interval, Tick time.Duration
}

// New returns the producer of the actor. It receives nodemsg.Tick.
func New(deps Deps, cfg Config) func(*spawn.Cell) spawn.Receiver {
	return func(*spawn.Cell) spawn.Receiver {
		return &actor{deps: deps, cfg: cfg, busy: map[model.ContainerID]bool{}, odd: map[model.ContainerID]string{}}
	}
}

type actor struct {
	deps     Deps
	cfg      Config
	last     time.Time
	scanning bool
	queue    []large
	busy     map[model.ContainerID]bool // queued, or being rotated
	running  int
	// odd are logs that are not where the pod's status lets expect them.
	odd map[model.ContainerID]string
}

// large is a log to rotate.
type large struct {
	id   model.ContainerID
	path string
}

// Messages of the actor to itself.
type (
	tick    struct{}
	scanned struct {
		large []large
		odd   map[model.ContainerID]string
	}
	done struct{ id model.ContainerID }
)

// Started begins the actor's own ticks where the node's are too rare.
func (a *actor) Started(c *spawn.Cell) {
	if a.cfg.MaxSize >= 0 && a.cfg.Interval < a.cfg.Tick {
		c.After(a.cfg.Interval, tick{})
	}
}

// Receive implements spawn.Receiver.
func (a *actor) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case nodemsg.Tick:
		if a.cfg.Interval >= a.cfg.Tick {
			a.look(c)
		}
	case tick:
		c.After(a.cfg.Interval, tick{})
		a.look(c)
	case scanned:
		a.scanning, a.odd = false, m.odd
		for _, l := range m.large {
			if !a.busy[l.id] {
				a.busy[l.id] = true
				a.queue = append(a.queue, l)
			}
		}
		a.next(c)
	case done:
		a.running--
		delete(a.busy, m.id)
		a.next(c)
	}
}

// look begins a look at all logs, if one is due and none is under way.
func (a *actor) look(c *spawn.Cell) {
	now := time.Now()
	if a.cfg.MaxSize < 0 || a.scanning || !a.last.IsZero() && now.Sub(a.last) < a.cfg.Interval-slack {
		return
	}
	a.last, a.scanning = now, true
	self, deps, size, odd, busy := c.Self(), a.deps, a.cfg.MaxSize, a.odd, maps.Clone(a.busy)
	deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.Disk, Op: "log sizes", Owner: "node", Timeout: scanTimeout,
		Fn: func(ctx context.Context) error {
			self.Tell(deps.scan(ctx, size, odd, busy))
			return nil
		},
		OnPanic: func(any) { self.Tell(scanned{}) },
	})
}

// next rotates what waits, as many at once as there are workers.
func (a *actor) next(c *spawn.Cell) {
	for a.running < a.cfg.Workers && len(a.queue) > 0 {
		l := a.queue[0]
		a.queue = a.queue[1:]
		a.running++
		self, deps, files := c.Self(), a.deps, a.cfg.MaxFiles
		deps.Runner.Do(c.Context(), runner.Job{
			Lane: Lane, Op: "rotate log", Owner: l.path, Timeout: rotateTimeout,
			Fn: func(ctx context.Context) error {
				err := rotate(ctx, deps.Runtime, l.id, l.path, files)
				if err != nil && ctx.Err() == nil {
					deps.Logger.Error(err, "Failed to rotate log for container", "containerID", l.id, "path", l.path)
				}
				self.Tell(done{l.id})
				return err
			},
			OnPanic: func(any) { self.Tell(done{l.id}) },
		})
	}
	state := ""
	if a.running > 0 {
		state = fmt.Sprintf("%d rotations, %d wait", a.running, len(a.queue))
	}
	c.Entry().SetState(state)
}

// scan finds the logs that are too large. A log that is being rotated is left alone: for a moment it does not exist. It
// runs in the runner.
func (d *Deps) scan(ctx context.Context, maxSize int64, odd map[model.ContainerID]string, busy map[model.ContainerID]bool) scanned {
	out := scanned{odd: map[model.ContainerID]string{}}
	for _, pod := range d.Pods.List() {
		dir := ""
		for _, list := range [][]v1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses} {
			for i := range list {
				st := &list[i]
				if st.State.Running == nil {
					continue // nothing is added to the log of one that has ended
				}
				if dir == "" {
					dir = d.LogDir(pod)
				}
				id := trimScheme(st.ContainerID)
				if busy[id] {
					continue
				}
				path := filepath.Join(dir, st.Name, fmt.Sprintf("%d.log", st.RestartCount))
				if known := odd[id]; known != "" {
					path = known
					out.odd[id] = known
				}
				size, err := d.size(ctx, id, &path, out.odd)
				if err != nil {
					if ctx.Err() != nil {
						return out
					}
					d.Logger.V(2).Info("Cannot tell the size of a container's log", "pod", klog.KObj(pod), "container", st.Name, "path", path, "err", err)
				} else if size >= maxSize {
					out.large = append(out.large, large{id, path})
				}
			}
		}
	}
	return out
}

// size is that of a container's log. One that is not where it should be is asked for; one that is gone is made again.
func (d *Deps) size(ctx context.Context, id model.ContainerID, path *string, odd map[model.ContainerID]string) (int64, error) {
	info, err := os.Stat(*path)
	if err == nil {
		return info.Size(), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	c, err := d.Runtime.ContainerStatus(ctx, id)
	if err != nil {
		return 0, err
	}
	if c.State != model.ContainerRunning || c.LogPath == "" {
		return 0, nil
	}
	if c.LogPath != *path {
		*path, odd[id] = c.LogPath, c.LogPath
		if info, err := os.Stat(c.LogPath); err == nil {
			return info.Size(), nil
		}
	}
	if err := d.Runtime.ReopenContainerLog(ctx, id); err != nil {
		return 0, fmt.Errorf("reopen a log that is gone: %w", err)
	}
	return 0, nil
}

// trimScheme is the runtime's own id of what a status names.
func trimScheme(id string) model.ContainerID {
	for i := 0; i+3 <= len(id); i++ {
		if id[i:i+3] == "://" {
			return model.ContainerID(id[i+3:])
		}
	}
	return model.ContainerID(id)
}
