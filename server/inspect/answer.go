package inspect

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/registry"
	"github.com/troupe-dev/troupe/supervisor/runner"
)

// Pods finds pods with the newest status that this agent built.
type Pods interface {
	List() []*v1.Pod
	Get(namespace, name string) (*v1.Pod, bool)
	ByUID(uid types.UID) (*v1.Pod, bool)
}

// Actors is the tree of actors; *registry.Registry is one.
type Actors interface {
	Snapshot() registry.Tree
	Find(path string) (registry.Node, bool)
	Stuck(now time.Time, threshold time.Duration) []registry.Node
	Top(n int) []registry.Node
	Each(f func(*registry.Entry))
}

// Effects shows what the effect runner does; *runner.Runner is one.
type Effects interface{ Snapshot() runner.Snapshot }

// Explanation is the answer to /explain/{namespace}/{pod}.
type Explanation struct {
	// Sentence says it all; Advice what would unblock the pod, "" when nothing has to be done.
	Sentence string    `json:"sentence"`
	Advice   string    `json:"advice,omitempty"`
	At       time.Time `json:"at"`
	// Pod is what the pod's actor published.
	Pod model.PodExplain `json:"pod"`
	// Effects are the calls about this pod that the runner has in progress.
	Effects []runner.InFlight `json:"effects,omitempty"`
	// Actor is the pod's actor with its containers; nil when there is none.
	Actor *registry.Node `json:"actor,omitempty"`
}

// explain builds the answer; false when nobody knows the pod.
func (h *Handler) explain(namespace, name string, now time.Time) (Explanation, bool) {
	a := Explanation{At: now}
	entry, e := h.published(namespace, name)
	pod, known := h.Pods.Get(namespace, name)
	switch {
	case e != nil:
		a.Pod = *e
	case known:
		a.Pod = fromStatus(pod)
	default:
		return a, false
	}
	if entry != nil {
		n := entry.Snapshot()
		n.Detail = nil // it is Pod
		a.Actor = &n
	}
	owner := namespace + "/" + name
	for _, l := range h.Effects.Snapshot().Lanes {
		for _, f := range l.InFlight {
			if f.Owner == owner || (entry != nil && within(f.Owner, entry.Path())) {
				a.Effects = append(a.Effects, f)
			}
		}
	}
	a.Pod = merge(a.Pod, a.Actor, a.Effects, now)
	a.Sentence, a.Advice = Sentence(a.Pod, now), Advice(a.Pod)
	return a, true
}

// within says whether a path is at or below another.
func within(path, root string) bool {
	return path == root || (len(path) > len(root) && path[:len(root)] == root && path[len(root)] == '/')
}

// published finds the newest incarnation of the pod's actor that has published something about itself.
func (h *Handler) published(namespace, name string) (*registry.Entry, *model.PodExplain) {
	var entry *registry.Entry
	var best *model.PodExplain
	h.Actors.Each(func(e *registry.Entry) {
		d := detailOf(e)
		if d != nil && d.Namespace == namespace && d.Name == name && (best == nil || d.Incarnation >= best.Incarnation) {
			entry, best = e, d
		}
	})
	return entry, best
}

func detailOf(e *registry.Entry) *model.PodExplain {
	switch d := e.Detail().(type) {
	case model.PodExplain:
		return &d
	case *model.PodExplain:
		return d
	}
	return nil
}

// merge adds what the pod cannot know of itself: that its actor is quarantined or stuck, and that a call is overdue.
func merge(e model.PodExplain, actor *registry.Node, effects []runner.InFlight, now time.Time) model.PodExplain {
	if len(effects) > 0 {
		calls := append([]model.CallView(nil), e.InFlight...)
		for i := range calls {
			for _, f := range effects {
				calls[i].Overdue = calls[i].Overdue || (f.Overdue && f.Op == calls[i].Op)
			}
		}
		e.InFlight = calls
	}
	if actor == nil {
		return e
	}
	if b := actorTrouble(*actor, now); b != nil {
		e.Blockers = append([]model.Blocker{*b}, e.Blockers...)
		e.Ready = false
		if actor.QuarantinedUntil != nil {
			e.RetryAt = *actor.QuarantinedUntil
		}
	}
	return e
}

// stuckAfter is how long a message may be in hand before its actor counts as stuck: handlers never wait.
const stuckAfter = 10 * time.Second

// actorTrouble is a fault of the actor itself; nil when there is none.
func actorTrouble(n registry.Node, now time.Time) *model.Blocker {
	if n.QuarantinedUntil != nil && n.QuarantinedUntil.After(now) {
		b := &model.Blocker{Kind: model.BlockedByQuarantine, What: fmt.Sprintf("its actor, which is quarantined after %d panics", n.Panics)}
		if n.LastPanic != nil {
			b.What += " (" + n.LastPanic.Value + ")"
			b.Since = n.LastPanic.At
		}
		return b
	}
	if n.Since != nil && now.Sub(*n.Since) >= stuckAfter {
		return &model.Blocker{Kind: model.BlockedByQuarantine, What: "its actor, which is stuck in " + n.InHand, Since: *n.Since}
	}
	return nil
}

// fromStatus makes do with the status where no actor has published anything yet.
func fromStatus(pod *v1.Pod) model.PodExplain {
	e := model.PodExplain{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, Phase: string(pod.Status.Phase), Reason: pod.Status.Reason}
	for _, c := range pod.Status.Conditions {
		if c.Type == v1.PodReady {
			e.Ready = c.Status == v1.ConditionTrue
			e.Since = c.LastTransitionTime.Time
		}
	}
	for _, ip := range pod.Status.PodIPs {
		e.IPs = append(e.IPs, ip.IP)
	}
	switch {
	case pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed:
		e.Stage = "Ended"
	case pod.DeletionTimestamp != nil:
		e.Stage, e.DeletionAsked, e.Reason = "Ending", pod.DeletionTimestamp.Time, "deletion was asked"
	case e.Ready:
		e.Stage = "Running"
	}
	return e
}
