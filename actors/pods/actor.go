// Package pods is the /pods actor: it knows which UID has which actor, and routes. It holds no rule about a pod's life,
// so that it cannot fail: a parent's panic would stop all pods' actors.
package pods

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/cgroupmsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/messages/volumemsg"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// SpawnFunc makes the behaviour of a pod's actor. newest returns the pod's newest object; it is safe for concurrent use.
type SpawnFunc func(c *spawn.Cell, newest func() *v1.Pod, static, orphan bool, inc model.Incarnation) spawn.Receiver

// Deps are what /pods needs of the world.
type Deps struct {
	Spawn   SpawnFunc
	Cgroups messages.Sink
	Volumes messages.Sink
	// Node is told which pods there are once all are known (nodemsg.Sweep); nil: nobody.
	Node messages.Sink
	// Mirrors is told which static pods have their turn (sourcemsg); nil: nobody.
	Mirrors messages.Sink
	// Synced is told once, when the runtime was listed and every source has delivered; it must not block.
	Synced func()
	// Table shows the pods; nil: to nobody.
	Table *Table
	// Past outlives the actor's incarnations; nil for one that is never built anew.
	Past *Past
	// Vanished is told of a pod of an earlier incarnation that no source names any more and of which nothing runs: what
	// others keep for it may go. It must not block. May be nil.
	Vanished func(model.UID)
}

// Config names the sources that have to deliver once before anything is started or ended.
type Config struct{ Sources []string }

// Actor is the shell.
type Actor struct {
	deps    Deps
	pods    map[model.UID]*entry
	pending map[string]struct{} // sources that have not delivered
	gate    podmsg.Gate
	// unclaimed is what the runtime shows of pods that no source has named yet.
	unclaimed map[model.UID]model.PodObserved
	swept     bool
	statics   statics
}

type entry struct {
	ref    spawn.Ref
	inc    model.Incarnation
	newest *latest
	source string
	static bool
	orphan bool
	gone   bool
	// next waits for this incarnation's end.
	next *podsmsg.Assigned
	seen view
}

// New makes the shell.
func New(deps Deps, cfg Config) *Actor {
	if deps.Mirrors == nil {
		deps.Mirrors = messages.Nowhere
	}
	if deps.Past == nil {
		deps.Past = NewPast()
	}
	if deps.Table == nil {
		deps.Table = NewTable()
	}
	a := &Actor{deps: deps, statics: newStatics(), pods: map[model.UID]*entry{}, pending: map[string]struct{}{}, unclaimed: map[model.UID]model.PodObserved{}}
	for _, s := range cfg.Sources {
		a.pending[s] = struct{}{}
	}
	a.gate.SourcesReady = len(a.pending) == 0
	return a
}

// Receive routes.
func (a *Actor) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case podsmsg.Assigned:
		a.assigned(c, m)
	case podsmsg.Removed:
		a.removed(m)
	case podsmsg.SourceSynced:
		delete(a.pending, m.Source)
		a.staticsKnown()
		if len(a.pending) == 0 && !a.gate.SourcesReady {
			a.gate.SourcesReady = true
			a.open()
			a.claim(c)
		}
	case podsmsg.Dirty:
		if e := a.pods[m.UID]; e != nil {
			e.ref.Tell(podmsg.Dirty{Container: m.Container, At: m.At})
		}
	case podsmsg.Listed:
		a.listed(c, m)
	case podsmsg.RuntimeGate:
		if a.gate.RuntimeReady != m.RuntimeReady || a.gate.NetworkReady != m.NetworkReady {
			a.gate.RuntimeReady, a.gate.NetworkReady = m.RuntimeReady, m.NetworkReady
			a.open()
		}
	case podsmsg.ToPod:
		if e := a.pods[m.UID]; e != nil {
			e.ref.Tell(m.Event)
		}
	case podsmsg.ToAll:
		for _, e := range a.pods {
			e.ref.Tell(m.Event)
		}
	case podsmsg.Ended:
		a.ended(c, m)
	case spawn.Restarted:
		a.restarted(m)
	}
}

// assigned routes the newest object to its pod, making the actor when there is none. An object that comes while an
// earlier life of its UID, or another static pod of its name, is still ending waits its turn.
func (a *Actor) assigned(c *spawn.Cell, m podsmsg.Assigned) {
	if isStatic(m.Source) && !a.static(c, &m) {
		return
	}
	uid := m.Pod.UID
	e := a.pods[uid]
	if e != nil && (e.gone || e.orphan) {
		e.next = &m
		return
	}
	if e != nil {
		e.newest.set(m.Pod)
		a.staticRuns(e)
		if m.StatusOnly {
			e.ref.Tell(podmsg.StatusSeen{Pod: m.Pod})
		} else {
			e.ref.Tell(podmsg.Desired{Pod: m.Pod})
		}
		return
	}
	if isStatic(m.Source) {
		if before := a.sameName(m.Pod); before != nil {
			before.next = &m
			return
		}
	}
	a.spawn(c, m.Pod, m.Source, false)
}

// removed tells a pod that its source has dropped it; one that still waits for its turn is forgotten.
func (a *Actor) removed(m podsmsg.Removed) {
	uid := a.statics.own(m.UID)
	e := a.pods[uid]
	if e == nil || e.source != m.Source {
		if isStatic(m.Source) {
			a.dropWaiting(uid)
		}
		return
	}
	e.next = nil
	if !e.gone {
		e.gone = true
		a.staticRuns(e)
		e.ref.Tell(podmsg.SourceGone{})
		if a.deps.Node != nil {
			// The pod gives its place back too, but only from here it comes before the wish of the pod that the scheduler has
			// given it to.
			a.deps.Node.Tell(nodemsg.Release{UID: uid})
		}
	}
}

func (a *Actor) spawn(c *spawn.Cell, pod *v1.Pod, source string, orphan bool) {
	e := &entry{inc: a.deps.Past.next(pod.UID), newest: newLatest(pod), source: source, static: isStatic(source), orphan: orphan}
	a.pods[pod.UID] = e
	static, inc := e.static, e.inc
	a.deps.Table.open(pod.UID, inc)
	e.ref = c.Child(string(pod.UID), "pod", func(k *spawn.Cell) spawn.Receiver {
		return a.deps.Spawn(k, e.newest.get, static, orphan, inc)
	})
	if a.gate.Listed {
		// A pod that came after the list is new: the runtime has nothing of it.
		e.ref.Tell(podmsg.Look{Observed: a.unclaimed[pod.UID], At: time.Now()})
		delete(a.unclaimed, pod.UID)
	}
	e.ref.Tell(a.gateOf(e))
	a.staticRuns(e)
}

func (a *Actor) open() {
	for _, e := range a.pods {
		e.ref.Tell(a.gateOf(e))
	}
}

// listed shows every pod what the runtime has of it.
func (a *Actor) listed(c *spawn.Cell, m podsmsg.Listed) {
	first := !a.gate.Listed
	a.gate.Listed = true
	clear(a.unclaimed)
	for uid, seen := range m.Pods {
		if a.pods[uid] == nil {
			a.unclaimed[uid] = seen
		}
	}
	for uid, e := range a.pods {
		if seen := m.Pods[uid]; e.seen.news(m.Epoch, seen, uid) {
			e.ref.Tell(podmsg.Look{Observed: seen, Epoch: m.Epoch, At: m.At})
		}
	}
	if first {
		a.open() // after what was listed: a pod whose gate is open and that was shown nothing looks by itself
		a.release(c)
	}
	a.claim(c)
}

// claim ends what runs and no source owns, once everything that could own it was heard.
func (a *Actor) claim(c *spawn.Cell) {
	if !a.gate.SourcesReady || !a.gate.Listed {
		return
	}
	for uid, seen := range a.unclaimed {
		if uid == "" {
			continue
		}
		a.endOrphan(c, seen)
	}
	if a.swept {
		return
	}
	a.swept = true
	owned := make(map[model.UID]struct{}, len(a.pods))
	for uid := range a.pods {
		owned[uid] = struct{}{}
	}
	a.deps.Cgroups.Tell(cgroupmsg.Sweep{Owned: owned})
	if a.deps.Node != nil {
		a.deps.Node.Tell(nodemsg.Sweep{Owned: owned})
	}
	a.deps.Volumes.Tell(volumemsg.Sweep{Owned: owned})
	a.deps.Past.vanish(a.pods, a.deps.Vanished)
	if a.deps.Synced != nil {
		a.deps.Synced()
	}
}

// endOrphan ends what the runtime shows of a pod that no source knows.
func (a *Actor) endOrphan(c *spawn.Cell, seen model.PodObserved) *entry {
	klog.InfoS("Ending a pod that no source knows", "pod", klog.KRef(seen.Namespace, seen.Name), "podUID", seen.UID)
	a.spawn(c, stranger(seen), "orphan", true)
	e := a.pods[seen.UID]
	e.gone = true
	e.ref.Tell(podmsg.SourceGone{})
	return e
}

func (a *Actor) ended(c *spawn.Cell, m podsmsg.Ended) {
	e := a.pods[m.UID]
	if e == nil || e.inc != m.Incarnation {
		return
	}
	delete(a.pods, m.UID)
	a.deps.Past.ended(m.UID)
	a.deps.Table.Forget(m.UID)
	c.StopChild(e.ref)
	a.staticEnded(m.UID, e)
	if e.next != nil {
		a.assigned(c, *e.next)
	}
}

// restarted tells a pod's rebuilt actor the newest wishes; it looks at the runtime by itself.
func (a *Actor) restarted(m spawn.Restarted) {
	e := a.pods[model.UID(m.Name)]
	if e == nil {
		return
	}
	e.ref.Tell(a.gateOf(e))
	if e.gone {
		e.ref.Tell(podmsg.SourceGone{})
	}
}
