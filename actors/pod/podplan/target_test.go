package podplan

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

// target is what an ephemeral container was told last to join; "-" when the last step told it nothing.
func (r *rig) target(name string) model.ContainerID {
	told := model.ContainerID("-")
	for _, a := range r.last {
		if t, ok := a.(Tell); ok && t.Name == name {
			if g, ok := t.Event.(containermsg.Grant); ok {
				told = g.Target
			}
		}
	}
	return told
}

// TestTarget: an ephemeral container is told the newest instance of its target, again when there is another one, and no
// more once it was made.
func TestTarget(t *testing.T) {
	pod := podOf(v1.RestartPolicyAlways, "a", "e1")
	pod.Spec.EphemeralContainers[0].TargetContainerName = "a"
	r := newRig(t, pod).ready()
	said := func(what string, want model.ContainerID) {
		t.Helper()
		if got := r.target("e1"); got != want {
			t.Fatalf("%s: told %q, want %q", what, got, want)
		}
	}
	said("there is none yet", "")
	r.child("a", model.StagePulling)
	said("still none", "-")
	r.child("a", model.StageUp, running("a1"))
	said("it runs", "a1")
	r.child("a", model.StageBackoff, exited(1))
	said("it has ended", "-")
	r.child("a", model.StageUp, running("a2"))
	said("it runs again", "a2")
	r.child("e1", model.StageUp, running("e"))
	r.child("a", model.StageUp, running("a3"))
	said("it has joined the one before", "-")
}
