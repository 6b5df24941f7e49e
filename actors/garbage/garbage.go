// Package garbage is the /garbage actor: it removes dead containers and sandboxes beyond the node's limits, and logs that
// belong to nothing. It looks once a minute, and only if something may have changed since it looked last; what goes is
// decided in garbageplan.
package garbage

import (
	"context"
	"hash/fnv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/garbage/garbageplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/reclaimmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Kind is the actor's kind in the inspection.
const Kind = "garbage"

const (
	// Period is the kubelet's (ContainerGCPeriod).
	Period = time.Minute
	// slack lets a tick count that comes a little early.
	slack = time.Second
	// roundTimeout bounds one round however much there is to remove; the next one goes on.
	roundTimeout = 10 * time.Minute
)

// Pods lists the node's pods with their newest status. It must not block.
type Pods interface{ List() []*v1.Pod }

// Deps are the parties that the actor talks to. Event may be nil.
type Deps struct {
	Runtime cri.Runtime
	Runner  *runner.Runner
	Pods    Pods
	// Ready says that every source has delivered: what no pod names is nobody's. It must not block.
	Ready func() bool
	// Event records an event on the node object.
	Event  func(eventType, reason, message string)
	Logger klog.Logger
}

// Config of the actor.
type Config struct {
	Policy garbageplan.Policy
	// LogsRoot is where pod logs are, LinksDir where the flat links to them are ("" for none).
	LogsRoot, LinksDir string
	// CallTimeout bounds a CRI call; 0 for two minutes.
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
	deps Deps
	cfg  Config
	// last is when it was looked last, seen what there was then, again when to look although nothing changed.
	last    time.Time
	seen    uint64
	again   time.Time
	running bool
	failing bool
	// asked are those who wait for a round that takes everything, next those whose round has not begun.
	asked, next []messages.Sink
}

// done is the end of a round.
type done struct {
	again time.Time
	err   error
}

// Receive implements spawn.Receiver.
func (a *actor) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case nodemsg.Tick:
		a.tick(c, time.Now())
	case reclaimmsg.Now:
		a.next = append(a.next, m.Reply)
		a.reclaim(c)
	case done:
		a.done(c, m)
	}
}

// Stopping answers whoever waits.
func (a *actor) Stopping(*spawn.Cell) {
	for _, to := range append(a.asked, a.next...) {
		to.Tell(reclaimmsg.Done{Err: context.Canceled})
	}
}

func (a *actor) tick(c *spawn.Cell, now time.Time) {
	if a.last.IsZero() {
		a.last = now // the first round is a period after the start: what was found has to settle
	}
	if a.running || now.Sub(a.last) < Period-slack || !a.deps.Ready() {
		return
	}
	a.last = now
	seen := fingerprint(a.deps.Pods.List())
	if seen == a.seen && (a.again.IsZero() || now.Before(a.again)) {
		return
	}
	a.seen = seen
	a.round(c, false)
}

func (a *actor) reclaim(c *spawn.Cell) {
	if a.running || len(a.next) == 0 {
		return
	}
	if !a.deps.Ready() {
		for _, to := range a.next {
			to.Tell(reclaimmsg.Done{})
		}
		a.next = nil
		return
	}
	a.asked, a.next = a.next, nil
	a.round(c, true)
}

func (a *actor) round(c *spawn.Cell, all bool) {
	a.running = true
	c.Entry().SetState("tidying up")
	self, deps, cfg := c.Self(), a.deps, a.cfg
	deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.Stops, Op: "remove dead containers", Owner: "node", Timeout: roundTimeout,
		Fn: func(ctx context.Context) error {
			again, err := deps.collect(ctx, cfg, all)
			self.Tell(done{again, err})
			return err
		},
		OnPanic: func(any) { self.Tell(done{err: context.Canceled}) },
	})
}

func (a *actor) done(c *spawn.Cell, m done) {
	a.running, a.again = false, m.again
	c.Entry().SetState("")
	for _, to := range a.asked {
		to.Tell(reclaimmsg.Done{Err: m.err})
	}
	a.asked = nil
	if m.err != nil {
		a.again = time.Now() // with the next period
		a.deps.Logger.Error(m.err, "Container garbage collection failed")
		if !a.failing && a.deps.Event != nil {
			a.deps.Event(v1.EventTypeWarning, "ContainerGCFailed", m.err.Error())
		}
	} else if a.failing {
		a.deps.Logger.Info("Container garbage collection succeeded")
	}
	a.failing = m.err != nil
	a.reclaim(c)
}

// fingerprint changes when an instance has come or gone, or a pod has. It costs next to nothing, so that a node on which
// nothing happens does not ask its runtime for lists.
func fingerprint(pods []*v1.Pod) uint64 {
	var sum uint64
	for _, pod := range pods {
		h := fnv.New64a()
		h.Write([]byte(pod.UID))
		h.Write([]byte(pod.Status.Phase))
		for _, list := range statuses(pod) {
			for i := range list {
				h.Write([]byte(list[i].ContainerID))
				if list[i].State.Terminated != nil {
					h.Write([]byte{1})
				}
			}
		}
		sum += h.Sum64() // the order of the list means nothing
	}
	return sum + uint64(len(pods)) + 1
}
