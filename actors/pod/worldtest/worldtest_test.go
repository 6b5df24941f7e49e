package worldtest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

var (
	worlds = flag.Int("worlds", 150, "number of random worlds; thousands find what hundreds do not")
	seed   = flag.Uint64("seed", 0, "first seed of the random worlds")
)

func ptr[T any](v T) *T { return &v }

// makePod draws a pod.
func (w *world) makePod() *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u", Generation: 1, CreationTimestamp: metav1.NewTime(epoch)}}
	pod.Status.Phase = v1.PodPending
	pod.Spec.RestartPolicy = []v1.RestartPolicy{v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever}[w.pick(3)]
	pod.Spec.TerminationGracePeriodSeconds = ptr(int64([]int{30, 1, 5, 0}[w.pick(4)]))
	handler := &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"x"}}}
	probe := &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"x"}}}}
	fill := func(c *v1.Container) {
		c.Image, c.ImagePullPolicy = "image", v1.PullIfNotPresent
		var l v1.Lifecycle
		if w.chance(20) {
			l.PostStart = handler
		}
		if w.chance(25) {
			l.PreStop = handler
		}
		if l != (v1.Lifecycle{}) {
			c.Lifecycle = &l
		}
		if w.chance(30) {
			c.ReadinessProbe = probe
		}
		if w.chance(25) {
			c.StartupProbe = probe
		}
		if w.chance(25) {
			c.LivenessProbe = probe
		}
	}
	rules := func(c *v1.Container) {
		if w.chance(25) {
			c.RestartPolicy = ptr([]v1.ContainerRestartPolicy{v1.ContainerRestartPolicyNever, v1.ContainerRestartPolicyOnFailure}[w.pick(2)])
			c.RestartPolicyRules = []v1.ContainerRestartRule{{
				Action:    []v1.ContainerRestartRuleAction{v1.ContainerRestartRuleActionRestartAllContainers, v1.ContainerRestartRuleActionRestart}[w.pick(2)],
				ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}},
			}}
		}
	}
	for i := range w.pick(4) {
		c := v1.Container{Name: fmt.Sprint("init", i)}
		if w.chance(50) {
			c.RestartPolicy = ptr(v1.ContainerRestartPolicyAlways)
			fill(&c)
		} else {
			c.Image, c.ImagePullPolicy = "image", v1.PullIfNotPresent
			rules(&c)
		}
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
	}
	for i := range 1 + w.pick(3) {
		c := v1.Container{Name: fmt.Sprint("app", i)}
		fill(&c)
		rules(&c)
		pod.Spec.Containers = append(pod.Spec.Containers, c)
	}
	if w.chance(8) {
		pod.Spec.ActiveDeadlineSeconds = ptr(int64(1 + w.pick(60)))
	}
	return pod
}

// disturb plans what befalls the pod from outside.
func (w *world) disturb() {
	for range w.pick(8) {
		at := time.Duration(w.pick(250)) * 40 * time.Millisecond
		if w.chance(30) {
			at *= 8
		}
		kind := w.pick(14)
		arg := w.pick(256)
		w.after(at, func() { w.befall(kind, arg) })
	}
}

func (w *world) befall(kind, arg int) {
	a := w.agent
	switch kind {
	case 0, 1:
		w.askDelete(int64([]int{30, 0, 1, 5}[arg%4]))
	case 2:
		w.remove() // forced
	case 3, 4:
		w.killAgent()
	case 5:
		if !a.dead && a.life > 0 {
			w.note("pod: panicked")
			a.reborn()
		}
	case 6:
		if names := podplan.Names(w.first); !a.dead && a.life > 0 {
			a.panicked(names[arg%len(names)])
		}
	case 7:
		if n := len(w.rt.sandboxes); n > 0 {
			w.note("fault: the sandbox dies")
			w.rt.killSandbox(w.rt.sandboxes[n-1].ID)
		}
	case 8:
		if n := len(w.rt.containers); n > 0 {
			w.rt.exit(w.rt.containers[arg%n], []int32{137, 0, 42}[arg%3])
		}
	case 9: // somebody removes an ended container by hand
		if n := len(w.rt.containers); n > 0 {
			if c := w.rt.containers[arg%n]; c.State != model.ContainerRunning {
				w.note("fault: %s of %s is removed by hand", c.ID, c.Name)
				w.rt.drop(c)
			}
		}
	case 10:
		w.change(false, func(p *v1.Pod) {
			if len(p.Spec.EphemeralContainers) == 0 {
				p.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "image"}}}
			}
		})
	case 11: // the runtime is away for a while
		a.gate.RuntimeReady, a.gate.NetworkReady = false, arg%2 == 0
		a.openGate()
		w.after(time.Duration(arg)*50*time.Millisecond, func() {
			a.gate.RuntimeReady, a.gate.NetworkReady = true, true
			a.openGate()
		})
	case 12:
		w.note("node: evicts")
		var grace *int64
		if arg%2 == 0 {
			grace = ptr(int64(arg % 8))
		}
		a.tellPod("eviction", podmsg.End{Reason: "Evicted", Message: "low", Grace: grace, Condition: &v1.PodCondition{Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: "TerminationByKubelet"}})
	case 13: // somebody removes the sandbox by hand
		if n := len(w.rt.sandboxes); n > 0 {
			id := w.rt.sandboxes[n-1].ID
			w.note("fault: sandbox %s is removed by hand", id)
			w.rt.killSandbox(id)
			w.rt.removeSandboxNow(id)
		}
	}
}

// lived runs one world to its end; when something was violated it runs it again and tells how it came.
func lived(entropy []byte) (steps int, err string) {
	w, err := live(entropy, false)
	if err != "" {
		if w, again := live(entropy, true); again == err {
			err += "\n" + w.tail(120)
		} else {
			err += "\nand not when it ran again: " + again
		}
	}
	return w.steps, err
}

func live(entropy []byte, verbose bool) (w *world, err string) {
	w = newWorld(entropy)
	w.verbose = verbose
	defer func() {
		switch r := recover().(type) {
		case nil:
		case violation:
			err = r.text
		default:
			panic(fmt.Sprintf("%v\n%s", r, w.tail(60)))
		}
	}()
	w.first = w.makePod()
	w.api = w.first
	w.boot()
	w.after(10*time.Second, w.slowList)
	w.disturb()
	w.run(w.quiet, func() bool { return w.finished })
	// The faults are over: what hangs comes back, and everything comes to where it should be.
	w.run(w.quiet.Add(5*time.Minute), func() bool { return w.finished })
	w.run(w.quiet.Add(25*time.Minute), func() bool { return w.finished || w.arrived() })
	if !w.finished && !w.arrived() && w.agent.life > 0 {
		return w, "it has not arrived: " + w.where()
	}
	if w.finished || (w.api == nil && w.agent.life == 0) {
		return w, ""
	}
	w.run(w.now.Add(time.Minute), func() bool { return w.finished })
	if !w.finished && !w.arrived() {
		return w, "it did not stay: " + w.where()
	}
	w.askDelete(5)
	w.run(w.now.Add(4*time.Minute), func() bool { return w.finished })
	if !w.finished {
		return w, "it has not ended: " + w.where()
	}
	return w, ""
}

// arrived: Running and Ready, or ended for good and the API holds it.
func (w *world) arrived() bool {
	a := w.agent
	if a.dead || a.life == 0 {
		return false
	}
	s := &a.state
	if s.Pod.DeletionTimestamp != nil || s.Gone {
		return false
	}
	switch podplan.StageOf(s) {
	case podplan.Ended:
		return s.AckedGen >= s.PubGen && terminal(w.api.Status.Phase)
	case podplan.Running:
		for _, c := range w.api.Status.Conditions {
			if c.Type == v1.PodReady && c.Status == v1.ConditionTrue && s.AckedGen >= s.PubGen {
				return true
			}
		}
		// Some containers may have ended for good beside others that run on.
		for i := range s.Pod.Spec.Containers {
			if v := s.Views[s.Pod.Spec.Containers[i].Name]; !v.Settled && (v.Stage != model.StageUp || !v.Ready) {
				return false
			}
		}
		return s.AckedGen >= s.PubGen
	case podplan.Queued, podplan.Starting, podplan.Initializing, podplan.Ending, podplan.Finished:
	}
	return false
}

func (w *world) where() string {
	s := &w.agent.state
	out := fmt.Sprintf("stage %v, op %v, doubt %v, blockers %v;", podplan.StageOf(s), s.Op, s.Doubt, podplan.Blockers(s))
	for _, name := range podplan.Names(s.Pod) {
		v := s.Views[name]
		out += fmt.Sprintf(" %s:%v settled=%v seq=%d/%d %s", name, v.Stage, v.Settled, v.Seq, s.Told[name], v.Blocker)
	}
	return out
}

func TestWorlds(t *testing.T) {
	n := *worlds
	if testing.Short() {
		n /= 10
	}
	total := 0
	for i := range uint64(n) {
		r := rand.New(rand.NewPCG(*seed+i, 7))
		entropy := make([]byte, r.IntN(2500))
		for j := range entropy {
			entropy[j] = byte(r.Uint32())
		}
		steps, err := lived(entropy)
		total += steps
		if err != "" {
			t.Fatalf("world %d: %s", *seed+i, err)
		}
	}
	t.Logf("%d worlds, %d steps", n, total)
}

// TestWorldsShrink looks for the smallest world that breaks a rule.
func TestWorldsShrink(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entropy := rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "entropy")
		if _, err := lived(entropy); err != "" {
			t.Fatal(err)
		}
	})
}
