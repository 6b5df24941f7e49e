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
	// Synced is told once, when the runtime was listed and every source has delivered; it must not block.
	Synced func()
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
	seq       model.Incarnation
	swept     bool
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
}

// New makes the shell.
func New(deps Deps, cfg Config) *Actor {
	a := &Actor{deps: deps, pods: map[model.UID]*entry{}, pending: map[string]struct{}{}, unclaimed: map[model.UID]model.PodObserved{}}
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
		if e := a.pods[m.UID]; e != nil && e.source == m.Source {
			e.next = nil
			if !e.gone {
				e.gone = true
				e.ref.Tell(podmsg.SourceGone{})
			}
		}
	case podsmsg.SourceSynced:
		delete(a.pending, m.Source)
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
	uid := m.Pod.UID
	e := a.pods[uid]
	if e != nil && (e.gone || e.orphan) {
		e.next = &m
		return
	}
	if e != nil {
		e.newest.set(m.Pod)
		if m.StatusOnly {
			e.ref.Tell(podmsg.StatusSeen{Pod: m.Pod})
		} else {
			e.ref.Tell(podmsg.Desired{Pod: m.Pod})
		}
		return
	}
	if m.Source == "file" || m.Source == "http" {
		if before := a.sameName(m.Pod); before != nil {
			before.next = &m
			return
		}
	}
	a.spawn(c, m.Pod, m.Source, false)
}

// sameName is a pod of another UID with the same full name that has not ended yet: static pods take turns.
func (a *Actor) sameName(pod *v1.Pod) *entry {
	for uid, e := range a.pods {
		if p := e.newest.get(); uid != pod.UID && e.static && p.Name == pod.Name && p.Namespace == pod.Namespace {
			return e
		}
	}
	return nil
}

func (a *Actor) spawn(c *spawn.Cell, pod *v1.Pod, source string, orphan bool) {
	a.seq++
	e := &entry{inc: a.seq, newest: newLatest(pod), source: source, static: (source == "file" || source == "http") && !orphan, orphan: orphan}
	a.pods[pod.UID] = e
	static, inc := e.static, e.inc
	e.ref = c.Child(string(pod.UID), "pod", func(k *spawn.Cell) spawn.Receiver {
		return a.deps.Spawn(k, e.newest.get, static, orphan, inc)
	})
	if a.gate.Listed {
		// A pod that came after the list is new: the runtime has nothing of it.
		e.ref.Tell(podmsg.Look{Observed: a.unclaimed[pod.UID], At: time.Now()})
		delete(a.unclaimed, pod.UID)
	}
	e.ref.Tell(a.gate)
}

func (a *Actor) open() {
	for _, e := range a.pods {
		e.ref.Tell(a.gate)
	}
}

// listed shows every pod what the runtime has of it.
func (a *Actor) listed(c *spawn.Cell, m podsmsg.Listed) {
	first := !a.gate.Listed
	a.gate.Listed = true
	if first {
		a.open()
	}
	clear(a.unclaimed)
	for uid, seen := range m.Pods {
		if a.pods[uid] == nil {
			a.unclaimed[uid] = seen
		}
	}
	for uid, e := range a.pods {
		e.ref.Tell(podmsg.Look{Observed: m.Pods[uid], Epoch: m.Epoch, At: m.At})
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
		klog.InfoS("Ending a pod that no source knows", "pod", klog.KRef(seen.Namespace, seen.Name), "podUID", uid)
		orphan := stranger(seen)
		a.spawn(c, orphan, "orphan", true)
		a.pods[uid].gone = true
		a.pods[uid].ref.Tell(podmsg.SourceGone{})
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
	if a.deps.Synced != nil {
		a.deps.Synced()
	}
}

func (a *Actor) ended(c *spawn.Cell, m podsmsg.Ended) {
	e := a.pods[m.UID]
	if e == nil || e.inc != m.Incarnation {
		return
	}
	delete(a.pods, m.UID)
	c.StopChild(e.ref)
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
	e.ref.Tell(a.gate)
	if e.gone {
		e.ref.Tell(podmsg.SourceGone{})
	}
}
