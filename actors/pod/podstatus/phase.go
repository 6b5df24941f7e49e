package podstatus

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// phase sets the phase with its reason and message. What was said before limits it: a terminal phase stays, and Running
// does not become Pending again although init containers may run once more. A terminal phase waits until
// the sandboxes have stopped: until then a container may run, as the kubelet has it too.
func (b *builder) phase(out *v1.PodStatus) {
	out.Phase = b.computed(out)
	e := b.s.End
	byNode := e != nil && e.Why == podplan.EndNode && !b.s.Orphan
	if byNode || (b.ended && !terminal(out.Phase) && !b.mirror() && !b.s.Orphan) {
		out.Phase = v1.PodFailed // the node ended it, or it ended without having got as far as to run
	}
	was := b.prev.Phase
	if was == "" {
		was = b.pod.Status.Phase
	}
	switch {
	case terminal(b.pod.Status.Phase):
		out.Phase = b.pod.Status.Phase
	case terminal(was):
		out.Phase = was
	case terminal(out.Phase) && !b.ended:
		out.Phase = max(was, v1.PodPending) // "Running" sorts after "Pending"
	case was == v1.PodRunning && out.Phase == v1.PodPending:
		out.Phase = was
	}
	switch {
	case out.Phase == b.prev.Phase:
		out.Reason, out.Message = b.prev.Reason, b.prev.Message
	case byNode && out.Phase == v1.PodFailed:
		out.Reason, out.Message = e.Reason, e.Message
	}
	// The object may be ahead of what was built last: an earlier life of this actor, or somebody else, gave the phase.
	if out.Phase == b.pod.Status.Phase && (out.Phase == b.prev.Phase || terminal(out.Phase)) {
		out.Reason, out.Message = or(out.Reason, b.pod.Status.Reason), or(out.Message, b.pod.Status.Message)
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// mirror: a static pod has no terminal phase of its own when its containers are merely stopped.
func (b *builder) mirror() bool {
	return b.pod.Annotations["kubernetes.io/config.source"] != "" && b.pod.Annotations["kubernetes.io/config.source"] != "api"
}

func terminal(p v1.PodPhase) bool { return p == v1.PodSucceeded || p == v1.PodFailed }

type tally struct{ unknown, running, waiting, stopped, stoppedForGood, succeeded, pendingInit, pendingSidecar, failedInit int }

// computed derives the phase from the container statuses alone, by the kubelet's rules.
func (b *builder) computed(out *v1.PodStatus) v1.PodPhase {
	var t tally
	for i := range b.pod.Spec.InitContainers {
		c := &b.pod.Spec.InitContainers[i]
		b.tallyInit(&t, c, find(out.InitContainerStatuses, c.Name))
	}
	for i := range b.pod.Spec.Containers {
		c := &b.pod.Spec.Containers[i]
		b.tallyApp(&t, c, find(out.ContainerStatuses, c.Name))
	}
	switch {
	case t.failedInit > 0:
		return v1.PodFailed
	case t.pendingInit > 0, t.pendingSidecar > 0 && !b.appStarted(), t.waiting > 0:
		return v1.PodPending
	case t.running > 0 && t.unknown == 0:
		return v1.PodRunning
	case t.running == 0 && t.stopped > 0 && t.unknown == 0:
		if !(b.ended && !b.mirror()) && t.stopped != t.stoppedForGood {
			return v1.PodRunning
		}
		if t.stopped == t.succeeded {
			return v1.PodSucceeded
		}
		return v1.PodFailed
	}
	return v1.PodPending
}

func (b *builder) appStarted() bool {
	for i := range b.pod.Spec.Containers {
		if c := b.s.Views[b.pod.Spec.Containers[i].Name].Current; c != nil && c.State != model.ContainerCreated {
			return true
		}
	}
	return false
}

func (b *builder) tallyInit(t *tally, c *v1.Container, st *v1.ContainerStatus) {
	if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
		switch {
		case st.State.Running != nil:
			if st.Started == nil || !*st.Started {
				t.pendingSidecar++
			}
			t.running++
		case st.State.Waiting != nil && st.LastTerminationState.Terminated == nil:
			t.pendingSidecar++
			t.waiting++
		}
		return
	}
	end := st.State.Terminated
	if st.State.Waiting != nil {
		end = st.LastTerminationState.Terminated
	}
	switch {
	case end == nil:
		t.pendingInit++
	case end.ExitCode != 0 && !b.restarts(c, model.KindInit, end.ExitCode):
		t.failedInit++
	}
}

func (b *builder) tallyApp(t *tally, c *v1.Container, st *v1.ContainerStatus) {
	end := st.State.Terminated
	switch {
	case st.State.Running != nil:
		t.running++
		return
	case end != nil && end.ExitCode == 0:
		t.succeeded++
	case st.State.Waiting != nil:
		end = st.LastTerminationState.Terminated
	}
	switch {
	case end == nil && st.State.Waiting != nil:
		t.waiting++
	case end == nil:
		t.unknown++
	default:
		t.stopped++
		if !b.restarts(c, model.KindApp, end.ExitCode) {
			t.stoppedForGood++
		}
	}
}

// restarts says whether the container's policy would start it again after such an exit.
func (b *builder) restarts(c *v1.Container, kind model.ContainerKind, code int32) bool {
	rules, pol := policy.ForContainer(&b.pod.Spec, c, kind, policy.Curve{}, true)
	return policy.Decide(policy.Exit{Code: code}, rules, pol, policy.History{}, time.Time{}).Action != policy.Stay
}
