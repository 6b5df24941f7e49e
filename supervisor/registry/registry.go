package registry

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Registry is the tree of all actors of one system.
type Registry struct {
	root  *Entry
	names names
	count atomic.Int64
}

// New returns an empty tree.
func New() *Registry {
	g := &Registry{}
	g.root = &Entry{reg: g, path: "", added: time.Now()}
	return g
}

// Add puts an actor below parent (nil is the top). An actor of the same name that is still there is replaced: its entry
// leaves the tree.
func (g *Registry) Add(parent *Entry, name, kind string) *Entry {
	if parent == nil {
		parent = g.root
	}
	e := &Entry{reg: g, parent: parent, path: parent.path + "/" + name, name: name, kind: kind, added: time.Now()}
	e.started = e.added
	parent.mu.Lock()
	var old *Entry
	if parent.removed {
		e.removed = true // the parent has ended: whoever holds e may write, nobody will see it
	} else {
		old = parent.children[name]
		if parent.children == nil {
			parent.children = map[string]*Entry{}
		}
		parent.children[name] = e
		g.count.Add(1)
	}
	parent.mu.Unlock()
	if old != nil {
		old.detach()
	}
	return e
}

// Len is how many actors the tree holds.
func (g *Registry) Len() int { return int(g.count.Load()) }

// Lookup finds the entry at a path such as /pods/<uid>; nil when there is none. "/" and "" are nobody's.
func (g *Registry) Lookup(path string) *Entry {
	path = strings.Trim(path, "/")
	if path == "" {
		return nil
	}
	e := g.root
	for name := range strings.SplitSeq(path, "/") {
		e.mu.Lock()
		next := e.children[name]
		e.mu.Unlock()
		if next == nil {
			return nil
		}
		e = next
	}
	return e
}

// Tree is a snapshot of all actors.
type Tree struct {
	At     time.Time `json:"at"`
	Actors int       `json:"actors"`
	Roots  []Node    `json:"roots"`
}

// Node is one actor in a snapshot.
type Node struct {
	Path  string `json:"path"`
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	State string `json:"state,omitempty"`
	// Added is when the actor was first made, Started when its present incarnation began.
	Added    time.Time `json:"added"`
	Started  time.Time `json:"started"`
	Restarts int       `json:"restarts"`
	Panics   int       `json:"panics"`
	// LastPanic is kept until a newer one comes.
	LastPanic *Panic `json:"lastPanic,omitempty"`
	// QuarantinedUntil is set while the actor is not built anew because it panicked too often.
	QuarantinedUntil *time.Time `json:"quarantinedUntil,omitempty"`
	// Mailbox is how many messages wait. Waited is how long the newest one taken had waited, MaxWaited the longest ever.
	Mailbox   int           `json:"mailbox"`
	Waited    time.Duration `json:"waitedNs"`
	MaxWaited time.Duration `json:"maxWaitedNs"`
	// InHand is the type of the message being dealt with, since Since.
	InHand  string     `json:"inHand,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
	Handled uint64     `json:"handled"`
	// Busy is the time spent in handlers since the actor was added; Dropped counts messages that came while none ran.
	Busy     time.Duration `json:"busyNs"`
	Dropped  uint64        `json:"dropped,omitempty"`
	Events   []Fact        `json:"events,omitempty"`
	Actions  []Fact        `json:"actions,omitempty"`
	Detail   any           `json:"detail,omitempty"`
	Children []Node        `json:"children,omitempty"`
}

// Fact is a record of the flight recorder, readable.
type Fact struct {
	At    time.Time     `json:"at"`
	Kind  string        `json:"kind"`
	ID    string        `json:"id,omitempty"`
	Took  time.Duration `json:"tookNs,omitempty"`
	Class string        `json:"class,omitempty"`
}

// Snapshot copies the tree, with events, actions and details; children are sorted by name. Each actor is copied at its own
// moment: the tree as a whole is not one instant.
func (g *Registry) Snapshot() Tree {
	t := Tree{At: time.Now(), Actors: g.Len()}
	for _, k := range g.root.kids() {
		t.Roots = append(t.Roots, k.Snapshot())
	}
	return t
}

// Find copies the actor at a path and all below it.
func (g *Registry) Find(path string) (Node, bool) {
	e := g.Lookup(path)
	if e == nil {
		return Node{}, false
	}
	return e.Snapshot(), true
}

// Snapshot copies this actor and all below it.
func (e *Entry) Snapshot() Node {
	n := e.node(true)
	for _, k := range e.kids() {
		n.Children = append(n.Children, k.Snapshot())
	}
	return n
}

func (e *Entry) kids() []*Entry {
	e.mu.Lock()
	kids := slices.Collect(maps.Values(e.children))
	e.mu.Unlock()
	slices.SortFunc(kids, func(a, b *Entry) int { return cmp.Compare(a.name, b.name) })
	return kids
}

// node copies this actor alone; whole adds the records and the detail.
func (e *Entry) node(whole bool) Node {
	n := Node{Path: e.path, Name: e.name, Kind: e.kind}
	if f := e.depth.Load(); f != nil {
		n.Mailbox = (*f)()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n.State, n.Added, n.Started = e.state, e.added, e.started
	n.Restarts, n.Panics, n.LastPanic = int(e.restarts), int(e.panics), e.last
	n.Waited, n.MaxWaited, n.Handled, n.Busy, n.Dropped = e.lastWait, e.maxWait, e.handled, e.busy, e.dropped
	if !e.until.IsZero() {
		until := e.until
		n.QuarantinedUntil = &until
	}
	if e.hand != nil {
		at := e.handAt
		n.InHand, n.Since = e.hand.String(), &at
	}
	if whole {
		n.Events, n.Actions = e.reg.facts(&e.events), e.reg.facts(&e.actions)
		n.Detail = e.Detail()
	}
	return n
}

func (g *Registry) facts(r *ring) []Fact {
	if len(r.buf) == 0 {
		return nil
	}
	out := make([]Fact, 0, len(r.buf))
	r.each(func(rec Record) {
		out = append(out, Fact{
			At: time.Unix(0, rec.at), Kind: g.names.name(rec.kind), ID: rec.id,
			Took: time.Duration(rec.took) * time.Microsecond, Class: g.names.name(rec.class),
		})
	})
	return out
}

// Stuck lists the actors that have had one message in hand for at least threshold, longest first, without records.
func (g *Registry) Stuck(now time.Time, threshold time.Duration) []Node {
	var out []Node
	g.walk(func(e *Entry) {
		e.mu.Lock()
		stuck := e.hand != nil && now.Sub(e.handAt) >= threshold
		e.mu.Unlock()
		if stuck {
			if n := e.node(false); n.Since != nil {
				out = append(out, n)
			}
		}
	})
	slices.SortFunc(out, func(a, b Node) int { return a.Since.Compare(*b.Since) })
	return out
}

// Top lists the n actors with the most waiting messages, deepest first, without records. Empty mailboxes are left out.
func (g *Registry) Top(n int) []Node {
	type deep struct {
		e     *Entry
		depth int
	}
	var all []deep
	g.walk(func(e *Entry) {
		if f := e.depth.Load(); f != nil {
			if d := (*f)(); d > 0 {
				all = append(all, deep{e, d})
			}
		}
	})
	slices.SortStableFunc(all, func(a, b deep) int { return cmp.Compare(b.depth, a.depth) })
	var out []Node
	for _, d := range all[:min(n, len(all))] {
		node := d.e.node(false)
		node.Mailbox = d.depth // as it was ranked
		out = append(out, node)
	}
	return out
}

// Each calls f for every actor, parents first. f must not call back into the registry's writers.
func (g *Registry) Each(f func(*Entry)) { g.walk(f) }

func (g *Registry) walk(f func(*Entry)) {
	var down func(*Entry)
	down = func(e *Entry) {
		for _, k := range e.kids() {
			f(k)
			down(k)
		}
	}
	down(g.root)
}
