// Package registry is the side registry of actors: what a person, /actors and explain look at. Actors write into their own
// Entry, readers copy snapshots; no reader ever sends a message to an actor, so a stuck one can be seen too. Nothing in it
// holds the content of a message: only type names, constants, identifiers and what an actor published on purpose.
package registry

import (
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

// Entry is one actor's place in the tree. It outlives the actor's incarnations. Methods are safe for concurrent use, never
// block for long, and do nothing on a nil Entry.
type Entry struct {
	reg    *Registry
	parent *Entry
	path   string
	name   string
	kind   string

	depth  atomic.Pointer[func() int]
	detail atomic.Pointer[any]

	mu       sync.Mutex
	state    string
	added    time.Time
	started  time.Time // of this incarnation
	restarts int32
	panics   int32
	removed  bool
	last     *Panic
	until    time.Time // quarantine

	hand     reflect.Type // message in hand
	handAt   time.Time
	lastWait time.Duration // time in mailbox of the newest message
	maxWait  time.Duration
	handled  uint64
	busy     time.Duration
	dropped  uint64

	events  ring
	actions ring

	children map[string]*Entry
}

// Panic is a panic that was caught, with its stack.
type Panic struct {
	At time.Time `json:"at"`
	// Where is what was being done: a message's type name, or Started, Stopping, Stopped.
	Where string `json:"where"`
	Value string `json:"value"`
	Stack string `json:"stack"`
}

// Path is the actor's place in the tree, e.g. /pods/<uid>/<container>.
func (e *Entry) Path() string {
	if e == nil {
		return ""
	}
	return e.path
}

// Kind is what sort of actor it is: pod, container, images …
func (e *Entry) Kind() string {
	if e == nil {
		return ""
	}
	return e.kind
}

// SetState publishes the actor's state in one word or two (its plan's stage).
func (e *Entry) SetState(s string) {
	if e == nil {
		return
	}
	e.mu.Lock()
	e.state = s
	e.mu.Unlock()
}

// SetDetail publishes what explain and the page show of the actor. v must never change afterwards.
func (e *Entry) SetDetail(v any) {
	if e == nil {
		return
	}
	e.detail.Store(&v)
}

// Detail is what was last published; nil before.
func (e *Entry) Detail() any {
	if e == nil {
		return nil
	}
	if p := e.detail.Load(); p != nil {
		return *p
	}
	return nil
}

// Event writes something that happened into the flight recorder. kind is a constant of the program, never composed text.
func (e *Entry) Event(kind string, attrs ...Attr) {
	if e == nil {
		return
	}
	now := time.Now()
	e.mu.Lock()
	e.events.add(e.reg.record(now, kind, attrs))
	e.mu.Unlock()
}

// Action writes something that the actor did, or began, into the flight recorder.
func (e *Entry) Action(kind string, attrs ...Attr) {
	if e == nil {
		return
	}
	now := time.Now()
	e.mu.Lock()
	e.actions.add(e.reg.record(now, kind, attrs))
	e.mu.Unlock()
}

// Remove takes the actor and all below it out of the tree. It may be repeated.
func (e *Entry) Remove() {
	if e == nil {
		return
	}
	if p := e.parent; p != nil {
		p.mu.Lock()
		if p.children[e.name] == e { // a new actor of the same name stays
			delete(p.children, e.name)
		}
		p.mu.Unlock()
	}
	e.detach()
}

// detach marks the subtree, so that nobody adds to it any more.
func (e *Entry) detach() {
	e.mu.Lock()
	kids := e.children
	was := e.removed
	e.children, e.removed = nil, true
	e.mu.Unlock()
	if !was {
		e.reg.count.Add(-1)
	}
	for _, k := range kids {
		k.detach()
	}
}

// The rest is what the supervision writes.

// Incarnated begins an incarnation: the first one, or another after a restart.
func (e *Entry) Incarnated(restart bool) {
	if e == nil {
		return
	}
	now := time.Now()
	e.mu.Lock()
	e.started, e.until = now, time.Time{}
	e.hand = nil
	if restart {
		e.restarts++
	}
	e.mu.Unlock()
}

// SetMailbox gives the function that reads how many messages wait.
func (e *Entry) SetMailbox(depth func() int) {
	if e == nil {
		return
	}
	e.depth.Store(&depth)
}

// Begin says that a message is in hand which waited that long in the mailbox.
func (e *Entry) Begin(t reflect.Type, waited time.Duration, now time.Time) {
	if e == nil {
		return
	}
	e.mu.Lock()
	e.hand, e.handAt = t, now
	e.lastWait = waited
	e.maxWait = max(e.maxWait, waited)
	e.mu.Unlock()
}

// End says that the message is dealt with, and records it as an event with the time it took.
func (e *Entry) End(now time.Time) {
	if e == nil {
		return
	}
	e.mu.Lock()
	if e.hand != nil {
		took := now.Sub(e.handAt)
		e.busy += took
		e.handled++
		e.events.add(Record{at: e.handAt.UnixNano(), took: micros(took), kind: e.reg.internType(e.hand)})
		e.hand = nil
	}
	e.mu.Unlock()
}

// Panicked keeps a panic.
func (e *Entry) Panicked(p Panic) {
	if e == nil {
		return
	}
	e.mu.Lock()
	e.panics++
	e.last = &p
	e.events.add(e.reg.record(p.At, "panic", nil))
	e.mu.Unlock()
}

// Quarantined says that the actor will not be built anew before that moment.
func (e *Entry) Quarantined(until time.Time) {
	if e == nil {
		return
	}
	now := time.Now()
	e.mu.Lock()
	e.until = until
	e.events.add(e.reg.record(now, "quarantine", []Attr{Took(until.Sub(now))}))
	e.mu.Unlock()
}

// Dropped counts messages that nobody was there to take.
func (e *Entry) Dropped() {
	if e == nil {
		return
	}
	e.mu.Lock()
	e.dropped++
	e.mu.Unlock()
}

// Orphan takes everything below the actor out of the tree and returns the names of its children: they ended with an
// incarnation of it.
func (e *Entry) Orphan() []string {
	if e == nil {
		return nil
	}
	kids := e.kids()
	names := make([]string, 0, len(kids))
	for _, k := range kids {
		names = append(names, k.name)
		k.Remove()
	}
	return names
}
