package podstatus

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/model"
)

var (
	t0   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	node = Node{HostIPs: []string{"192.0.2.1", "2001:db8::1"}, RuntimeName: "containerd"}
)

func ptr[T any](v T) *T { return &v }

// world is a pod's plan in some state, put together by hand.
type world struct {
	pod  *v1.Pod
	s    podplan.State
	prev v1.PodStatus
}

func newWorld(restart v1.RestartPolicy, apps ...string) *world {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u", Generation: 3}}
	p.Spec.RestartPolicy = restart
	for _, name := range apps {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: name, Image: "image"})
	}
	w := &world{pod: p, s: podplan.New(p, false)}
	w.s.StartTime, w.s.Listed, w.s.Admission, w.s.Volumes = t0, true, podplan.AdmissionGranted, podplan.Held
	w.s.Sandbox = &model.Sandbox{ID: "b1", State: model.SandboxReady, Detailed: true, IPs: []string{"10.0.0.5", "fd00::5"}}
	for _, name := range apps {
		w.view(name, model.KindApp, model.StageHeld)
	}
	return w
}

func (w *world) init(name string, sidecar bool) *world {
	c, kind := v1.Container{Name: name, Image: "image"}, model.KindInit
	if sidecar {
		c.RestartPolicy, kind = ptr(v1.ContainerRestartPolicyAlways), model.KindSidecar
	}
	w.pod.Spec.InitContainers = append(w.pod.Spec.InitContainers, c)
	return w.view(name, kind, model.StageHeld)
}

func (w *world) view(name string, kind model.ContainerKind, stage model.ContainerStage, edit ...func(*model.ContainerView)) *world {
	v := model.ContainerView{Name: name, Kind: kind, Stage: stage, Seq: 1}
	if old, known := w.s.Views[name]; known {
		v.Kind = old.Kind
	}
	for _, e := range edit {
		e(&v)
	}
	w.s.Views[name] = v
	return w
}

func (w *world) running(name string, ready bool) *world {
	return w.view(name, 0, model.StageUp, func(v *model.ContainerView) {
		v.Current = &model.Container{ID: model.ContainerID("id-" + name), Sandbox: "b1", State: model.ContainerRunning, StartedAt: t0, Detailed: true, Image: "image", ImageRef: "image@sha256:1"}
		v.Started, v.Ready = true, ready
	})
}

func (w *world) exited(name string, code int32, settled bool) *world {
	return w.view(name, 0, model.StageDone, func(v *model.ContainerView) {
		v.Current = &model.Container{ID: model.ContainerID("id-" + name), Sandbox: "b1", State: model.ContainerExited, ExitCode: code, StartedAt: t0, FinishedAt: t0, Detailed: true}
		v.Settled = settled
	})
}

// waiting is a container that waits with a reason after it ended.
func (w *world) waiting(name, reason string, code int32) *world {
	w.exited(name, code, false)
	v := w.s.Views[name]
	v.Stage, v.WaitingReason, v.WaitingMessage = model.StageBackoff, reason, "because"
	w.s.Views[name] = v
	return w
}

// ended puts the pod at the end: everything has stopped.
func (w *world) ended(why podplan.EndReason) *world {
	w.s.End = &podplan.End{Why: why, Reason: "Evicted", Message: "low", Over: true}
	w.s.Stopped["b1"] = true
	return w
}

func (w *world) build() v1.PodStatus {
	return Build(&w.s, node, &w.prev, t0.Add(time.Minute))
}

func cond(st v1.PodStatus, t v1.PodConditionType) v1.PodCondition {
	for _, c := range st.Conditions {
		if c.Type == t {
			return c
		}
	}
	return v1.PodCondition{}
}

// TestPhase holds the kubelet's rules (getPhase, and what the status manager makes of it).
func TestPhase(t *testing.T) {
	always, onFailure, never := v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever
	for _, tc := range []struct {
		name  string
		w     *world
		phase v1.PodPhase
	}{
		{"nothing runs yet", newWorld(always, "a"), v1.PodPending},
		{"one of two runs", newWorld(always, "a", "b").running("a", true), v1.PodPending},
		{"all run", newWorld(always, "a", "b").running("a", true).running("b", false), v1.PodRunning},
		{"one runs, one has ended", newWorld(never, "a", "b").running("a", true).exited("b", 1, true), v1.PodRunning},
		{"all ended, all come again", newWorld(always, "a").exited("a", 0, false), v1.PodRunning},
		{"crash loop", newWorld(always, "a").waiting("a", "CrashLoopBackOff", 1), v1.PodRunning},
		{"on failure, one failed", newWorld(onFailure, "a", "b").exited("a", 0, true).waiting("b", "CrashLoopBackOff", 1), v1.PodRunning},
		{"image error", newWorld(always, "a").view("a", 0, model.StageBackoff, func(v *model.ContainerView) { v.WaitingReason = "ErrImagePull" }), v1.PodPending},
		{"init runs", newWorld(always, "a").init("i", false).running("i", false), v1.PodPending},
		{"init has ended, app waits", newWorld(always, "a").init("i", false).exited("i", 0, true), v1.PodPending},
		{"init fails and comes again", newWorld(always, "a").init("i", false).waiting("i", "CrashLoopBackOff", 1), v1.PodPending},
		{"sidecar not started", newWorld(always, "a").init("s", true).view("s", 0, model.StageUp, func(v *model.ContainerView) {
			v.Current = &model.Container{ID: "x", State: model.ContainerRunning, StartedAt: t0, Detailed: true}
		}), v1.PodPending},
		{"sidecar and app run", newWorld(always, "a").init("s", true).running("s", true).running("a", true), v1.PodRunning},
		{"sidecar crashes beside the app", newWorld(always, "a").init("s", true).waiting("s", "CrashLoopBackOff", 1).running("a", true), v1.PodRunning},
		{"sidecar runs on after the app", newWorld(never, "a").init("s", true).running("s", true).exited("a", 0, true), v1.PodRunning},
		{"ended well", newWorld(never, "a", "b").exited("a", 0, true).exited("b", 0, true).ended(podplan.EndCompleted), v1.PodSucceeded},
		{"ended well, sidecar killed", newWorld(never, "a").init("s", true).exited("s", 137, true).exited("a", 0, true).ended(podplan.EndCompleted), v1.PodSucceeded},
		{"ended badly", newWorld(never, "a", "b").exited("a", 0, true).exited("b", 2, true).ended(podplan.EndCompleted), v1.PodFailed},
		{"init failed for good", newWorld(never, "a").init("i", false).exited("i", 1, true).ended(podplan.EndCompleted), v1.PodFailed},
		{"deleted while it ran well", newWorld(always, "a").exited("a", 0, true).ended(podplan.EndDeleted), v1.PodSucceeded},
		{"deleted, killed", newWorld(always, "a").exited("a", 137, true).ended(podplan.EndDeleted), v1.PodFailed},
		{"deleted before it ran", newWorld(always, "a").ended(podplan.EndDeleted), v1.PodFailed},
		{"evicted although it ended well", newWorld(always, "a").exited("a", 0, true).ended(podplan.EndNode), v1.PodFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.w.build(); got.Phase != tc.phase {
				t.Fatalf("phase %s, want %s", got.Phase, tc.phase)
			}
		})
	}
}

// TestPhaseSticks: what was said before limits what is said now.
func TestPhaseSticks(t *testing.T) {
	t.Run("terminal only when nothing runs any more", func(t *testing.T) {
		w := newWorld(v1.RestartPolicyNever, "a").exited("a", 0, true)
		w.prev.Phase = v1.PodRunning
		w.s.End = &podplan.End{Why: podplan.EndCompleted} // the sandbox has not stopped
		if got := w.build(); got.Phase != v1.PodRunning {
			t.Fatalf("phase %s", got.Phase)
		}
	})
	t.Run("evicted, still running", func(t *testing.T) {
		w := newWorld(v1.RestartPolicyAlways, "a").running("a", true)
		w.prev.Phase = v1.PodRunning
		w.s.End = &podplan.End{Why: podplan.EndNode, Reason: "Evicted", Message: "low", Condition: &v1.PodCondition{Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: "TerminationByKubelet"}}
		got := w.build()
		if got.Phase != v1.PodRunning || got.Reason != "" || cond(got, v1.DisruptionTarget).Type != "" {
			t.Fatalf("phase %s, reason %q, %v", got.Phase, got.Reason, got.Conditions)
		}
		c := w.s.End.Condition
		w.exited("a", 143, true).ended(podplan.EndNode)
		w.s.End.Condition = c
		got = w.build()
		if got.Phase != v1.PodFailed || got.Reason != "Evicted" || got.Message != "low" || cond(got, v1.DisruptionTarget).Status != v1.ConditionTrue {
			t.Fatalf("phase %s, reason %q, %v", got.Phase, got.Reason, got.Conditions)
		}
		w.prev = got
		if again := w.build(); again.Reason != "Evicted" || again.Message != "low" {
			t.Fatalf("the reason is lost: %q", again.Reason)
		}
	})
	for _, phase := range []v1.PodPhase{v1.PodSucceeded, v1.PodFailed} {
		w := newWorld(v1.RestartPolicyAlways, "a").running("a", true)
		w.prev.Phase = phase
		if got := w.build(); got.Phase != phase {
			t.Errorf("%s, as was said before, became %s", phase, got.Phase)
		}
		w = newWorld(v1.RestartPolicyAlways, "a").running("a", true)
		w.prev.Phase, w.pod.Status.Phase, w.pod.Status.Reason, w.pod.Status.Message = v1.PodRunning, phase, "Evicted", "low"
		if got := w.build(); got.Phase != phase || got.Reason != "Evicted" || got.Message != "low" {
			t.Errorf("%s, as the API has it, became %s, %q", phase, got.Phase, got.Reason)
		}
	}
	t.Run("Running stays although init runs again in a new sandbox", func(t *testing.T) {
		w := newWorld(v1.RestartPolicyAlways, "a").init("i", false).running("i", false).exited("a", 137, false)
		w.prev.Phase = v1.PodRunning
		if got := w.build(); got.Phase != v1.PodRunning {
			t.Fatalf("phase %s", got.Phase)
		}
	})
}

// TestConditions holds reasons and messages, which are an interface.
func TestConditions(t *testing.T) {
	type want struct {
		t               v1.PodConditionType
		status          v1.ConditionStatus
		reason, message string
	}
	yes, no := v1.ConditionTrue, v1.ConditionFalse
	gated := newWorld(v1.RestartPolicyAlways, "a").running("a", true)
	gated.pod.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "x/one"}, {ConditionType: "x/two"}}
	gated.pod.Status.Conditions = []v1.PodCondition{{Type: "x/two", Status: no}}
	down := newWorld(v1.RestartPolicyAlways, "a")
	down.s.Sandbox = nil
	unmounted := newWorld(v1.RestartPolicyAlways, "a")
	unmounted.s.Volumes = podplan.Asked
	for _, tc := range []struct {
		name string
		w    *world
		want []want
	}{
		{"new", down, []want{
			{v1.PodReadyToStartContainers, no, "", ""}, {v1.PodInitialized, yes, "", ""},
			{v1.PodReady, no, "ContainersNotReady", "containers with unready status: [a]"},
			{v1.ContainersReady, no, "ContainersNotReady", "containers with unready status: [a]"}, {v1.PodScheduled, yes, "", ""}}},
		{"sandbox without volumes", unmounted, []want{{v1.PodReadyToStartContainers, no, "", ""}}},
		{"sandbox and volumes", newWorld(v1.RestartPolicyAlways, "a"), []want{{v1.PodReadyToStartContainers, yes, "", ""}}},
		{"one unready", newWorld(v1.RestartPolicyAlways, "a", "b", "c").running("a", true).running("b", false), []want{
			{v1.PodReady, no, "ContainersNotReady", "containers with unready status: [b c]"}}},
		{"ready", newWorld(v1.RestartPolicyAlways, "a").running("a", true), []want{{v1.PodReady, yes, "", ""}, {v1.ContainersReady, yes, "", ""}}},
		{"unready sidecar", newWorld(v1.RestartPolicyAlways, "a").init("s", true).running("s", false).running("a", true), []want{
			{v1.PodReady, no, "ContainersNotReady", "containers with unready status: [s]"}, {v1.PodInitialized, yes, "", ""}}},
		{"initializing", newWorld(v1.RestartPolicyAlways, "a").init("i", false).init("j", false).running("i", false), []want{
			{v1.PodInitialized, no, "ContainersNotInitialized", "containers with incomplete status: [i j]"}}},
		{"half initialized", newWorld(v1.RestartPolicyAlways, "a").init("i", false).init("j", false).exited("i", 0, true), []want{
			{v1.PodInitialized, no, "ContainersNotInitialized", "containers with incomplete status: [j]"}}},
		{"gates", gated, []want{
			{v1.PodReady, no, "ReadinessGatesNotReady", `corresponding condition of pod readiness gate "x/one" does not exist., the status of pod readiness gate "x/two" is not "True", but False`},
			{v1.ContainersReady, yes, "", ""}, {"x/two", no, "", ""}}},
		{"completed", newWorld(v1.RestartPolicyNever, "a").exited("a", 0, true).ended(podplan.EndCompleted), []want{
			{v1.PodReadyToStartContainers, no, "", ""}, {v1.PodInitialized, yes, "PodCompleted", ""},
			{v1.PodReady, no, "PodCompleted", ""}, {v1.ContainersReady, no, "PodCompleted", ""}}},
		{"failed", newWorld(v1.RestartPolicyNever, "a").exited("a", 1, true).ended(podplan.EndCompleted), []want{
			{v1.PodReady, no, "PodFailed", ""}, {v1.ContainersReady, no, "PodFailed", ""}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := tc.w.build()
			for _, x := range tc.want {
				got := cond(st, x.t)
				if got.Status != x.status || got.Reason != x.reason || got.Message != x.message {
					t.Errorf("%s is %s %q %q, want %s %q %q", x.t, got.Status, got.Reason, got.Message, x.status, x.reason, x.message)
				}
				if owned(x.t) && got.ObservedGeneration != 3 {
					t.Errorf("%s observed generation %d", x.t, got.ObservedGeneration)
				}
			}
			if st.ObservedGeneration != 3 {
				t.Errorf("observed generation %d", st.ObservedGeneration)
			}
		})
	}
}

// TestTransitionTimes: a condition keeps its time while its status is the same; reasons may change in between.
func TestTransitionTimes(t *testing.T) {
	w := newWorld(v1.RestartPolicyAlways, "a", "b")
	first := w.build()
	w.prev = first
	w.running("a", true)
	second := Build(&w.s, node, &w.prev, t0.Add(2*time.Minute))
	if a, b := cond(first, v1.PodReady), cond(second, v1.PodReady); !a.LastTransitionTime.Equal(&b.LastTransitionTime) || a.Message == b.Message {
		t.Fatalf("%v, then %v", a, b)
	}
	w.prev = second
	w.running("b", true)
	third := Build(&w.s, node, &w.prev, t0.Add(3*time.Minute+500*time.Millisecond))
	if got := cond(third, v1.PodReady).LastTransitionTime.Time; !got.Equal(t0.Add(3 * time.Minute)) {
		t.Fatalf("ready since %v", got)
	}
}

// TestRestartingAll: the condition is there for pods that have such a rule, and true during the round.
func TestRestartingAll(t *testing.T) {
	w := newWorld(v1.RestartPolicyNever, "a").running("a", true)
	if cond(w.build(), v1.AllContainersRestarting).Type != "" {
		t.Fatal("a pod without such a rule has the condition")
	}
	w.pod.Spec.Containers[0].RestartPolicyRules = []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleActionRestartAllContainers}}
	if c := cond(w.build(), v1.AllContainersRestarting); c.Status != v1.ConditionFalse {
		t.Fatalf("%v", c)
	}
	w.s.Round = &podplan.Round{}
	if c := cond(w.build(), v1.AllContainersRestarting); c.Status != v1.ConditionTrue || c.Reason != "RestartAllContainersStarted" {
		t.Fatalf("%v", c)
	}
	w.s.Round = &podplan.Round{NewSandbox: true}
	if c := cond(w.build(), v1.AllContainersRestarting); c.Status != v1.ConditionFalse {
		t.Fatalf("%v", c)
	}
}

// TestContainerStates: what a reader sees of one container.
func TestContainerStates(t *testing.T) {
	find := func(st v1.PodStatus, name string) v1.ContainerStatus {
		for _, list := range [][]v1.ContainerStatus{st.ContainerStatuses, st.InitContainerStatuses, st.EphemeralContainerStatuses} {
			for _, c := range list {
				if c.Name == name {
					return c
				}
			}
		}
		t.Fatalf("%s has no status", name)
		return v1.ContainerStatus{}
	}
	t.Run("not yet", func(t *testing.T) {
		c := find(newWorld(v1.RestartPolicyAlways, "a").build(), "a")
		if c.State.Waiting == nil || c.State.Waiting.Reason != "ContainerCreating" || c.Ready || c.Started == nil || *c.Started || c.Image != "image" {
			t.Fatalf("%+v", c)
		}
		c = find(newWorld(v1.RestartPolicyAlways, "a").init("i", false).build(), "a")
		if c.State.Waiting == nil || c.State.Waiting.Reason != "PodInitializing" {
			t.Fatalf("%+v", c)
		}
	})
	t.Run("running", func(t *testing.T) {
		c := find(newWorld(v1.RestartPolicyAlways, "a").running("a", true).build(), "a")
		if c.State.Running == nil || !c.Ready || !*c.Started || c.ContainerID != "containerd://id-a" || c.ImageID != "image@sha256:1" || !c.State.Running.StartedAt.Time.Equal(t0) {
			t.Fatalf("%+v", c)
		}
	})
	t.Run("crash loop", func(t *testing.T) {
		w := newWorld(v1.RestartPolicyAlways, "a").waiting("a", "CrashLoopBackOff", 3)
		c := find(w.build(), "a")
		if c.State.Waiting == nil || c.State.Waiting.Reason != "CrashLoopBackOff" || c.State.Waiting.Message != "because" || c.LastTerminationState.Terminated.ExitCode != 3 {
			t.Fatalf("%+v", c)
		}
	})
	t.Run("ended, before its restart is due", func(t *testing.T) {
		c := find(newWorld(v1.RestartPolicyAlways, "a").exited("a", 3, false).build(), "a")
		if c.State.Terminated == nil || c.State.Terminated.ExitCode != 3 || c.State.Terminated.ContainerID != "containerd://id-a" || c.Ready {
			t.Fatalf("%+v", c)
		}
	})
	t.Run("init", func(t *testing.T) {
		w := newWorld(v1.RestartPolicyAlways, "a").init("i", false).running("i", true)
		if c := find(w.build(), "i"); c.Ready {
			t.Fatal("an init container that runs is ready")
		}
		if c := find(w.exited("i", 0, true).build(), "i"); !c.Ready {
			t.Fatal("an init container that ended well is not ready")
		}
		if c := find(w.exited("i", 1, true).build(), "i"); c.Ready {
			t.Fatal("an init container that failed is ready")
		}
		w.view("i", 0, model.StageHeld).running("a", true)
		if c := find(w.build(), "i"); c.State.Terminated == nil || c.State.Terminated.Reason != "Completed" || !c.Ready {
			t.Fatalf("an init container that was removed after it ended shows %+v", c)
		}
	})
	t.Run("the end is not known in detail", func(t *testing.T) {
		w := newWorld(v1.RestartPolicyAlways, "a").running("a", true)
		w.prev = w.build()
		v := w.s.Views["a"]
		gone := *v.Current
		gone.State, gone.Detailed = model.ContainerExited, false
		v.Stage, v.Current = model.StageExited, &gone
		w.s.Views["a"] = v
		if c := find(w.build(), "a"); c.State.Running == nil || c.Ready {
			t.Fatalf("%+v", c)
		}
	})
	t.Run("adopted, before it was read", func(t *testing.T) {
		w := newWorld(v1.RestartPolicyAlways, "a").running("a", true)
		w.prev = w.build()
		v := w.s.Views["a"]
		listed := model.Container{ID: v.Current.ID, State: model.ContainerRunning}
		v.Current = &listed
		w.s.Views["a"] = v
		if c := find(w.build(), "a"); c.State.Running == nil || c.State.Running.StartedAt.IsZero() || !c.Ready {
			t.Fatalf("%+v", c)
		}
	})
	t.Run("the restart count and the last end survive what the runtime forgot", func(t *testing.T) {
		w := newWorld(v1.RestartPolicyAlways, "a").running("a", true)
		w.prev.ContainerStatuses = []v1.ContainerStatus{{Name: "a", ContainerID: "containerd://older", RestartCount: 7,
			State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: 9}}}}
		if c := find(w.build(), "a"); c.RestartCount != 7 || c.LastTerminationState.Terminated == nil || c.LastTerminationState.Terminated.ExitCode != 9 {
			t.Fatalf("%+v", c)
		}
	})
	t.Run("an end that was made up is nobody's last one", func(t *testing.T) {
		w := newWorld(v1.RestartPolicyAlways, "a").exited("a", 0, true)
		w.prev.ContainerStatuses = []v1.ContainerStatus{{Name: "a",
			State:                v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown"}},
			LastTerminationState: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: 9, ContainerID: "containerd://older"}}}}
		if c := find(w.build(), "a"); c.LastTerminationState.Terminated == nil || c.LastTerminationState.Terminated.ExitCode != 9 {
			t.Fatalf("%+v", c)
		}
	})
	t.Run("ephemeral", func(t *testing.T) {
		w := newWorld(v1.RestartPolicyAlways, "a").running("a", true)
		w.pod.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "e", Image: "image"}}}
		w.view("e", model.KindEphemeral, model.StageHeld).running("e", true)
		if c := find(w.build(), "e"); c.State.Running == nil || c.Ready || c.Started != nil {
			t.Fatalf("%+v", c)
		}
	})
	t.Run("sorted", func(t *testing.T) {
		st := newWorld(v1.RestartPolicyAlways, "z", "a").init("y", false).init("b", false).build()
		if st.ContainerStatuses[0].Name != "a" || st.InitContainerStatuses[0].Name != "y" {
			t.Fatal("app statuses go by name, init statuses by turn")
		}
	})
}

// TestClosing: which containers of a pod that has ended show as ended, and which keep waiting.
func TestClosing(t *testing.T) {
	states := func(w *world) string {
		st := w.ended(podplan.EndDeleted).build()
		var out []string
		for _, list := range [][]v1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses} {
			for _, c := range list {
				switch {
				case c.State.Terminated != nil && c.State.Terminated.Reason == "ContainerStatusUnknown" && c.State.Terminated.ExitCode == 137:
					out = append(out, c.Name+"=lost")
				case c.State.Terminated != nil:
					out = append(out, c.Name+"=ended")
				case c.State.Waiting != nil:
					out = append(out, c.Name+"=waiting")
				default:
					out = append(out, c.Name+"=running")
				}
			}
		}
		return strings.Join(out, " ")
	}
	for _, tc := range []struct {
		name string
		w    *world
		want string
	}{
		{"never ran", newWorld(v1.RestartPolicyAlways, "a", "b"), "a=lost b=lost"},
		{"one ran", newWorld(v1.RestartPolicyAlways, "a", "b").exited("a", 0, true), "a=ended b=lost"},
		{"never initialized", newWorld(v1.RestartPolicyAlways, "a").init("i", false).init("j", false), "i=lost j=waiting a=waiting"},
		{"half initialized", newWorld(v1.RestartPolicyAlways, "a").init("i", false).init("j", false).init("k", false).exited("i", 0, true).exited("j", 1, true), "i=ended j=ended k=waiting a=waiting"},
		{"initialized", newWorld(v1.RestartPolicyAlways, "a").init("i", false).exited("i", 0, true), "i=ended a=lost"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := states(tc.w); got != tc.want {
				t.Fatalf("%s, want %s", got, tc.want)
			}
		})
	}
}

// TestRefused: a pod that was not taken is Failed with the reason, and no container has a status.
func TestRefused(t *testing.T) {
	w := newWorld(v1.RestartPolicyAlways, "a")
	w.s.StartTime = time.Time{}
	w.s.End = &podplan.End{Why: podplan.EndRefused, Reason: "OutOfcpu", Message: "Pod was rejected: no"}
	w.prev.Conditions = []v1.PodCondition{{Type: "x/foreign", Status: v1.ConditionTrue}}
	st := w.build()
	if st.Phase != v1.PodFailed || st.Reason != "OutOfcpu" || st.Message != "Pod was rejected: no" || st.StartTime == nil || len(st.ContainerStatuses) != 0 || st.QOSClass != v1.PodQOSBestEffort || st.ObservedGeneration != 3 {
		t.Fatalf("%+v", st)
	}
	if cond(st, "x/foreign").Status != v1.ConditionTrue {
		t.Fatal("a condition of others is lost")
	}
}

func TestAddresses(t *testing.T) {
	w := newWorld(v1.RestartPolicyAlways, "a")
	st := w.build()
	if st.PodIP != "10.0.0.5" || len(st.PodIPs) != 2 || st.PodIPs[1].IP != "fd00::5" || st.HostIP != "192.0.2.1" || len(st.HostIPs) != 2 {
		t.Fatalf("%+v", st)
	}
	w.prev = st
	w.s.Sandbox = nil // lost: the addresses stay until there are others
	if got := w.build(); got.PodIP != "10.0.0.5" || len(got.PodIPs) != 2 {
		t.Fatalf("%+v", got)
	}
	host := newWorld(v1.RestartPolicyAlways, "a")
	host.pod.Spec.HostNetwork = true
	host.s.Sandbox = nil
	if got := host.build(); got.PodIP != "192.0.2.1" || len(got.PodIPs) != 2 {
		t.Fatalf("%+v", got)
	}
}

// TestStable: built twice from the same, nothing differs; and nothing of the input is changed.
func TestStable(t *testing.T) {
	w := newWorld(v1.RestartPolicyAlways, "a", "b").init("i", false).exited("i", 0, true).running("a", true).waiting("b", "CrashLoopBackOff", 1)
	w.pod.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "v", MountPath: "/v", ReadOnly: true}}
	pod := w.pod.DeepCopy()
	w.prev = w.build()
	kept := *w.prev.DeepCopy()
	again := Build(&w.s, node, &w.prev, t0.Add(time.Hour))
	if d := cmp.Diff(w.prev, again); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(kept, w.prev); d != "" {
		t.Fatal("the previous status was changed", d)
	}
	if d := cmp.Diff(pod, w.pod); d != "" {
		t.Fatal("the pod was changed", d)
	}
	// The API's echo of what we say changes nothing either: otherwise the two would chase each other.
	echo := w.pod.DeepCopy()
	echo.Status = *again.DeepCopy()
	w.s.Pod = echo
	if d := cmp.Diff(w.prev, w.build()); d != "" {
		t.Fatal(d)
	}
}

func BenchmarkBuild(b *testing.B) {
	w := newWorld(v1.RestartPolicyAlways, "a", "b").running("a", true).running("b", true)
	w.prev = w.build()
	b.ReportAllocs()
	for b.Loop() {
		w.build()
	}
}
