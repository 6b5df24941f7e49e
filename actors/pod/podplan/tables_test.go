package podplan

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// TestStart: nothing before the runtime's list, all sources and admission; then cgroup and volumes side by side, then the
// sandbox, and containers only when sandbox and volumes are there.
func TestStart(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways, "a"))
	r.on(podmsg.Gate{RuntimeReady: true, NetworkReady: true})
	r.want(Queued, "")
	r.on(podmsg.Look{At: r.now})
	r.want(Queued, "")
	r.on(podmsg.Gate{RuntimeReady: true, NetworkReady: true, SourcesReady: true, Listed: true})
	r.want(Queued, "Admit")
	r.heard("a")
	r.on(podmsg.Admitted{})
	r.want(Starting, "WantCgroup WantVolumes")
	r.on(podmsg.CgroupReady{Parent: "/p", Seq: r.s.CgroupSeq})
	r.want(Starting, "RunSandbox(0)")
	r.done(model.OutcomeOK, sandboxIs("b1", 0, model.SandboxReady))
	r.want(Starting, "")
	if w := r.words(); w != "" {
		t.Fatalf("containers were told %q before the volumes were ready", w)
	}
	r.on(podmsg.VolumesReady{})
	r.want(Running, "")
	if w := r.words(); w != "a:Grant" {
		t.Fatalf("told %q", w)
	}
}

func TestRefused(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways, "a"))
	r.on(podmsg.Gate{RuntimeReady: true, NetworkReady: true, SourcesReady: true, Listed: true})
	r.looked(model.PodObserved{})
	r.heard("a")
	r.on(podmsg.Refused{Reason: "OutOfcpu", Message: "no"})
	r.child("a", model.StageDone)
	r.on(podmsg.VolumesGone{})
	r.on(podmsg.CgroupGone{})
	r.acks()
	r.want(Ended, "")
	if r.s.End.Why != EndRefused || r.s.End.Reason != "OutOfcpu" {
		t.Fatalf("%+v", r.s.End)
	}
	r.on(podmsg.Admitted{}) // an answer to an earlier question does not bring it back
	if StageOf(&r.s) != Ended {
		t.Fatal("it came back")
	}
}

// TestOrder: who waits for whom.
func TestOrder(t *testing.T) {
	type step struct {
		name string
		do   func(*rig)
		want string
	}
	up := func(name string) func(*rig) { return func(r *rig) { r.up(name) } }
	ends := func(name string, code int32) func(*rig) { return func(r *rig) { r.ends(name, code) } }
	stage := func(name string, st model.ContainerStage, edit ...func(*model.ContainerView)) func(*rig) {
		return func(r *rig) { r.child(name, st, edit...) }
	}
	for _, tc := range []struct {
		name  string
		pod   *v1.Pod
		first string
		steps []step
	}{
		{"init containers one by one, then the apps", podOf(v1.RestartPolicyAlways, "i1", "i2", "a"), "i1:Grant", []step{
			{"i1 runs", up("i1"), ""},
			{"i1 crashes", stage("i1", model.StageBackoff, exited(1)), ""},
			{"i1 ends well", ends("i1", 0), "i2:Grant"},
			{"i2 ends well", ends("i2", 0), "a:Grant"}}},
		{"a started sidecar lets the next one go", podOf(v1.RestartPolicyAlways, "s1", "i2", "a"), "s1:Grant", []step{
			{"not started", stage("s1", model.StageUp, running("x"), func(v *model.ContainerView) { v.Started = false }), ""},
			{"started", up("s1"), "i2:Grant"},
			{"i2 ends well", ends("i2", 0), "a:Grant"}}},
		{"apps in spec order, each after the postStart of the one before", podOf(v1.RestartPolicyAlways, "b", "a"), "b:Grant", []step{
			{"pulling", stage("b", model.StagePulling), ""},
			{"creating", stage("b", model.StageCreating), ""},
			{"in postStart", stage("b", model.StageStarting, running("x")), ""},
			{"up", up("b"), "a:Grant"}}},
		{"an image that cannot be had holds nobody up", podOf(v1.RestartPolicyAlways, "b", "a"), "b:Grant", []step{
			{"failed", stage("b", model.StageBackoff, func(v *model.ContainerView) { v.WaitingReason = "ErrImagePull" }), "a:Grant"}}},
		{"ephemeral ones at once", podOf(v1.RestartPolicyAlways, "i1", "a", "e1"), "i1:Grant e1:Grant", nil},
		{"an init container that fails for good ends the pod", podOf(v1.RestartPolicyNever, "i1", "a"), "i1:Grant", []step{
			{"fails", ends("i1", 1), "i1:Revoke a:Revoke"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.pod).ready()
			if w := r.words(); w != tc.first {
				t.Fatalf("first %q, want %q", w, tc.first)
			}
			for _, st := range tc.steps {
				st.do(r)
				if w := r.words(); w != st.want {
					t.Fatalf("%s: told %q, want %q", st.name, w, st.want)
				}
			}
		})
	}
}

// TestEnding: apps first, sidecars last and in reverse, then the sandbox, then what others hold, then the object.
func TestEnding(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways, "s1", "i1", "s2", "a", "b")).runs()
	r.asksDelete(20)
	r.want(Ending, "")
	if w := r.words(); w != "s1:Retire i1:Revoke s2:Retire a:Revoke b:Revoke" {
		t.Fatal(w)
	}
	r.heard("i1", "s1", "s2")
	r.ends("a", 0)
	r.child("b", model.StageStopping)
	if w := r.words(); w != "" {
		t.Fatal(w)
	}
	r.ends("b", 143)
	if w := r.words(); w != "s2:Revoke" {
		t.Fatal(w)
	}
	r.ends("s2", 143)
	if w := r.words(); w != "s1:Revoke" {
		t.Fatal(w)
	}
	r.want(Ending, "")
	r.ends("s1", 143)
	r.want(Ending, "StopSandbox(b1)")
	r.done(model.OutcomeOK)
	r.want(Ended, "Release DropVolumes DropCgroup RemoveSandbox(b1)")
	r.done(model.OutcomeOK)
	r.want(Ended, "RemoveDirs")
	r.done(model.OutcomeOK)
	r.on(podmsg.VolumesGone{})
	r.want(Ended, "")
	r.on(podmsg.CgroupGone{})
	r.want(Ended, "")
	r.acks()
	r.want(Finished, "Delete")
	r.acks()
	r.want(Finished, "")
	r.on(podmsg.SourceGone{})
	r.want(Finished, "Finish")
	r.on(podmsg.SourceGone{})
	r.want(Finished, "")
}

// TestCompleted: a pod that has ended by itself stays until somebody deletes it; then the rest goes.
func TestCompleted(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyNever, "a")).runs()
	r.ends("a", 0)
	if r.s.End == nil || r.s.End.Why != EndCompleted {
		t.Fatalf("%+v", r.s.End)
	}
	r.heard("a")
	r.want(Ending, "StopSandbox(b1)")
	r.done(model.OutcomeOK)
	r.want(Ended, "Release DropVolumes DropCgroup")
	r.on(podmsg.VolumesGone{})
	r.on(podmsg.CgroupGone{})
	r.acks()
	r.want(Ended, "")
	r.asksDelete(30)
	r.want(Ended, "RemoveSandbox(b1)")
	r.done(model.OutcomeOK)
	r.done(model.OutcomeOK)
	r.want(Finished, "Delete")
}

// TestGrace: only ever shorter, counted from when it was asked for; nobody waits for ever.
func TestGrace(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways, "a")).runs()
	r.asksDelete(30)
	began := r.now
	r.words()
	r.now = r.now.Add(10 * time.Second)
	r.asksDelete(30)
	r.asksDelete(60)
	if !r.s.End.Deadline.Equal(began.Add(30*time.Second)) || r.words() != "" {
		t.Fatalf("the same or a longer grace changed something: %v", r.s.End.Deadline)
	}
	r.asksDelete(5)
	if !r.s.End.Deadline.Equal(r.now.Add(5*time.Second)) || r.words() != "a:Revoke" {
		t.Fatalf("deadline %v", r.s.End.Deadline)
	}
	r.asksDelete(0)
	if !r.s.End.Deadline.Equal(r.now.Add(minGrace)) || r.words() != "a:Revoke" {
		t.Fatalf("deadline %v", r.s.End.Deadline)
	}
	// The container is never seen to end.
	r.child("a", model.StageStopping)
	r.wait(minGrace + endForce - time.Millisecond)
	r.want(Ending, "")
	r.wait(time.Millisecond)
	r.want(Ending, "StopSandbox(b1)")
	r.done(model.OutcomeOK)
	r.want(Ending, "Look")
	r.looked(model.PodObserved{Sandboxes: []model.Sandbox{{ID: "b1", State: model.SandboxNotReady}}})
	r.want(Ended, "Release DropVolumes DropCgroup RemoveSandbox(b1)")
}

// TestUnheard: a container that has not heard yet that it may not run counts as running.
func TestUnheard(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways, "a")).ready()
	v := r.s.Views["a"]
	r.asksDelete(30)
	r.want(Ending, "")
	v.Stage = model.StagePulling // said before it heard of the revoke
	v.Seq = r.s.Told["a"] - 1
	r.on(podmsg.Child{View: v})
	r.want(Ending, "")
	r.child("a", model.StageDone)
	r.want(Ending, "StopSandbox(b1)")
}

// TestSandboxTries: a refusal is looked at once and tried again, slower and slower; an unknown outcome is looked at first.
func TestSandboxTries(t *testing.T) {
	making := func(t *testing.T) *rig {
		r := newRig(t, podOf(v1.RestartPolicyAlways, "a")).admitted()
		r.on(podmsg.CgroupReady{Parent: "/p", Seq: r.s.CgroupSeq})
		r.want(Starting, "RunSandbox(0)")
		return r
	}
	t.Run("refused", func(t *testing.T) {
		r := making(t)
		var waits []time.Duration
		for range 7 {
			r.done(model.OutcomeRefused)
			r.want(Starting, "Look")
			if eventsOf(r.last) != "FailedCreatePodSandBox" {
				t.Fatalf("events %q", eventsOf(r.last))
			}
			r.looked(model.PodObserved{})
			r.want(Starting, "")
			began := r.now
			r.wait(r.s.Timer.Sub(r.now))
			r.want(Starting, "RunSandbox(0)")
			waits = append(waits, r.now.Sub(began))
		}
		if waits[0] != time.Second || waits[1] != 2*time.Second || waits[6] != 30*time.Second {
			t.Fatalf("waited %v", waits)
		}
	})
	t.Run("refused, and half of it stands", func(t *testing.T) {
		r := making(t)
		r.done(model.OutcomeRefused)
		r.looked(model.PodObserved{Sandboxes: []model.Sandbox{{ID: "half", State: model.SandboxNotReady}}})
		r.wait(r.s.Timer.Sub(r.now))
		r.want(Starting, "StopSandbox(half)")
		r.done(model.OutcomeOK)
		r.want(Starting, "RunSandbox(1)")
	})
	t.Run("unknown, found", func(t *testing.T) {
		r := making(t)
		r.done(model.OutcomeUnknown)
		r.want(Starting, "")
		r.wait(doubtFirst)
		r.want(Starting, "Look")
		r.looked(model.PodObserved{Sandboxes: []model.Sandbox{{ID: "b1", State: model.SandboxReady}}})
		r.want(Starting, "ReadSandbox")
	})
	t.Run("unknown, not there: the same attempt, whose name may still be taken", func(t *testing.T) {
		r := making(t)
		r.done(model.OutcomeUnknown)
		r.wait(doubtFirst)
		r.looked(model.PodObserved{})
		r.want(Starting, "RunSandbox(0)")
	})
	t.Run("a deletion meanwhile waits for the call, then cancels it", func(t *testing.T) {
		r := making(t)
		r.asksDelete(30)
		r.child("a", model.StageDone)
		r.want(Ending, "")
		r.wait(endPatience)
		r.want(Ending, "Cancel")
		r.done(model.OutcomeUnknown)
		r.wait(doubtFirst)
		r.want(Ending, "Look")
		r.looked(model.PodObserved{Sandboxes: []model.Sandbox{{ID: "b1", State: model.SandboxReady}}})
		r.want(Ending, "StopSandbox(b1)")
		r.done(model.OutcomeOK)
		r.want(Ending, "Look") // an outcome was unknown: once more, to be sure
		r.looked(model.PodObserved{Sandboxes: []model.Sandbox{{ID: "b1", State: model.SandboxNotReady}}})
		r.want(Ended, "Release DropVolumes DropCgroup RemoveSandbox(b1)")
	})
	t.Run("what runs although it was stopped is stopped again", func(t *testing.T) {
		r := making(t)
		r.done(model.OutcomeUnknown)
		r.asksDelete(30)
		r.child("a", model.StageDone)
		r.wait(doubtFirst)
		r.looked(model.PodObserved{Sandboxes: []model.Sandbox{{ID: "b1", State: model.SandboxReady}}})
		r.done(model.OutcomeOK)
		r.want(Ending, "Look")
		r.looked(model.PodObserved{Sandboxes: []model.Sandbox{{ID: "b1", State: model.SandboxReady}}})
		r.want(Ending, "")
		r.wait(doubtFirst)
		r.want(Ending, "StopSandbox(b1)")
	})
	t.Run("not while the network is not ready", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways, "a")).admitted()
		r.on(podmsg.Gate{RuntimeReady: true, SourcesReady: true, Listed: true})
		r.on(podmsg.CgroupReady{Parent: "/p", Seq: r.s.CgroupSeq})
		r.want(Starting, "")
		if eventsOf(r.last) != "NetworkNotReady" {
			t.Fatalf("events %q", eventsOf(r.last))
		}
		r.on(podmsg.Gate{RuntimeReady: true, NetworkReady: true, SourcesReady: true, Listed: true})
		r.want(Starting, "RunSandbox(0)")
	})
}

// TestSandboxLost: containers that may run again do so in a new sandbox, after their init containers; others end the pod.
func TestSandboxLost(t *testing.T) {
	lose := func(r *rig) {
		r.on(podmsg.Dirty{Container: "b1", At: r.now.Add(time.Second)})
		r.want(Running, "ReadSandbox")
		r.done(model.OutcomeOK, sandboxIs("b1", 0, model.SandboxNotReady))
	}
	for _, tc := range []struct {
		name   string
		policy v1.RestartPolicy
		code   int32
		again  bool
	}{
		{"always", v1.RestartPolicyAlways, 137, true},
		{"on failure, killed with it", v1.RestartPolicyOnFailure, 137, true},
		{"on failure, ended well", v1.RestartPolicyOnFailure, 0, false},
		{"never", v1.RestartPolicyNever, 137, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, podOf(tc.policy, "i1", "a")).runs()
			lose(r)
			if w := r.words(); w != "a:Revoke" || eventsOf(r.last) != "SandboxChanged" {
				t.Fatalf("%q, %q", w, eventsOf(r.last))
			}
			r.ends("a", tc.code)
			if !tc.again {
				r.want(Starting, "StopSandbox(b1)")
				r.done(model.OutcomeOK)
				if r.words(); r.s.End == nil || r.s.End.Why != EndCompleted {
					t.Fatalf("it goes on: %+v", r.s.End)
				}
				return
			}
			if w := r.words(); w != "i1:Restart a:Restart" {
				t.Fatalf("told %q", w)
			}
			r.want(Starting, "StopSandbox(b1)")
			stale := r.s.Views["a"] // said before it heard of the restart
			stale.Seq, stale.Settled, stale.Stage = r.s.Told["a"]-1, true, model.StageDone
			r.on(podmsg.Child{View: stale})
			if r.s.End != nil {
				t.Fatal("an old view ended the pod")
			}
			r.child("i1", model.StageHeld)
			r.child("a", model.StageHeld)
			r.done(model.OutcomeOK)
			r.want(Starting, "RunSandbox(1)")
			r.done(model.OutcomeOK, sandboxIs("b2", 1, model.SandboxReady))
			if w := r.words(); w != "i1:Grant" {
				t.Fatalf("told %q", w)
			}
		})
	}
	t.Run("removed by hand", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways, "a")).runs()
		r.now = r.now.Add(time.Second)
		r.on(podmsg.Look{At: r.now})
		if w := r.words(); w != "a:Look a:Revoke" {
			t.Fatalf("told %q", w)
		}
		r.ends("a", 137)
		r.want(Starting, "RunSandbox(1)")
	})
}

// TestRestartAll: an exit rule starts all containers again in the same sandbox, init containers first.
func TestRestartAll(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyNever, "i1", "s1", "a", "b")).runs()
	r.child("a", model.StageDone, exited(42), func(v *model.ContainerView) { v.RestartAll = true })
	if r.s.End != nil || r.s.Round == nil || r.s.Round.NewSandbox {
		t.Fatalf("%+v %+v", r.s.End, r.s.Round)
	}
	if w := r.words(); w != "s1:Revoke b:Revoke" {
		t.Fatal(w)
	}
	r.ends("b", 137)
	r.ends("s1", 137)
	if w := r.words(); w != "i1:Restart i1:Grant s1:Restart a:Restart b:Restart" {
		t.Fatal(w)
	}
	r.want(Initializing, "")
	again := r.s.Views["a"]
	again.Seq, again.RestartAll = r.s.Told["a"]-1, true // an old view asks once more
	r.on(podmsg.Child{View: again})
	if r.s.Round != nil {
		t.Fatal("an old view began another round")
	}
	r.heard("s1", "a", "b")
	r.ends("i1", 0)
	if w := r.words(); w != "s1:Grant" {
		t.Fatal(w)
	}
	// The rule of an init container begins a round too, and does not end the pod.
	r = newRig(t, podOf(v1.RestartPolicyNever, "i1", "a")).ready()
	r.words()
	r.child("i1", model.StageDone, exited(42), func(v *model.ContainerView) { v.RestartAll = true })
	if w := r.words(); r.s.End != nil || w != "i1:Restart i1:Grant a:Restart" {
		t.Fatalf("%+v, told %q", r.s.End, w)
	}
}

// TestAdoption: what runs is not admitted anew, nor touched.
func TestAdoption(t *testing.T) {
	box := model.Sandbox{ID: "b1", State: model.SandboxReady, Attempt: 3}
	c := model.Container{ID: "x", Name: "a", Sandbox: "b1", State: model.ContainerRunning}
	open := podmsg.Gate{RuntimeReady: true, NetworkReady: true, SourcesReady: true, Listed: true}
	r := newRig(t, podOf(v1.RestartPolicyAlways, "i1", "a"))
	r.on(podmsg.Gate{Listed: true, RuntimeReady: true, NetworkReady: true})
	r.looked(model.PodObserved{Sandboxes: []model.Sandbox{box}, Containers: []model.Container{c}})
	r.on(open)
	if len(r.last) != 1 || r.last[0] != (Admit{Adopted: true}) {
		t.Fatalf("%v", r.last)
	}
	r.on(podmsg.Admitted{})
	r.want(Starting, "WantCgroup WantVolumes ReadSandbox")
	r.done(model.OutcomeOK, sandboxIs("b1", 3, model.SandboxReady))
	r.on(podmsg.CgroupReady{Parent: "/p", Seq: r.s.CgroupSeq})
	r.on(podmsg.VolumesReady{})
	if w := r.words(); w != "" {
		t.Fatalf("told %q before they said what they are", w)
	}
	r.heard("i1")
	r.up("a")
	if w := r.words(); w != "a:Grant" { // not the init container: initialisation was before
		t.Fatalf("told %q", w)
	}
	r.want(Running, "")
	t.Run("terminal in the API, but it runs: it is ended", func(t *testing.T) {
		pod := podOf(v1.RestartPolicyAlways, "a")
		pod.Status.Phase = v1.PodFailed
		r := newRig(t, pod)
		r.on(open)
		r.looked(model.PodObserved{Sandboxes: []model.Sandbox{box}, Containers: []model.Container{c}})
		if w := r.words(); w != "a:Revoke" || r.s.End.Why != EndTerminal || r.s.Adopted {
			t.Fatalf("%q %+v", w, r.s.End)
		}
	})
	t.Run("the newest of two ready ones is not always the right one", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways, "a"))
		r.on(open)
		late := model.Sandbox{ID: "late", State: model.SandboxReady, Attempt: 4, CreatedAt: start.Add(time.Hour)}
		r.looked(model.PodObserved{Sandboxes: []model.Sandbox{late, box}, Containers: []model.Container{c}})
		if r.s.Sandbox.ID != "b1" || r.s.Attempt != 5 {
			t.Fatalf("it uses %s, next attempt %d", r.s.Sandbox.ID, r.s.Attempt)
		}
	})
	t.Run("a dead sandbox is not stopped before the containers have said what runs in it", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways, "a"))
		r.on(open)
		dead := box
		dead.State = model.SandboxNotReady
		r.looked(model.PodObserved{Sandboxes: []model.Sandbox{dead}, Containers: []model.Container{c}})
		r.on(podmsg.Admitted{})
		r.on(podmsg.VolumesReady{})
		r.on(podmsg.CgroupReady{Parent: "/p", Seq: r.s.CgroupSeq})
		r.want(Starting, "")
		r.up("a")
		if w := r.words(); w != "a:Revoke" {
			t.Fatalf("told %q", w)
		}
	})
	t.Run("a list from before this actor was rebuilt is not the truth", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways, "a"))
		r.on(open)
		r.want(Queued, "Look")
		r.on(podmsg.Look{At: r.now.Add(-time.Second)})
		if r.s.Listed {
			t.Fatal("it was taken")
		}
	})
}

// TestChildRebuilt: a container whose actor was made anew gets no grant, and counts as running, until it was shown what runs.
func TestChildRebuilt(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways, "a")).runs()
	r.on(podmsg.ChildRestarted{Name: "a"})
	r.want(Running, "Look")
	if !r.s.live() {
		t.Fatal("it does not count as running")
	}
	r.looked(model.PodObserved{Sandboxes: []model.Sandbox{{ID: "b1", State: model.SandboxReady}}, Containers: []model.Container{{ID: "id-a", Name: "a", Sandbox: "b1", State: model.ContainerRunning}}})
	if w := r.words(); w != "a:Look a:Grant" {
		t.Fatalf("told %q", w)
	}
}

// TestDeadline: activeDeadlineSeconds counts from the start time, also after a restart of the agent.
func TestDeadline(t *testing.T) {
	pod := podOf(v1.RestartPolicyAlways, "a")
	pod.Spec.ActiveDeadlineSeconds = ptr(int64(60))
	r := newRig(t, pod).runs()
	r.wait(59 * time.Second)
	r.want(Running, "")
	r.wait(time.Second)
	if r.s.End == nil || r.s.End.Why != EndNode || r.s.End.Reason != "DeadlineExceeded" {
		t.Fatalf("%+v", r.s.End)
	}
	if w := r.words(); w != "a:Revoke" {
		t.Fatal(w)
	}
}

// TestEvents: repeated and late ones change nothing.
func TestStale(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways, "a")).runs()
	for name, ev := range map[string]podmsg.Event{
		"admitted again": podmsg.Admitted{}, "refused after all": podmsg.Refused{Reason: "x"}, "volumes again": podmsg.VolumesReady{},
		"gone before asked": podmsg.VolumesGone{}, "cgroup gone": podmsg.CgroupGone{}, "an old answer": podmsg.Done{Gen: 1, Op: podmsg.OpRunSandbox, Class: model.OutcomeRefused},
		"an old list": podmsg.Look{At: start.Add(-time.Hour)}, "an old hint": podmsg.Dirty{Container: "b1", At: start.Add(-time.Hour)}, "a strange hint": podmsg.Dirty{Container: "zz"},
		"an acknowledgement of nothing": podmsg.Acked{Gen: 99}, "tick": podmsg.Tick{}, "no such child": podmsg.ChildRestarted{Name: "zz"},
	} {
		r.on(ev)
		if got := brief(r.last); got != "" || StageOf(&r.s) != Running || r.words() != "" {
			t.Errorf("%s: %s, stage %v", name, got, StageOf(&r.s))
		}
	}
}

// TestUnread: the last status waits until it is known how every container ended, but not for ever.
func TestUnread(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways, "a")).runs()
	r.asksDelete(30)
	blind := func(v *model.ContainerView) { exited(0)(v); v.Current.Detailed = false }
	r.child("a", model.StageExited, blind)
	r.want(Ending, "StopSandbox(b1)") // it has ended: nothing is killed by this
	r.done(model.OutcomeOK)
	r.want(Ending, "")
	r.ends("a", 7)
	r.want(Ended, "Release DropVolumes DropCgroup RemoveSandbox(b1)")
}
