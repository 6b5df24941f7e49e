// Package spawn is the one place that makes actors. An actor is a Receiver in a Cell; actor shells need nothing else of the
// actor library.
//
// What a panic does: the incarnation in which it happened ends (its context is cancelled, its timers die, its children are
// stopped), and the parent builds the actor anew with the same producer, at once or, after three panics in a minute, by
// back-off. The Ref stays valid. Messages that the old incarnation had not taken, and those told to the Ref before the new
// one stands, are dropped and counted; the parent then gets Restarted, and everything it tells after that is delivered. So
// a parent answers Restarted by telling its newest wishes again, and the actor observes the rest: nothing else is needed,
// because every message of Troupe may be repeated.
//
// Self is an address of the incarnation, not of the actor: results of calls and timers of an old incarnation never reach
// the next one.
//
// A panic of a parent ends its children with it: Restarted.Lost names them, and the new incarnation makes them anew. Pods
// hang under an actor that is too simple to fail.
package spawn

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	cmap "github.com/orcaman/concurrent-map"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/supervisor/policy"
	"github.com/troupe-dev/troupe/supervisor/registry"
)

// Config of a System. The zero value is usable.
type Config struct {
	// Logger gets panics (error) and the library's own lines (V(4), without message contents).
	Logger klog.Logger
	// Registry is the tree to register in; nil makes one.
	Registry *registry.Registry
	// Policy decides when a panicked actor is built anew; the zero value is policy.Actors().
	Policy policy.Policy
	// OnPanic is told of every panic in an actor, in its goroutine. It must not block.
	OnPanic func(PanicInfo)
	// OnQuarantine is told when an actor panicked too often. It must not block.
	OnQuarantine func(Quarantined)
	// OnRootRestarted and OnRootEnded tell of the actors made by Root what a parent is told of its children. They run in
	// the goroutine of the topmost actor and must not block, nor call Root or Stop.
	OnRootRestarted func(Restarted)
	OnRootEnded     func(Ended)
	// Wrap replaces what a producer made, for tests that inject faults into actors; nil leaves it. The replacement has to
	// pass Started and Stopping on.
	Wrap func(c *Cell, r Receiver) Receiver
}

// System is all actors of one agent.
type System struct {
	cfg  Config
	as   *actor.ActorSystem
	reg  *registry.Registry
	base time.Time
	seq  atomic.Uint64

	turns turns

	top  *bound
	done chan struct{} // closed when every actor has stopped

	shutdown sync.Once
}

// The library keeps 1,024 maps of actors and splits each again, into 32 by default: 32,768 maps, 3 MB, for a lock that is
// taken when an actor is made or ends.
func init() { cmap.SHARD_COUNT = 1 }

// NewSystem starts an empty system.
func NewSystem(cfg Config) *System {
	if cfg.Registry == nil {
		cfg.Registry = registry.New()
	}
	if cfg.Policy == (policy.Policy{}) {
		cfg.Policy = policy.Actors()
	}
	s := &System{cfg: cfg, reg: cfg.Registry, base: time.Now(), done: make(chan struct{})}
	s.as = actor.NewActorSystem(actor.WithMetricProviders(nil), actor.WithLoggerFactory(redacting(cfg.Logger)))
	s.spawnTop()
	return s
}

// Registry is the tree of this system's actors.
func (s *System) Registry() *registry.Registry { return s.reg }

// Root makes an actor at the top of the tree and returns when it has an address. It must not be called from the hooks of
// Config. After Stop it returns a Ref that swallows everything.
func (s *System) Root(name, kind string, producer func(*Cell) Receiver) Ref {
	got := make(chan Ref, 1)
	s.top.Tell(request(func(c *Cell) { got <- c.Child(name, kind, producer) }))
	select {
	case r := <-got:
		return r
	case <-s.done:
		return Ref{}
	}
}

// StopRoot ends an actor made by Root, and all below it; OnRootEnded tells when it is gone.
func (s *System) StopRoot(r Ref) {
	s.top.Tell(request(func(c *Cell) { c.StopChild(r) }))
}

// Stop ends all actors, children after their parents' Stopping, and waits for them until ctx ends. It may be repeated.
func (s *System) Stop(ctx context.Context) error {
	s.as.Root.Stop(s.top.pid)
	select {
	case <-s.done:
		s.turns.end()
		s.shutdown.Do(s.as.Shutdown)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Sink makes an address of a PID of another actor of the library, made elsewhere. After its death messages are swallowed.
func Sink(root *actor.RootContext, pid *actor.PID) messages.Sink {
	return messages.SinkFunc(func(msg any) { root.Send(pid, msg) })
}

// now is the time since the system began; messages carry it.
func (s *System) now() time.Duration { return time.Since(s.base) }

// request is a message to the topmost actor.
type request func(*Cell)

// top is the parent of the root actors. It cannot fail: its panics are caught here and only logged.
type top struct{ sys *System }

func (t top) Receive(c *Cell, msg any) {
	defer func() {
		if v := recover(); v != nil {
			t.sys.cfg.Logger.Error(nil, "Hook of the actor system panicked", "value", describe(v))
		}
	}()
	switch m := msg.(type) {
	case request:
		m(c)
	case Restarted:
		if f := t.sys.cfg.OnRootRestarted; f != nil {
			f(m)
		}
	case Ended:
		if f := t.sys.cfg.OnRootEnded; f != nil {
			f(m)
		}
	}
}

func (s *System) spawnTop() {
	c := &Cell{sys: s, incarnation: 1, producer: func(*Cell) Receiver { return top{s} }, onGone: func() { close(s.done) }}
	c.self = &bound{sys: s, pid: s.as.NewLocalPID("troupe")}
	s.top = c.self
	props := c.props().Configure(actor.WithGuardian(actor.NewRestartingStrategy()))
	if _, err := s.as.Root.SpawnNamed(props, "troupe"); err != nil {
		panic(err) // a new system has no names in use
	}
}
