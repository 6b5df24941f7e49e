// Package imagegc is the /imagegc actor: it removes images that nobody uses, when the disk is too full or they are too
// old. Which ones is decided in imagegcplan.
package imagegc

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/imagegc/imagegcplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/reclaimmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Kind is the actor's kind in the inspection.
const Kind = "image-gc"

const (
	// Period is the kubelet's (ImageGCPeriod).
	Period = 5 * time.Minute
	// slack lets a tick count that comes a little early.
	slack = time.Second
	// roundTimeout bounds one round; the next one goes on.
	roundTimeout = 10 * time.Minute
)

// Pods lists the node's pods. It must not block.
type Pods interface{ List() []*v1.Pod }

// Records are told which images are left; what they know of others may go. It may block.
type Records interface {
	Prune(left map[string]struct{}, before time.Time)
}

// Deps are the parties that the actor talks to. Records, Event and Stat may be nil.
type Deps struct {
	Images  cri.Images
	Runtime cri.Runtime
	Runner  *runner.Runner
	Pods    Pods
	Records Records
	// Event records an event on the node object.
	Event func(eventType, reason, message string)
	// Stat measures the file system that holds a path; nil for the real one.
	Stat   func(path string) (imagegcplan.Disk, error)
	Logger klog.Logger
}

// Config of the actor.
type Config struct {
	Policy imagegcplan.Policy
	// Began is when the agent started.
	Began time.Time
	// CallTimeout bounds a removal; 0 for two minutes.
	CallTimeout time.Duration
}

// New returns the producer of the actor. It receives nodemsg.Tick and reclaimmsg.Now.
func New(deps Deps, cfg Config) func(*spawn.Cell) spawn.Receiver {
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = 2 * time.Minute
	}
	return func(*spawn.Cell) spawn.Receiver { return &actor{deps: deps, cfg: cfg} }
}

type actor struct {
	deps    Deps
	cfg     Config
	state   imagegcplan.State
	last    time.Time
	running bool
	// failures counts rounds in a row that failed: the first one may only mean that the runtime is not ready yet.
	failures int
	// asked are those who wait for a round that takes everything, next those whose round has not begun.
	asked, next []messages.Sink
}

// Receive implements spawn.Receiver.
func (a *actor) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case nodemsg.Tick:
		now := time.Now()
		if a.running || !a.last.IsZero() && now.Sub(a.last) < Period-slack {
			return
		}
		how := regular
		if a.last.IsZero() || a.cfg.Policy.Off() {
			how = observe // from now on their age is known
		}
		a.last = now
		a.round(c, how)
	case reclaimmsg.Now:
		a.next = append(a.next, m.Reply)
		a.reclaim(c)
	case result:
		a.done(c, m)
	}
}

// Stopping answers whoever waits.
func (a *actor) Stopping(*spawn.Cell) {
	for _, to := range append(a.asked, a.next...) {
		to.Tell(reclaimmsg.Done{Err: context.Canceled})
	}
}

func (a *actor) reclaim(c *spawn.Cell) {
	if a.running || len(a.next) == 0 {
		return
	}
	a.asked, a.next = a.next, nil
	a.round(c, everything)
}

// mode is what a round does: it only looks, removes what the policy says, or all that is unused.
type mode int

const (
	observe mode = iota
	regular
	everything
)

func (a *actor) round(c *spawn.Cell, how mode) {
	a.running = true
	c.Entry().SetState("tidying up")
	self, deps, cfg, state := c.Self(), a.deps, a.cfg, a.state
	deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.Stops, Op: "remove unused images", Owner: "node", Timeout: roundTimeout,
		Fn: func(ctx context.Context) error {
			r := deps.collect(ctx, cfg, state, how)
			self.Tell(r)
			return r.err
		},
		OnPanic: func(any) { self.Tell(result{state: state, err: errors.New("the call panicked; see the agent's log")}) },
	})
}

func (a *actor) done(c *spawn.Cell, r result) {
	a.running, a.state = false, r.state
	c.Entry().SetState("")
	for _, to := range a.asked {
		to.Tell(reclaimmsg.Done{Freed: r.freed, Err: r.err})
	}
	a.asked = nil
	a.report(r)
	a.reclaim(c)
}

// report tells of a round's end in the log and, where the kubelet does, in events on the node.
func (a *actor) report(r result) {
	if r.err == nil {
		if a.failures > 0 || r.removed > 0 {
			a.deps.Logger.Info("Image garbage collection succeeded", "removed", r.removed, "freed", r.freed)
		}
		a.failures = 0
		return
	}
	a.failures++
	event := a.deps.Event
	if event == nil {
		event = func(string, string, string) {}
	}
	var full errNoRoom
	switch {
	case errors.As(r.err, &full):
		event(v1.EventTypeWarning, "FreeDiskSpaceFailed", full.text)
	case errors.Is(r.err, errCapacity):
		event(v1.EventTypeWarning, "InvalidDiskCapacity", errCapacity.Error())
	}
	if a.failures == 1 {
		a.deps.Logger.Error(r.err, "Image garbage collection failed once. Stats initialization may not have completed yet")
		return
	}
	a.deps.Logger.Error(r.err, "Image garbage collection failed multiple times in a row", "failures", a.failures)
	event(v1.EventTypeWarning, "ImageGCFailed", r.err.Error())
}
