package containerplan

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// again brings the next instance up once its back-off is over, and says how long that took.
func (r *rig) again() time.Duration {
	r.t.Helper()
	began := r.now
	for range 5 {
		if r.s.Image.Asked {
			break
		}
		if r.s.Timer.IsZero() {
			r.t.Fatalf("it waits for nothing in stage %v", r.stage())
		}
		r.wait(r.s.Timer.Sub(r.now))
	}
	waited := r.now.Sub(began)
	r.image()
	r.created()
	r.started()
	return waited
}

// TestCrashLoop: the first restart is at once, then 10 s doubling to 300 s; a run of more than 600 s forgets.
func TestCrashLoop(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways)).up()
	for i, want := range []int{0, 10, 20, 40, 80, 160, 300, 300} {
		r.exits(1)
		if want > 0 {
			v := View(&r.s, r.now)
			if v.WaitingReason != ReasonCrashLoop || !strings.HasPrefix(v.WaitingMessage, "back-off "+(time.Duration(want)*time.Second).String()+" restarting failed container=c pod=p_n(u)") {
				t.Fatalf("restart %d shows %q: %q", i, v.WaitingReason, v.WaitingMessage)
			}
			if events(r.last) != "BackOff" {
				t.Fatalf("restart %d has events %q", i, events(r.last))
			}
		}
		if got := r.again(); got != time.Duration(want)*time.Second {
			t.Fatalf("restart %d waited %v, want %d s", i, got, want)
		}
		if r.s.RestartCount != int32(i+1) {
			t.Fatalf("restart count %d after %d restarts", r.s.RestartCount, i+1)
		}
	}
	r.wait(601 * time.Second)
	r.exits(1)
	if got := r.again(); got != 0 {
		t.Fatalf("after a long run it waited %v", got)
	}
}

// TestPolicies: who restarts after which end.
func TestPolicies(t *testing.T) {
	own := func(p v1.ContainerRestartPolicy, rules ...v1.ContainerRestartRule) func(*v1.Pod, *v1.Container) {
		return func(_ *v1.Pod, c *v1.Container) { c.RestartPolicy, c.RestartPolicyRules = &p, rules }
	}
	rule := func(a v1.ContainerRestartRuleAction, codes ...int32) v1.ContainerRestartRule {
		return v1.ContainerRestartRule{Action: a, ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: codes}}
	}
	for _, tc := range []struct {
		name     string
		pod      *v1.Pod
		code     int32
		settled  bool
		restarts bool
	}{
		{"always, 0", podOf(v1.RestartPolicyAlways), 0, false, false},
		{"always, 1", podOf(v1.RestartPolicyAlways), 1, false, false},
		{"on failure, 0", podOf(v1.RestartPolicyOnFailure), 0, true, false},
		{"on failure, 1", podOf(v1.RestartPolicyOnFailure), 1, false, false},
		{"never, 0", podOf(v1.RestartPolicyNever), 0, true, false},
		{"never, 1", podOf(v1.RestartPolicyNever), 1, true, false},
		{"own policy wins", podOf(v1.RestartPolicyAlways, own(v1.ContainerRestartPolicyNever)), 1, true, false},
		{"rule restarts", podOf(v1.RestartPolicyNever, own(v1.ContainerRestartPolicyNever, rule(v1.ContainerRestartRuleActionRestart, 42))), 42, false, false},
		{"rule of another code", podOf(v1.RestartPolicyNever, own(v1.ContainerRestartPolicyNever, rule(v1.ContainerRestartRuleActionRestart, 42))), 41, true, false},
		{"rule restarts all", podOf(v1.RestartPolicyNever, own(v1.ContainerRestartPolicyNever, rule(v1.ContainerRestartRuleActionRestartAllContainers, 42))), 42, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.pod).up()
			r.exits(tc.code)
			if v := View(&r.s, r.now); v.Settled != tc.settled || v.RestartAll != tc.restarts {
				t.Fatalf("settled %v, restart all %v", v.Settled, v.RestartAll)
			}
		})
	}
}

// TestKinds: init containers run once; ephemeral ones never again; sidecars always again.
func TestKinds(t *testing.T) {
	always := v1.ContainerRestartPolicyAlways
	pod := podOf(v1.RestartPolicyNever)
	pod.Spec.InitContainers = []v1.Container{{Name: "init", Image: "i"}, {Name: "side", Image: "i", RestartPolicy: &always}}
	pod.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "i"}}}
	for _, tc := range []struct {
		name    string
		kind    model.ContainerKind
		code    int32
		settled bool
	}{{"init", model.KindInit, 0, true}, {"init", model.KindInit, 1, true}, {"side", model.KindSidecar, 0, false}, {"side", model.KindSidecar, 1, false}, {"debug", model.KindEphemeral, 1, true}} {
		r := &rig{t: t, s: Rebuild(pod, tc.name, []model.Container{}, policy.CrashLoop(0)), now: start}
		if r.s.Kind != tc.kind {
			t.Fatalf("%s is %v", tc.name, r.s.Kind)
		}
		r.up()
		r.exits(tc.code)
		if r.s.Settled != tc.settled {
			t.Errorf("%s with exit code %d: settled %v", tc.name, tc.code, r.s.Settled)
		}
	}
}

// TestTargetAppears: what could not be made for want of its target is tried at once when there is one.
func TestTargetAppears(t *testing.T) {
	pod := podOf(v1.RestartPolicyNever)
	pod.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "i"}, TargetContainerName: "c"}}
	r := &rig{t: t, s: Rebuild(pod, "debug", []model.Container{}, policy.CrashLoop(0)), now: start}
	r.grant()
	r.image()
	r.done(model.OutcomeRefused, func(d *containermsg.Done) {
		d.Reason, d.Message = ReasonConfigError, "unable to find target container c"
	})
	r.want(model.StageBackoff, "")
	if got := events(r.last); !strings.Contains(got, "Failed") {
		t.Fatal(got)
	}
	if v := View(&r.s, r.now); v.WaitingReason != "CreateContainerConfigError" || v.WaitingMessage != "unable to find target container c" {
		t.Fatalf("waits for %s: %s", v.WaitingReason, v.WaitingMessage)
	}
	r.grant() // no news
	r.want(model.StageBackoff, "")
	r.on(containermsg.Grant{Sandbox: "b1", Seq: r.s.Seq + 1, Target: "c1"})
	r.want(model.StagePulling, "EnsureImage")
	r.image()
	if create, ok := r.last[0].(Create); !ok || create.Grant.Target != "c1" {
		t.Fatalf("%+v", r.last)
	}
}

// TestGrace: what is left of the grace goes to preStop and then to the stop; less than two seconds never.
func TestGrace(t *testing.T) {
	withHook := func(_ *v1.Pod, c *v1.Container) { c.Lifecycle = &v1.Lifecycle{PreStop: hook()} }
	t.Run("the hook takes from the grace", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways, withHook)).up()
		r.revoke(30 * time.Second)
		r.want(model.StageStopping, "PreStop(30s)")
		r.now = r.now.Add(12 * time.Second)
		r.done(model.OutcomeOK)
		r.want(model.StageStopping, "Stop(18s)")
	})
	t.Run("the hook uses it up", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways, withHook)).up()
		r.revoke(5 * time.Second)
		r.wait(5 * time.Second)
		r.want(model.StageStopping, "Cancel Stop(2s)")
		if r.on(containermsg.Done{Gen: r.s.Gen - 1, Op: containermsg.OpPreStop}); names(r.last) != "" {
			t.Fatalf("the cancelled hook's answer did %s", names(r.last))
		}
	})
	t.Run("no grace, no hook", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways, withHook)).up()
		r.revoke(0)
		r.want(model.StageStopping, "Stop(2s)")
	})
	t.Run("a shorter grace is a second stop, once", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways)).up()
		r.revoke(30 * time.Second)
		r.want(model.StageStopping, "Stop(30s)")
		r.now = r.now.Add(10 * time.Second)
		r.revoke(3 * time.Second)
		r.want(model.StageStopping, "Stop(3s)")
		r.now = r.now.Add(2 * time.Second)
		r.on(containermsg.Dirty{})
		r.want(model.StageStopping, "")
		r.revoke(60 * time.Second) // a longer one is not heard
		r.want(model.StageStopping, "")
	})
	t.Run("a probe has its own grace", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways, func(_ *v1.Pod, c *v1.Container) {
			c.LivenessProbe = probeSpec()
			c.LivenessProbe.TerminationGracePeriodSeconds = ptr(int64(7))
		})).up()
		r.on(liveness(r, false))
		r.want(model.StageStopping, "StopProbes Stop(7s)")
	})
	t.Run("a stop that fails is tried again, slower and slower", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways)).up()
		r.revoke(2 * time.Second)
		var waits []time.Duration
		for range 7 {
			r.done(model.OutcomeRefused)
			r.want(model.StageStopping, "ReadStatus")
			st := r.instance(model.ContainerRunning, 0)
			r.done(model.OutcomeOK, func(d *containermsg.Done) { d.Status, d.ReadAt = st, r.now })
			began := r.now
			r.wait(r.s.Timer.Sub(r.now))
			r.want(model.StageStopping, "Stop(2s)")
			waits = append(waits, r.now.Sub(began))
		}
		if waits[0] != time.Second || waits[1] != 2*time.Second || waits[6] != 30*time.Second {
			t.Fatalf("waited %v", waits)
		}
	})
}

// TestDoubt: an unknown outcome is looked at before anything else; the attempt stays the same.
func TestDoubt(t *testing.T) {
	doubt := func(t *testing.T) *rig {
		r := newRig(t, podOf(v1.RestartPolicyAlways))
		r.grant()
		r.image()
		r.want(model.StageCreating, "Create(0)")
		r.done(model.OutcomeUnknown)
		r.want(model.StageDoubt, "")
		return r
	}
	t.Run("looks slow down while they fail", func(t *testing.T) {
		r := doubt(t)
		var waits []time.Duration
		for range 7 {
			began := r.now
			r.wait(r.s.Timer.Sub(r.now))
			r.want(model.StageDoubt, "Find")
			waits = append(waits, r.now.Sub(began))
			r.done(model.OutcomeUnknown)
		}
		if waits[0] != 500*time.Millisecond || waits[1] != time.Second || waits[6] != 10*time.Second {
			t.Fatalf("waited %v", waits)
		}
	})
	t.Run("found", func(t *testing.T) {
		r := doubt(t)
		r.wait(time.Second)
		r.on(containermsg.Look{At: r.now, Instances: []model.Container{{ID: "x", Sandbox: "b1", Name: "c", State: model.ContainerCreated, CreatedAt: r.now}}})
		r.want(model.StageStarting, "Start")
	})
	t.Run("not there: the same attempt", func(t *testing.T) {
		r := doubt(t)
		r.wait(time.Second)
		r.on(containermsg.Look{At: r.now})
		r.want(model.StagePulling, "EnsureImage")
		r.image()
		r.want(model.StageCreating, "Create(0)")
	})
	t.Run("an old look tells nothing", func(t *testing.T) {
		r := doubt(t)
		r.on(containermsg.Look{At: r.now.Add(-time.Second)})
		r.want(model.StageDoubt, "")
	})
	t.Run("lost start", func(t *testing.T) {
		r := newRig(t, podOf(v1.RestartPolicyAlways))
		r.grant()
		r.image()
		r.created()
		r.done(model.OutcomeUnknown)
		r.want(model.StageDoubt, "")
		r.wait(r.s.Timer.Sub(r.now))
		r.want(model.StageDoubt, "ReadStatus")
		st := r.instance(model.ContainerRunning, 0)
		r.done(model.OutcomeOK, func(d *containermsg.Done) { d.Status, d.ReadAt = st, r.now })
		r.want(model.StageUp, "")
	})
}

// TestStartRefused: a runtime that leaves the container created is not asked again and again at once.
func TestStartRefused(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways))
	r.grant()
	r.image()
	r.created()
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		r.done(model.OutcomeRefused)
		st := r.instance(model.ContainerCreated, 0)
		r.done(model.OutcomeOK, func(d *containermsg.Done) { d.Status, d.ReadAt = st, r.now })
		if v := View(&r.s, r.now); v.WaitingReason != ReasonRunError {
			t.Fatalf("it shows %q", v.WaitingReason)
		}
		began := r.now
		r.wait(r.s.Timer.Sub(r.now))
		r.want(model.StageStarting, "Start")
		if got := r.now.Sub(began); got != want {
			t.Fatalf("try %d after %v", i, got)
		}
	}
}

// TestCreateRefused: the reason of the refusal shows, and tries slow down from a second to a minute.
func TestCreateRefused(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways))
	r.grant()
	for i := range 9 {
		r.image()
		r.want(model.StageCreating, "Create(0)")
		r.done(model.OutcomeRefused, func(d *containermsg.Done) { d.Reason, d.Message = ReasonConfigError, `secret "s" not found` })
		v := View(&r.s, r.now)
		if v.WaitingReason != ReasonConfigError || v.WaitingMessage != `secret "s" not found` || v.RetryAt.IsZero() {
			t.Fatalf("it shows %q: %q", v.WaitingReason, v.WaitingMessage)
		}
		if got, want := r.s.Timer.Sub(r.now), min(time.Second<<i, time.Minute); got != want {
			t.Fatalf("try %d after %v, want %v", i, got, want)
		}
		r.wait(r.s.Timer.Sub(r.now))
	}
}

// TestProbes: ready and started follow the probes of the current instance, and readiness goes on during the stop.
func TestProbes(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways, func(_ *v1.Pod, c *v1.Container) { c.StartupProbe, c.ReadinessProbe = probeSpec(), probeSpec() })).up()
	see := func(started, ready bool) {
		t.Helper()
		if v := View(&r.s, r.now); v.Started != started || v.Ready != ready {
			t.Fatalf("started %v, ready %v", v.Started, v.Ready)
		}
	}
	see(false, false)
	r.on(probeEvent(containermsg.Startup, true)(r))
	see(true, false)
	r.on(probeEvent(containermsg.Readiness, true)(r))
	see(true, true)
	r.revoke(30 * time.Second)
	see(true, true)
	r.on(probeEvent(containermsg.Readiness, false)(r))
	see(true, false)
	r.on(probeEvent(containermsg.Readiness, true)(r))
	r.exitsInStop(0)
	see(false, false)
	if names(r.last) != "StopProbes" {
		t.Fatalf("the readiness probe was left on: %q", names(r.last))
	}
	plain := newRig(t, podOf(v1.RestartPolicyAlways)).up()
	if v := View(&plain.s, plain.now); !v.Started || !v.Ready {
		t.Fatalf("without probes: started %v, ready %v", v.Started, v.Ready)
	}
}

// TestPostStart: until the hook has ended the container shows as waiting, is not probed and not ready; its failure stops it.
func TestPostStart(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyOnFailure, func(_ *v1.Pod, c *v1.Container) {
		c.Lifecycle = &v1.Lifecycle{PostStart: hook()}
		c.ReadinessProbe = probeSpec()
	}))
	r.grant()
	r.image()
	r.created()
	r.started()
	r.want(model.StageStarting, "PostStart")
	r.done(model.OutcomeRefused)
	r.want(model.StageStopping, "Stop(30s)")
	if got := events(r.last); got != "FailedPostStartHook Killing" {
		t.Fatalf("events %q", got)
	}
	r.exitsInStop(0) // killed by us: a failure whatever its code
	if r.s.Settled {
		t.Fatal("it stays down")
	}
	if v := View(&r.s, r.now); v.WaitingReason != ReasonPostStartError {
		t.Fatalf("it shows %q", v.WaitingReason)
	}
}

// TestAdoption: what is rebuilt from the runtime and the API goes on where it was.
func TestAdoption(t *testing.T) {
	pod := podOf(v1.RestartPolicyAlways, func(_ *v1.Pod, c *v1.Container) {
		c.Lifecycle = &v1.Lifecycle{PostStart: hook()}
		c.ReadinessProbe = probeSpec()
	})
	hash := Hash(&pod.Spec.Containers[0])
	running := model.Container{ID: "x", Sandbox: "b1", Name: "c", State: model.ContainerRunning, CreatedAt: start, Attempt: 2,
		Annotations: map[string]string{AnnotationHash: hash, AnnotationRestartCount: "2"}}
	old := model.Container{ID: "w", Sandbox: "b1", Name: "c", State: model.ContainerExited, CreatedAt: start.Add(-time.Hour), Attempt: 1}
	older := model.Container{ID: "v", Sandbox: "b1", Name: "c", State: model.ContainerExited, CreatedAt: start.Add(-2 * time.Hour)}
	status := func(id string, running bool) v1.ContainerStatus {
		st := v1.ContainerStatus{Name: "c", ContainerID: "containerd://" + id, RestartCount: 2, Ready: true, Started: ptr(true)}
		if running {
			st.State.Running = &v1.ContainerStateRunning{}
		}
		return st
	}
	t.Run("ready stays ready, and the hook does not run again", func(t *testing.T) {
		pod := pod.DeepCopy()
		pod.Status.ContainerStatuses = []v1.ContainerStatus{status("x", true)}
		r := &rig{t: t, s: Rebuild(pod, "c", []model.Container{running, old, older}, policy.CrashLoop(0)), now: start}
		v := View(&r.s, r.now)
		if v.Stage != model.StageUp || !v.Ready || !v.Started || v.RestartCount != 2 || v.Last == nil || v.Last.ID != "w" {
			t.Fatalf("%+v", v)
		}
		r.on(containermsg.Tick{})
		r.want(model.StageUp, "ReadStatus")
	})
	t.Run("the hook runs again when nobody knows that it did", func(t *testing.T) {
		r := &rig{t: t, s: Rebuild(pod, "c", []model.Container{running}, policy.CrashLoop(0)), now: start}
		r.on(containermsg.Tick{})
		st := r.instance(model.ContainerRunning, 0)
		r.done(model.OutcomeOK, func(d *containermsg.Done) { d.Status, d.ReadAt = st, r.now })
		r.want(model.StageStarting, "PostStart")
	})
	t.Run("another instance is not what the API calls ready", func(t *testing.T) {
		pod := pod.DeepCopy()
		pod.Status.ContainerStatuses = []v1.ContainerStatus{status("other", true)}
		s := Rebuild(pod, "c", []model.Container{running}, policy.CrashLoop(0))
		if s.Ready || s.Started {
			t.Fatal("ready")
		}
	})
	t.Run("vanished while running: 137", func(t *testing.T) {
		pod := pod.DeepCopy()
		pod.Status.ContainerStatuses = []v1.ContainerStatus{status("x", true)}
		s := Rebuild(pod, "c", []model.Container{}, policy.CrashLoop(0))
		if s.Cur == nil || s.Cur.ExitCode != 137 || s.Cur.Reason != ReasonStatusUnknown || s.NextCount != 3 {
			t.Fatalf("%+v", s.Cur)
		}
	})
	t.Run("removed after it had ended: as the API says", func(t *testing.T) {
		pod := pod.DeepCopy()
		st := status("x", false)
		st.State.Terminated = &v1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}
		pod.Status.ContainerStatuses = []v1.ContainerStatus{st}
		s := Rebuild(pod, "c", []model.Container{}, policy.CrashLoop(0))
		if s.Cur == nil || s.Cur.ExitCode != 3 || s.Cur.ID != "x" {
			t.Fatalf("%+v", s.Cur)
		}
	})
	t.Run("nobody knows what runs: it looks before it does anything", func(t *testing.T) {
		pod := pod.DeepCopy()
		pod.Status.ContainerStatuses = []v1.ContainerStatus{status("x", true)}
		r := &rig{t: t, s: Rebuild(pod, "c", nil, policy.CrashLoop(0)), now: start}
		if !View(&r.s, r.now).Live() {
			t.Fatal("it may run, and counts as ended")
		}
		r.grant()
		r.want(model.StageDoubt, "Find")
		r.on(containermsg.Look{At: r.now, Instances: []model.Container{running, old}})
		r.want(model.StageUp, "ReadStatus")
		if !r.s.Ready || r.s.RestartCount != 2 {
			t.Fatalf("ready %v, restart count %d", r.s.Ready, r.s.RestartCount)
		}
	})
	t.Run("a created one is started if it fits", func(t *testing.T) {
		made := running
		made.State = model.ContainerCreated
		r := &rig{t: t, s: Rebuild(pod, "c", []model.Container{made}, policy.CrashLoop(0)), now: start}
		r.grant()
		r.want(model.StageStarting, "Start")
		r = &rig{t: t, s: Rebuild(pod, "c", []model.Container{made}, policy.CrashLoop(0)), now: start}
		r.on(containermsg.Grant{Sandbox: "b2", Seq: 2})
		r.want(model.StageStarting, "Remove")
		made.Annotations = map[string]string{AnnotationHash: "another"}
		r = &rig{t: t, s: Rebuild(pod, "c", []model.Container{made}, policy.CrashLoop(0)), now: start}
		r.grant()
		r.want(model.StageStarting, "Remove")
	})
}

// TestOldInstances: of the instances that ended the newest two stay.
func TestOldInstances(t *testing.T) {
	r := newRig(t, podOf(v1.RestartPolicyAlways)).up()
	removed := map[model.ContainerID]bool{}
	for range 5 {
		r.exits(1)
		for r.stage() != model.StageUp {
			switch {
			case r.s.Image.Asked:
				r.image()
			case r.s.Op == containermsg.OpCreate:
				r.created()
			case r.s.Op == containermsg.OpStart:
				r.started()
			default:
				r.wait(r.s.Timer.Sub(r.now))
			}
			for _, a := range r.last {
				if x, ok := a.(Remove); ok {
					removed[x.ID] = true
				}
			}
		}
	}
	for _, id := range []model.ContainerID{"c1", "c2", "c3", "c4"} {
		if !removed[id] {
			t.Errorf("%s was left", id)
		}
	}
	if removed["c5"] || removed["c6"] {
		t.Errorf("removed %v", removed)
	}
}

// TestHash holds the kubelet's own values: they decide whether a container survives a change of agents.
func TestHash(t *testing.T) {
	for _, tc := range hashes {
		if got := Hash(&v1.Container{Name: tc.name, Image: tc.image}); got != tc.hash {
			t.Errorf("hash of %s, %s: %s, want %s", tc.name, tc.image, got, tc.hash)
		}
	}
}

// hashes were computed with the kubelet 1.36.3's own code (container.HashContainer, in the hex of its annotation).
var hashes = []struct{ name, image, hash string }{
	{"c", "image", "a5734e8a"},
	{"nginx", "docker.io/library/nginx:1.27", "96d3bc94"},
	{"a", "registry.example/x@sha256:0123456789abcdef", "3bf4637e"},
	{"web-1", "<a&b>\"ü\"", "6293bd77"},
	{"", "", "edd67cc4"},
}
