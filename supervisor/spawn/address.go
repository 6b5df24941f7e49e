package spawn

import (
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/supervisor/registry"
)

// Ref is the lasting address of an actor: it reaches whichever incarnation is alive. The zero Ref swallows every message.
// Refs are comparable and safe for concurrent use.
type Ref struct{ r *ref }

var _ messages.Sink = Ref{}

type ref struct {
	name  string
	entry *registry.Entry
	cur   atomic.Pointer[bound] // nil between incarnations and after the end
}

// Tell sends msg to the present incarnation; without one the message is dropped and counted.
func (r Ref) Tell(msg any) {
	if r.r == nil {
		return
	}
	if b := r.r.cur.Load(); b != nil {
		b.Tell(msg)
		return
	}
	r.r.entry.Dropped()
}

// Name is the name the actor was made with.
func (r Ref) Name() string {
	if r.r == nil {
		return ""
	}
	return r.r.name
}

// Path is the actor's path in the tree.
func (r Ref) Path() string {
	if r.r == nil {
		return ""
	}
	return r.r.entry.Path()
}

// IsZero says whether this is nobody's address.
func (r Ref) IsZero() bool { return r.r == nil }

// bound is the address of one incarnation.
type bound struct {
	sys   *System
	pid   *actor.PID
	entry *registry.Entry
	dead  atomic.Bool
}

func (b *bound) Tell(msg any) {
	if b.dead.Load() {
		b.entry.Dropped()
		return
	}
	b.sys.as.Root.Send(b.pid, letter{msg, b.sys.now()})
}

// letter carries a message and when it was posted.
type letter struct {
	msg any
	at  time.Duration
}

// IgnoreDeadLetterLogging keeps the library from logging letters that arrive after the actor's end.
func (letter) IgnoreDeadLetterLogging() {}
