package pods

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/pods/takeover"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/messages/sourcemsg"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// statics is what is special about static pods: they wait for the runtime's first list, because one of them may be the
// continuation of what runs; they do not wait for the API server, which may be one of them; those of one name take turns.
type statics struct {
	// held have come before the runtime was listed.
	held []podsmsg.Assigned
	// taken finds the identity that a static pod runs under by the UID that its source knows it by.
	taken map[model.UID]identity
	known bool
}

type identity struct {
	uid  model.UID
	hash string
}

func newStatics() statics { return statics{taken: map[model.UID]identity{}} }

// isStatic says whether pods of this source are static: the node itself was told to run them.
func isStatic(source string) bool { return source == "file" || source == "http" }

// own is the UID that a pod runs under.
func (s *statics) own(uid model.UID) model.UID {
	if id, ok := s.taken[uid]; ok {
		return id.uid
	}
	return uid
}

// static prepares the turn of a static pod: it gives it the identity of what runs already, or ends that first. It
// reports false when the pod has to wait.
func (a *Actor) static(c *spawn.Cell, m *podsmsg.Assigned) bool {
	uid := m.Pod.UID
	if id, ok := a.statics.taken[uid]; ok {
		m.Pod = takeover.As(m.Pod, id.uid, id.hash)
		return true
	}
	if !a.gate.Listed {
		a.statics.held = slices.DeleteFunc(a.statics.held, func(h podsmsg.Assigned) bool { return h.Pod.UID == uid })
		a.statics.held = append(a.statics.held, *m)
		return false
	}
	if a.pods[uid] != nil {
		return true
	}
	for _, seen := range a.unclaimed {
		if !takeover.Stale(m.Pod, seen) {
			continue
		}
		if takeover.Fits(m.Pod, m.Modified, seen) {
			id := identity{seen.UID, takeover.HashOf(seen)}
			klog.InfoS("A static pod continues as the one that runs", "pod", klog.KObj(m.Pod), "podUID", id.uid, "manifestUID", uid)
			a.statics.taken[uid] = id
			m.Pod = takeover.As(m.Pod, id.uid, id.hash)
			return true
		}
		a.endOrphan(c, seen).next = m
		delete(a.unclaimed, seen.UID)
		// Its mirror, if it has one, stays until its turn has come.
		a.deps.Mirrors.Tell(sourcemsg.StaticRuns{Pod: m.Pod, Ending: true})
		return false
	}
	return true
}

// release lets the static pods that came before the runtime's list go on.
func (a *Actor) release(c *spawn.Cell) {
	held := a.statics.held
	a.statics.held = nil
	for _, m := range held {
		a.assigned(c, m)
	}
	a.staticsKnown()
}

// sameName is a pod of another UID with the same full name that has not ended yet: static pods take turns.
func (a *Actor) sameName(pod *v1.Pod) *entry {
	for uid, e := range a.pods {
		if p := e.newest.get(); uid != pod.UID && (e.static || e.orphan) && p.Name == pod.Name && p.Namespace == pod.Namespace {
			return e
		}
	}
	return nil
}

// dropWaiting forgets a static pod that has not had its turn.
func (a *Actor) dropWaiting(uid model.UID) {
	a.statics.held = slices.DeleteFunc(a.statics.held, func(h podsmsg.Assigned) bool { return h.Pod.UID == uid })
	for _, e := range a.pods {
		if e.next == nil || e.next.Pod.UID != uid {
			continue
		}
		if e.orphan {
			a.deps.Mirrors.Tell(sourcemsg.StaticEnded{Pod: e.next.Pod})
		}
		e.next = nil
	}
}

// gateOf is the gate of one pod: static pods start without the other sources.
func (a *Actor) gateOf(e *entry) podmsg.Gate {
	g := a.gate
	g.SourcesReady = g.SourcesReady || e.static
	return g
}

func (a *Actor) staticRuns(e *entry) {
	if e.static {
		a.deps.Mirrors.Tell(sourcemsg.StaticRuns{Pod: e.newest.get(), Ending: e.gone})
	}
}

// staticEnded forgets the identity of a static pod that has ended, unless it has another life before it.
func (a *Actor) staticEnded(uid model.UID, e *entry) {
	if !e.static {
		return
	}
	if e.next == nil {
		a.deps.Mirrors.Tell(sourcemsg.StaticEnded{Pod: e.newest.get()})
	}
	if e.next != nil && e.next.Pod.UID == uid {
		return
	}
	for source, id := range a.statics.taken {
		if id.uid == uid {
			delete(a.statics.taken, source)
		}
	}
}

// staticsKnown tells once that all static pods have been seen.
func (a *Actor) staticsKnown() {
	_, files := a.pending["file"]
	_, urls := a.pending["http"]
	if a.statics.known || files || urls || !a.gate.Listed {
		return
	}
	a.statics.known = true
	a.deps.Mirrors.Tell(sourcemsg.StaticsKnown{})
}
