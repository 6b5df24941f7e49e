package containerplan

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

func cpu(q string) v1.ResourceRequirements {
	return v1.ResourceRequirements{Requests: v1.ResourceList{"cpu": resource.MustParse(q)}, Limits: v1.ResourceList{"cpu": resource.MustParse(q)}}
}

// resizable is a rig whose container runs with one core.
func resizable(t *testing.T, restart v1.RestartPolicy) *rig {
	t.Helper()
	r := newRig(t, podOf(restart, func(_ *v1.Pod, c *v1.Container) { c.Resources = cpu("1") }))
	r.up()
	if g := View(&r.s, r.now).Given; g == nil || g.Limits.Cpu().String() != "1" {
		t.Fatalf("it was made with %v", g)
	}
	return r
}

func (r *rig) resize(q string, restart bool) {
	r.t.Helper()
	to := cpu(q)
	r.on(containermsg.Resize{Gen: 7, ID: r.s.Cur.ID, Resources: &to, Restart: restart})
}

func TestResizeInPlace(t *testing.T) {
	r := resizable(t, v1.RestartPolicyAlways)
	r.resize("2", false)
	r.want(model.StageUp, "Update")
	if v := View(&r.s, r.now); v.Given.Limits.Cpu().String() != "1" || v.ResizeGen == 7 {
		t.Fatal("told before it happened")
	}
	r.done(model.OutcomeOK)
	if v := View(&r.s, r.now); v.Given.Limits.Cpu().String() != "2" || v.ResizeGen != 7 || v.ResizeErr != "" {
		t.Fatalf("given %v, gen %d, %q", v.Given, v.ResizeGen, v.ResizeErr)
	}
}

func TestResizeRefused(t *testing.T) {
	r := resizable(t, v1.RestartPolicyAlways)
	r.resize("2", false)
	r.done(model.OutcomeRefused)
	if v := View(&r.s, r.now); v.Given.Limits.Cpu().String() != "1" || v.ResizeGen != 7 || v.ResizeErr != "it failed" || v.Stage != model.StageUp {
		t.Fatalf("given %v, gen %d, %q", v.Given, v.ResizeGen, v.ResizeErr)
	}
}

func TestResizeByRestart(t *testing.T) {
	// Whatever the policy says of exits: the spec asked for this one.
	for _, policy := range []v1.RestartPolicy{v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever} {
		r := resizable(t, policy)
		pod := r.s.Pod.DeepCopy()
		pod.Spec.Containers[0].Resources = cpu("2")
		r.on(containermsg.Desired{Pod: pod})
		r.resize("2", true)
		if r.stage() != model.StageStopping {
			t.Fatalf("%s: %v after %s", policy, r.stage(), names(r.last))
		}
		old := r.s.Cur.ID
		r.exitsInStop(0)
		r.wait(time.Millisecond)
		r.up()
		v := View(&r.s, r.now)
		if v.Current.ID == old || v.Given == nil || v.Given.Limits.Cpu().String() != "2" || v.RestartCount != 1 {
			t.Errorf("%s: %s given %v, %d restarts", policy, v.Current.ID, v.Given, v.RestartCount)
		}
	}
}

func TestResizeOfAnotherInstanceMeansNothing(t *testing.T) {
	r := resizable(t, v1.RestartPolicyAlways)
	to := cpu("2")
	r.on(containermsg.Resize{Gen: 7, ID: "other", Resources: &to})
	r.want(model.StageUp, "")
}

func TestStopDoesNotWaitForAResize(t *testing.T) {
	r := resizable(t, v1.RestartPolicyAlways)
	r.resize("2", false)
	r.revoke(time.Second)
	if r.stage() != model.StageStopping {
		t.Fatalf("%v after %s", r.stage(), names(r.last))
	}
	if v := View(&r.s, r.now); v.ResizeGen != 7 || v.ResizeErr == "" {
		t.Errorf("gen %d, %q", v.ResizeGen, v.ResizeErr)
	}
}
