package podplan

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// podOf is a pod with these containers: i… are init containers, s… sidecars, e… ephemeral ones, others run as apps.
func podOf(restart v1.RestartPolicy, names ...string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u"}}
	p.Spec.RestartPolicy, p.Spec.TerminationGracePeriodSeconds = restart, ptr(int64(30))
	for _, name := range names {
		c := v1.Container{Name: name, Image: "image"}
		switch name[0] {
		case 's':
			c.RestartPolicy = ptr(v1.ContainerRestartPolicyAlways)
			fallthrough
		case 'i':
			p.Spec.InitContainers = append(p.Spec.InitContainers, c)
		case 'e':
			p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, v1.EphemeralContainer{EphemeralContainerCommon: v1.EphemeralContainerCommon(c)})
		default:
			p.Spec.Containers = append(p.Spec.Containers, c)
		}
	}
	return p
}

// rig drives one pod's plan and plays its containers.
type rig struct {
	t    *testing.T
	s    State
	now  time.Time
	last []Action
	// told are the newest words to each container since they were last looked at.
	told map[string][]string
}

func newRig(t *testing.T, pod *v1.Pod) *rig {
	return &rig{t: t, s: New(pod, false), now: start, told: map[string][]string{}}
}

func (r *rig) on(ev podmsg.Event) []Action {
	r.t.Helper()
	before := r.s.End
	r.s, r.last = Next(r.s, r.now, ev)
	r.forbidden(before)
	for _, a := range r.last {
		if x, ok := a.(Tell); ok {
			r.told[x.Name] = append(r.told[x.Name], strings.TrimPrefix(fmt.Sprintf("%T", x.Event), "containermsg."))
		}
	}
	return r.last
}

// words are what the containers were told since the last call, without the objects they are shown.
func (r *rig) words() string {
	var out []string
	for _, name := range names(r.s.Pod) {
		for _, w := range r.told[name] {
			if w != "Desired" && w != "Prefetch" {
				out = append(out, name+":"+w)
			}
		}
	}
	clear(r.told)
	return strings.Join(out, " ")
}

func (r *rig) wait(d time.Duration) {
	r.t.Helper()
	until := r.now.Add(d)
	for !r.s.Timer.IsZero() && !r.s.Timer.After(until) {
		r.now = r.s.Timer
		r.on(podmsg.Tick{})
	}
	r.now = until
}

// want checks the stage and what the last step did, besides talking to containers.
func (r *rig) want(stage Stage, acts string) {
	r.t.Helper()
	if got := StageOf(&r.s); got != stage {
		r.t.Fatalf("stage %v, want %v (actions %s)", got, stage, brief(r.last))
	}
	if got := brief(r.last); got != acts {
		r.t.Fatalf("actions %q, want %q", got, acts)
	}
}

func brief(acts []Action) string {
	var out []string
	for _, a := range acts {
		switch x := a.(type) {
		case SetTimer, Event, Tell, DropImages, Spawn:
		case RunSandbox:
			out = append(out, fmt.Sprintf("RunSandbox(%d)", x.Attempt))
		case StopSandbox:
			out = append(out, "StopSandbox("+string(x.ID)+")")
		case RemoveSandbox:
			out = append(out, "RemoveSandbox("+string(x.ID)+")")
		default:
			out = append(out, strings.TrimPrefix(fmt.Sprintf("%T", a), "podplan."))
		}
	}
	return strings.Join(out, " ")
}

func eventsOf(acts []Action) string {
	var out []string
	for _, a := range acts {
		if e, ok := a.(Event); ok {
			out = append(out, e.Reason)
		}
	}
	return strings.Join(out, " ")
}

// forbidden checks what no step may do.
func (r *rig) forbidden(before *End) {
	r.t.Helper()
	s := &r.s
	if before != nil && (s.End == nil || s.End.Deadline.After(before.Deadline)) {
		r.t.Fatal("the ending turned back, or its grace grew")
	}
	calls := 0
	for _, a := range r.last {
		switch x := a.(type) {
		case RunSandbox:
			calls++
			if s.End != nil || s.Admission != AdmissionGranted || s.Cgroup != Held || s.sandboxReady() {
				r.t.Fatal("a sandbox is made that may not be")
			}
		case StopSandbox:
			calls++
			for name, v := range s.Views {
				if v.Live() && v.Current != nil && v.Current.Sandbox == x.ID && !(s.End != nil && s.End.Forced) && s.sandboxState(x.ID) == model.SandboxReady {
					r.t.Fatalf("sandbox %s is stopped under %s", x.ID, name)
				}
			}
		case Look, ReadSandbox, RemoveSandbox, RemoveDirs:
			calls++
		case DropVolumes, DropCgroup:
			if s.live() && !s.End.Forced {
				r.t.Fatal("something is given back while containers live")
			}
		case Delete:
			if !s.cleanAll() || !s.acked() {
				r.t.Fatal("the object is deleted too early")
			}
		case Finish:
			if !s.cleanAll() || !s.Gone {
				r.t.Fatal("finished too early")
			}
		case Tell:
			if _, grants := x.Event.(containermsg.Grant); grants && (s.End != nil || !s.sandboxReady() || s.Volumes != Held) {
				r.t.Fatalf("%s is granted what is not there", x.Name)
			}
		}
	}
	if calls > 1 {
		r.t.Fatalf("%d calls at once: %s", calls, brief(r.last))
	}
}

func (s *State) sandboxState(id model.SandboxID) model.SandboxState {
	for b := range s.sandboxes() {
		if b.ID == id {
			return b.State
		}
	}
	return model.SandboxNotReady
}

// done answers the call in flight.
func (r *rig) done(class model.OutcomeClass, fill ...func(*podmsg.Done)) []Action {
	r.t.Helper()
	d := podmsg.Done{Gen: r.s.Gen, Op: r.s.Op, Class: class}
	if class != model.OutcomeOK {
		d.Err = errors.New("it failed")
	}
	for _, f := range fill {
		f(&d)
	}
	return r.on(d)
}

func sandboxIs(id string, attempt uint32, st model.SandboxState) func(*podmsg.Done) {
	return func(d *podmsg.Done) {
		d.Sandbox = model.Sandbox{ID: model.SandboxID(id), Attempt: attempt, State: st, Detailed: true, IPs: []string{"10.0.0.1"}}
	}
}

// looked answers a look.
func (r *rig) looked(o model.PodObserved) []Action {
	r.t.Helper()
	return r.done(model.OutcomeOK, func(d *podmsg.Done) { d.Look = &podmsg.Look{Observed: o, At: r.now} })
}

// child gives a container another view; it has heard everything that it was told.
func (r *rig) child(name string, stage model.ContainerStage, edit ...func(*model.ContainerView)) []Action {
	r.t.Helper()
	v := r.s.Views[name]
	v.Stage, v.Seq = stage, r.s.Told[name]
	v.Settled = stage == model.StageDone
	for _, e := range edit {
		e(&v)
	}
	return r.on(podmsg.Child{View: v})
}

// heard lets a container say that nothing has changed for it.
func (r *rig) heard(names ...string) {
	r.t.Helper()
	for _, name := range names {
		r.child(name, r.s.Views[name].Stage, func(v *model.ContainerView) { v.Settled = r.s.Views[name].Settled })
	}
}

func running(id string) func(*model.ContainerView) {
	return func(v *model.ContainerView) {
		v.Current = &model.Container{ID: model.ContainerID(id), Name: v.Name, Sandbox: "b1", State: model.ContainerRunning, Detailed: true}
		v.Started, v.Ready = true, true
	}
}

func exited(code int32) func(*model.ContainerView) {
	return func(v *model.ContainerView) {
		c := model.Container{ID: model.ContainerID("id-" + v.Name), Name: v.Name, Sandbox: "b1"}
		if v.Current != nil {
			c = *v.Current
		}
		c.State, c.ExitCode, c.Detailed = model.ContainerExited, code, true
		v.Current, v.Started, v.Ready = &c, false, false
	}
}

func (r *rig) up(name string) []Action { return r.child(name, model.StageUp, running("id-"+name)) }

// ends ends a container for good.
func (r *rig) ends(name string, code int32) []Action {
	return r.child(name, model.StageDone, exited(code))
}

// admitted brings the pod to Starting, with nothing in the runtime.
func (r *rig) admitted() *rig {
	r.t.Helper()
	r.on(podmsg.Gate{RuntimeReady: true, NetworkReady: true, SourcesReady: true, Listed: true})
	r.on(podmsg.Look{At: r.now})
	if r.s.Op == podmsg.OpLook {
		r.looked(model.PodObserved{})
	}
	r.heard(names(r.s.Pod)...)
	r.on(podmsg.Admitted{})
	return r
}

// ready has sandbox b1 and the volumes ready.
func (r *rig) ready() *rig {
	r.t.Helper()
	r.admitted()
	r.on(podmsg.VolumesReady{})
	r.on(podmsg.CgroupReady{Parent: "/p", Seq: r.s.CgroupSeq})
	if r.s.Op != podmsg.OpRunSandbox {
		r.t.Fatalf("no sandbox is made: %s", brief(r.last))
	}
	r.done(model.OutcomeOK, sandboxIs("b1", 0, model.SandboxReady))
	return r
}

// runs has all containers up: init containers have ended well.
func (r *rig) runs() *rig {
	r.t.Helper()
	r.ready()
	for _, name := range names(r.s.Pod) {
		if r.s.Views[name].Kind == model.KindInit {
			r.ends(name, 0)
		} else {
			r.up(name)
		}
	}
	if got := StageOf(&r.s); got != Running {
		r.t.Fatalf("it does not run: %v", got)
	}
	r.words()
	return r
}

func (r *rig) asksDelete(grace int64) []Action {
	p := r.s.Pod.DeepCopy()
	now := metav1.NewTime(r.now)
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, &grace
	return r.on(podmsg.Desired{Pod: p})
}

// acks lets the API server hold the newest status.
func (r *rig) acks() []Action {
	r.s.PubGen = max(r.s.PubGen, 1)
	return r.on(podmsg.Acked{Gen: r.s.PubGen})
}
