package containerplan

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
	"github.com/troupe-dev/troupe/supervisor/policy"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// podOf is a pod with one container called c.
func podOf(restart v1.RestartPolicy, edit ...func(*v1.Pod, *v1.Container)) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u"}}
	p.Spec.RestartPolicy = restart
	p.Spec.TerminationGracePeriodSeconds = ptr(int64(30))
	p.Spec.Containers = []v1.Container{{Name: "c", Image: "image", ImagePullPolicy: v1.PullIfNotPresent}}
	for _, e := range edit {
		e(p, &p.Spec.Containers[0])
	}
	return p
}

func hook() *v1.LifecycleHandler {
	return &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"x"}}}
}

func probeSpec() *v1.Probe {
	return &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"x"}}}}
}

// rig drives one container's plan and answers for the runtime.
type rig struct {
	t   *testing.T
	s   State
	now time.Time
	// last are the newest actions.
	last []Action
	ids  int
}

func newRig(t *testing.T, pod *v1.Pod) *rig {
	t.Helper()
	return &rig{t: t, s: Rebuild(pod, "c", []model.Container{}, policy.CrashLoop(0)), now: start}
}

func (r *rig) on(ev containermsg.Event) []Action {
	r.t.Helper()
	r.s, r.last = Next(r.s, r.now, ev)
	forbidden(r.t, &r.s, r.last)
	return r.last
}

// wait lets time pass; the timer ticks when it is due.
func (r *rig) wait(d time.Duration) {
	r.t.Helper()
	until := r.now.Add(d)
	for !r.s.Timer.IsZero() && !r.s.Timer.After(until) {
		r.now = r.s.Timer
		r.on(containermsg.Tick{})
	}
	r.now = until
}

func (r *rig) stage() model.ContainerStage { return View(&r.s, r.now).Stage }

func (r *rig) want(stage model.ContainerStage, acts string) {
	r.t.Helper()
	if got := r.stage(); got != stage {
		r.t.Fatalf("stage %v, want %v (actions %s)", got, stage, names(r.last))
	}
	if got := names(r.last); got != acts {
		r.t.Fatalf("actions %q, want %q", got, acts)
	}
}

// done answers the call in flight.
func (r *rig) done(class model.OutcomeClass, fill ...func(*containermsg.Done)) []Action {
	r.t.Helper()
	d := containermsg.Done{Gen: r.s.Gen, Op: r.s.Op, ID: r.s.OpID, Class: class}
	if class != model.OutcomeOK {
		d.Err = errors.New("it failed")
	}
	for _, f := range fill {
		f(&d)
	}
	return r.on(d)
}

func (r *rig) grant() []Action { return r.on(containermsg.Grant{Sandbox: "b1", Seq: r.s.Seq + 1}) }

func (r *rig) image() []Action {
	return r.on(containermsg.ImageReady{Image: r.s.Spec.Image, Ref: "sha256:x"})
}

// created answers a create.
func (r *rig) created() []Action {
	r.ids++
	id := model.ContainerID(fmt.Sprint("c", r.ids))
	return r.done(model.OutcomeOK, func(d *containermsg.Done) { d.ID = id })
}

// started answers a start with the status that a read shows.
func (r *rig) started() []Action {
	return r.done(model.OutcomeOK, func(d *containermsg.Done) { d.Status, d.ReadAt = r.instance(model.ContainerRunning, 0), r.now })
}

// instance is the current instance as a read shows it in that state.
func (r *rig) instance(st model.ContainerState, code int32) *model.Container {
	c := *r.s.Cur
	c.State, c.Detailed, c.Sandbox = st, true, ""
	if c.StartedAt.IsZero() {
		c.StartedAt = r.now
	}
	if st == model.ContainerExited {
		c.ExitCode, c.FinishedAt = code, r.now
	}
	return &c
}

// up brings the container to Up.
func (r *rig) up() *rig {
	r.t.Helper()
	r.grant()
	if r.s.Op == containermsg.OpNone && r.s.Image.Asked {
		r.image()
	}
	r.created()
	r.started()
	if r.s.Op == containermsg.OpPostStart {
		r.done(model.OutcomeOK)
	}
	if got := r.stage(); got != model.StageUp {
		r.t.Fatalf("it is not up: %v", got)
	}
	return r
}

// exits tells by a hint and a read that the instance has ended.
func (r *rig) exits(code int32) []Action {
	r.t.Helper()
	r.on(containermsg.Dirty{At: r.now.Add(time.Nanosecond)})
	st := r.instance(model.ContainerExited, code)
	return r.done(model.OutcomeOK, func(d *containermsg.Done) { d.Status, d.ReadAt = st, r.now })
}

func (r *rig) revoke(grace time.Duration) []Action {
	return r.on(containermsg.Revoke{Reason: "the pod ends", Grace: grace, Deadline: r.now.Add(grace), Seq: r.s.Seq + 1})
}

// names lists actions without timers and events.
func names(acts []Action) string {
	var out []string
	for _, a := range acts {
		switch x := a.(type) {
		case SetTimer, Event:
		case Stop:
			out = append(out, fmt.Sprintf("Stop(%v)", x.Grace))
		case PreStop:
			out = append(out, fmt.Sprintf("PreStop(%v)", x.Grace))
		case Create:
			out = append(out, fmt.Sprintf("Create(%d)", x.Attempt))
		case EnsureImage:
			out = append(out, map[bool]string{false: "EnsureImage", true: "EnsureImage(ahead)"}[x.Ahead])
		default:
			out = append(out, strings.TrimPrefix(fmt.Sprintf("%T", a), "containerplan."))
		}
	}
	return strings.Join(out, " ")
}

func events(acts []Action) string {
	var out []string
	for _, a := range acts {
		if e, ok := a.(Event); ok {
			out = append(out, e.Reason)
		}
	}
	return strings.Join(out, " ")
}

// forbidden checks what no step may do.
func forbidden(t *testing.T, s *State, acts []Action) {
	t.Helper()
	calls := 0
	for _, a := range acts {
		switch a.(type) {
		case Create:
			calls++
			if s.Grant == nil || s.Revoke != nil {
				t.Fatal("created without a grant")
			}
			if s.Cur != nil && s.Cur.State != model.ContainerExited {
				t.Fatal("created beside a live instance")
			}
			if s.Settled {
				t.Fatal("created although it has ended for good")
			}
		case Start:
			calls++
			if s.Grant == nil || s.Revoke != nil {
				t.Fatal("started without a grant")
			}
		case PostStart, PreStop, Stop, ReadStatus, Find:
			calls++
		case Remove:
			if s.Cur != nil && s.Cur.State == model.ContainerRunning && a.(Remove).ID == s.Cur.ID {
				t.Fatal("a running instance is removed")
			}
		}
	}
	if calls > 1 {
		t.Fatalf("%d calls at once: %s", calls, names(acts))
	}
}
