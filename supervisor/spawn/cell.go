package spawn

import (
	"context"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/supervisor/registry"
)

// Receiver is an actor's behaviour. Receive gets one message at a time and must not wait. It may also implement
// Starter and Stopper.
type Receiver interface {
	Receive(c *Cell, msg any)
}

// Starter is a Receiver that is told when its incarnation begins, before any message.
type Starter interface{ Started(c *Cell) }

// Stopper is a Receiver that is told when its incarnation ends, before its children are stopped; after a panic too, so its
// state may be half changed. Context has been cancelled. Whoever waits for an answer should get one here.
type Stopper interface{ Stopping(c *Cell) }

// Ended tells a parent that a child is gone for good: it stopped itself or was stopped. Panic is set when it was waiting to
// be built anew.
type Ended struct {
	Name  string
	Ref   Ref
	Panic *PanicInfo
}

// Restarted tells a parent that a child has been built anew after a panic. What was told to the child before may be lost;
// what is told from now on arrives. Lost names the child's own children, which ended with its old incarnation.
type Restarted struct {
	Name  string
	Ref   Ref
	Panic *PanicInfo
	Lost  []string
}

// Quarantined tells a parent that a child panicked too often; it is built anew at Until, then Restarted follows.
type Quarantined struct {
	Name  string
	Ref   Ref
	Panic *PanicInfo
	Until time.Time
}

// PanicInfo describes a panic in an actor.
type PanicInfo struct {
	Path, Kind  string
	Incarnation int
	// Where is the type of the message in hand, or Started.
	Where string
	// Value is the panic's value, shortened.
	Value string
	Stack []byte
	At    time.Time
}

// Cell is what an actor has of the world: one incarnation's address, context, timers and children. Its methods may only be
// called from Receive, Started and Stopping; Self, Entry and Context hand out values that other goroutines may use.
type Cell struct {
	sys         *System
	ref         Ref
	entry       *registry.Entry
	self        *bound
	producer    func(*Cell) Receiver
	receiver    Receiver
	incarnation int
	onGone      func()

	ac     actor.Context // of the call in progress
	ended  bool
	ctx    context.Context
	cancel context.CancelFunc
	timers map[*timer]struct{}
	byName map[string]*child
	byPID  map[string]*child
}

// Self is the address of this incarnation, for results and answers: a later incarnation never sees them.
func (c *Cell) Self() messages.Sink { return c.self }

// Ref is the lasting address of this actor.
func (c *Cell) Ref() Ref { return c.ref }

// Entry is the actor's place in the registry.
func (c *Cell) Entry() *registry.Entry { return c.entry }

// Path is the actor's path in the tree.
func (c *Cell) Path() string { return c.entry.Path() }

// Incarnation counts from 1; more says that the actor panicked before and has to observe what became of its work.
func (c *Cell) Incarnation() int { return c.incarnation }

// Context ends with this incarnation.
func (c *Cell) Context() context.Context {
	if c.ctx == nil {
		c.ctx, c.cancel = context.WithCancel(context.Background())
		if c.ended {
			c.cancel()
		}
	}
	return c.ctx
}

// After delivers msg to this incarnation after d, unless it is cancelled or the incarnation has ended by then. After cancel
// it is not delivered even if it was due already. cancel belongs to the actor like every method of Cell, and may be repeated.
func (c *Cell) After(d time.Duration, msg any) (cancel func()) {
	if c.ended {
		return func() {}
	}
	t := &timer{msg: msg}
	if c.timers == nil {
		c.timers = map[*timer]struct{}{}
	}
	c.timers[t] = struct{}{}
	self := c.self
	t.t = time.AfterFunc(d, func() { self.Tell(t) })
	return func() {
		t.t.Stop()
		delete(c.timers, t)
	}
}

// timer is also the message that says it is due; it counts only while the cell knows it.
type timer struct {
	t   *time.Timer
	msg any
}

// Child makes an actor below this one. A child of that name which is still there is stopped and replaced.
func (c *Cell) Child(name, kind string, producer func(*Cell) Receiver) Ref {
	name = strings.ReplaceAll(name, "/", "_")
	if c.ended {
		return Ref{}
	}
	if old := c.byName[name]; old != nil {
		c.StopChild(old.ref)
	}
	ch := &child{name: name, producer: producer}
	ch.entry = c.sys.reg.Add(c.entry, name, kind)
	ch.ref = Ref{&ref{name: name, entry: ch.entry}}
	if c.byName == nil {
		c.byName, c.byPID = map[string]*child{}, map[string]*child{}
	}
	c.byName[name] = ch
	c.spawn(ch)
	return ch.ref
}

// ChildNamed is the address of a child that was made and not stopped since.
func (c *Cell) ChildNamed(name string) (Ref, bool) {
	ch := c.byName[name]
	if ch == nil {
		return Ref{}, false
	}
	return ch.ref, true
}

// StopChild ends a child for good; Ended follows when it is gone. Messages that it has not taken yet are lost. A Ref that
// is not a living child's is ignored.
func (c *Cell) StopChild(r Ref) {
	ch := c.byName[r.Name()]
	if ch == nil || ch.ref != r {
		return
	}
	delete(c.byName, ch.name)
	ch.stopping = true
	ch.ref.r.cur.Store(nil)
	switch {
	case ch.self != nil:
		ch.self.dead.Store(true)
		c.ac.Stop(ch.self.pid)
	default: // waiting to be built anew
		if ch.timer != nil {
			ch.timer.Stop()
		}
		c.self.Tell(childGone{ch})
	}
}

// Stop ends this actor for good, after the message in hand. Messages that wait are lost.
func (c *Cell) Stop() {
	c.ac.Stop(c.self.pid)
}
