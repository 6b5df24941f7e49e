package containerplan

import (
	"errors"
	"flag"
	"hash/crc32"
	"runtime/debug"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

// stages are ways to every stage, and to the places within one that decide differently.
func stages() map[string]func(*testing.T) *rig {
	full := func(t *testing.T) *rig {
		return newRig(t, podOf(v1.RestartPolicyAlways, func(_ *v1.Pod, c *v1.Container) {
			c.Lifecycle = &v1.Lifecycle{PostStart: hook(), PreStop: hook()}
			c.StartupProbe, c.ReadinessProbe, c.LivenessProbe = probeSpec(), probeSpec(), probeSpec()
		}))
	}
	then := func(from func(*testing.T) *rig, steps ...func(*rig)) func(*testing.T) *rig {
		return func(t *testing.T) *rig {
			r := from(t)
			for _, s := range steps {
				s(r)
			}
			return r
		}
	}
	grant := func(r *rig) { r.grant() }
	image := func(r *rig) { r.image() }
	created := func(r *rig) { r.created() }
	started := func(r *rig) { r.started() }
	ok := func(r *rig) { r.done(model.OutcomeOK) }
	unknown := func(r *rig) { r.done(model.OutcomeUnknown) }
	refused := func(r *rig) { r.done(model.OutcomeRefused) }
	revoke := func(r *rig) { r.revoke(30 * time.Second) }
	crash := func(r *rig) { r.exits(1) }
	pulling := then(full, grant)
	creating := then(pulling, image)
	starting := then(creating, created)
	hooking := then(starting, started)
	up := then(hooking, ok)
	return map[string]func(*testing.T) *rig{
		"Held":      full,
		"Ahead":     then(full, func(r *rig) { r.on(containermsg.Prefetch{}) }),
		"Pulling":   pulling,
		"PullError": then(pulling, func(r *rig) { r.on(imageFailed(r)) }),
		"Creating":  creating,
		"Refused":   then(creating, refused),
		"Starting":  starting,
		"PostStart": hooking,
		"Up":        up,
		"PreStop":   then(up, revoke),
		"Stopping":  then(up, revoke, ok),
		"Killing":   then(up, func(r *rig) { r.on(liveness(r, false)) }, ok),
		"Backoff":   then(up, crash, image, created, started, ok, crash),
		"Done": then(func(t *testing.T) *rig { return newRig(t, podOf(v1.RestartPolicyNever)) }, grant, image, created, started,
			func(r *rig) { r.exits(0) }),
		"Revoked":     then(up, revoke, ok, func(r *rig) { r.exitsInStop(0) }),
		"DoubtCreate": then(creating, unknown),
		"DoubtStart":  then(starting, unknown),
		"Unseen": func(t *testing.T) *rig {
			return &rig{t: t, s: Rebuild(podOf(v1.RestartPolicyAlways), "c", nil, full(t).s.Curve), now: start}
		},
	}
}

func imageFailed(r *rig) containermsg.Event {
	return containermsg.ImageFailed{Image: r.s.Spec.Image, Reason: "ErrImagePull", Message: "no", RetryAt: r.now.Add(10 * time.Second)}
}

func liveness(r *rig, ok bool) containermsg.Event {
	id := model.ContainerID("")
	if r.s.Cur != nil {
		id = r.s.Cur.ID
	}
	return containermsg.ProbeResult{Kind: containermsg.Liveness, Container: id, OK: ok}
}

// exitsInStop answers the stop in flight with the end.
func (r *rig) exitsInStop(code int32) []Action {
	st := r.instance(model.ContainerExited, code)
	return r.done(model.OutcomeOK, func(d *containermsg.Done) { d.Status, d.ReadAt = st, r.now })
}

// allEvents are every event in every shape that matters, made for the state at hand.
func allEvents() map[string]func(*rig) containermsg.Event {
	out := map[string]func(*rig) containermsg.Event{
		"Desired": func(r *rig) containermsg.Event { return containermsg.Desired{Pod: r.s.Pod.DeepCopy()} },
		"NewImage": func(r *rig) containermsg.Event {
			p := r.s.Pod.DeepCopy()
			p.Spec.Containers[0].Image = "other"
			return containermsg.Desired{Pod: p}
		},
		"Grant":      func(r *rig) containermsg.Event { return containermsg.Grant{Sandbox: "b1", Seq: 9} },
		"GrantOther": func(r *rig) containermsg.Event { return containermsg.Grant{Sandbox: "b2", Seq: 9} },
		"Revoke": func(r *rig) containermsg.Event {
			return containermsg.Revoke{Deadline: r.now.Add(5 * time.Second), Seq: 9}
		},
		"RevokeNow":   func(r *rig) containermsg.Event { return containermsg.Revoke{Deadline: r.now, Seq: 9} },
		"Restart":     func(r *rig) containermsg.Event { return containermsg.Restart{Seq: 9} },
		"Prefetch":    func(r *rig) containermsg.Event { return containermsg.Prefetch{} },
		"ImageReady":  func(r *rig) containermsg.Event { return containermsg.ImageReady{Image: "image", Ref: "x"} },
		"OtherImage":  func(r *rig) containermsg.Event { return containermsg.ImageReady{Image: "unasked", Ref: "x"} },
		"ImageFailed": imageFailed,
		"LookEmpty":   func(r *rig) containermsg.Event { return containermsg.Look{At: r.now, Seq: 9} },
		"LookOld":     func(r *rig) containermsg.Event { return containermsg.Look{At: start.Add(-time.Hour)} },
		"DirtyOld":    func(r *rig) containermsg.Event { return containermsg.Dirty{At: start.Add(-time.Hour)} },
		"Dirty":       func(r *rig) containermsg.Event { return containermsg.Dirty{At: r.now.Add(time.Second)} },
		"DirtyNow":    func(r *rig) containermsg.Event { return containermsg.Dirty{} },
		"Ready":       probeEvent(containermsg.Readiness, true),
		"NotReady":    probeEvent(containermsg.Readiness, false),
		"StartedUp":   probeEvent(containermsg.Startup, true),
		"NotStarted":  probeEvent(containermsg.Startup, false),
		"Alive":       probeEvent(containermsg.Liveness, true),
		"NotAlive":    probeEvent(containermsg.Liveness, false),
		"OtherProbe": func(r *rig) containermsg.Event {
			return containermsg.ProbeResult{Kind: containermsg.Liveness, Container: "other"}
		},
		"Tick": func(r *rig) containermsg.Event { return containermsg.Tick{} },
		"StaleDone": func(r *rig) containermsg.Event {
			return containermsg.Done{Gen: r.s.Gen - 1, Op: containermsg.OpCreate, ID: "stale"}
		},
	}
	for _, st := range []model.ContainerState{model.ContainerCreated, model.ContainerRunning, model.ContainerExited, model.ContainerUnknown} {
		out["LookSame"+[...]string{"Created", "Running", "Exited", "Unknown"}[st]] = func(r *rig) containermsg.Event {
			c := model.Container{ID: "found", Sandbox: "b1", Name: "c", CreatedAt: r.now}
			if r.s.Cur != nil {
				c = *r.s.Cur
			}
			c.State, c.Detailed = st, st != model.ContainerRunning
			return containermsg.Look{Instances: []model.Container{c}, At: r.now, Seq: 9}
		}
		out["LookNew"+[...]string{"Created", "Running", "Exited", "Unknown"}[st]] = func(r *rig) containermsg.Event {
			return containermsg.Look{Instances: []model.Container{{ID: "new", Sandbox: "b1", Name: "c", State: st, CreatedAt: r.now.Add(time.Second)}}, At: r.now, Seq: 9}
		}
	}
	for _, class := range []model.OutcomeClass{model.OutcomeOK, model.OutcomeRefused, model.OutcomeNotFound, model.OutcomeUnknown} {
		out["Done "+class.String()] = func(r *rig) containermsg.Event {
			d := containermsg.Done{Gen: r.s.Gen, Op: r.s.Op, ID: r.s.OpID, Class: class}
			if class != model.OutcomeOK {
				d.Err = errors.New("no")
			} else if r.s.Op == containermsg.OpCreate {
				d.ID = "made"
			}
			return d
		}
	}
	return out
}

func probeEvent(kind containermsg.ProbeKind, ok bool) func(*rig) containermsg.Event {
	return func(r *rig) containermsg.Event {
		e := liveness(r, ok).(containermsg.ProbeResult)
		e.Kind = kind
		return e
	}
}

// pairs runs every pair of events; without it every event runs with a quarter of the others after it.
var pairs = flag.Bool("pairs", false, "run every pair of events")

// TestMatrix feeds every event, and others after it, to every stage: nothing panics, and no step does what it may not.
func TestMatrix(t *testing.T) {
	for stage, make := range stages() {
		for first, ev := range allEvents() {
			for second, ev2 := range allEvents() {
				if !*pairs && crc32.ChecksumIEEE([]byte(first+second))%4 != 0 {
					continue
				}
				r := make(t)
				name := stage + " + " + first + " + " + second
				func() {
					defer func() {
						if p := recover(); p != nil {
							t.Fatalf("%s: %v\n%s", name, p, debug.Stack())
						}
					}()
					count := r.s.RestartCount
					r.on(ev(r))
					r.on(ev2(r))
					View(&r.s, r.now)
					if r.s.RestartCount < count {
						t.Fatalf("%s: the restart count fell", name)
					}
					// Whatever happened, a revoked container comes to an end once the runtime answers.
					r.revoke(time.Second)
					settle(t, name, r)
				}()
			}
		}
	}
}

// settle answers calls as a healthy runtime until nothing is left to do; the container must have ended.
func settle(t *testing.T, name string, r *rig) {
	t.Helper()
	for range 60 {
		switch r.s.Op {
		case containermsg.OpNone:
			if !View(&r.s, r.now).Live() {
				return
			}
			if r.s.Timer.IsZero() {
				t.Fatalf("%s: it waits for nothing in stage %v", name, r.stage())
			}
			r.wait(r.s.Timer.Sub(r.now))
		case containermsg.OpStatus:
			if r.s.OpID == "" { // a find
				l := containermsg.Look{At: r.now}
				if r.s.Cur != nil {
					l.Instances = []model.Container{*r.s.Cur}
				}
				r.on(l)
				continue
			}
			st := r.instance(r.s.Cur.State, r.s.Cur.ExitCode)
			r.done(model.OutcomeOK, func(d *containermsg.Done) { d.Status, d.ReadAt = st, r.now })
		case containermsg.OpStop:
			r.exitsInStop(143)
		case containermsg.OpCreate:
			r.created()
		case containermsg.OpStart:
			r.started()
		default:
			r.done(model.OutcomeOK)
		}
	}
	t.Fatalf("%s: it does not end: %v", name, r.stage())
}

// TestCells pins down what single cells of the matrix decide.
func TestCells(t *testing.T) {
	for _, tc := range []struct {
		stage, event string
		then         model.ContainerStage
		acts         string
	}{
		{"Held", "Tick", model.StageHeld, ""},
		{"Held", "Prefetch", model.StageHeld, "EnsureImage(ahead)"},
		{"Held", "Grant", model.StagePulling, "EnsureImage"},
		{"Held", "Revoke", model.StageDone, ""},
		{"Held", "ImageReady", model.StageHeld, ""}, // nobody asked
		{"Ahead", "ImageReady", model.StageHeld, ""},
		{"Ahead", "ImageFailed", model.StageHeld, ""},
		{"Ahead", "Grant", model.StagePulling, "EnsureImage"},
		{"Pulling", "Grant", model.StagePulling, ""},
		{"Pulling", "ImageReady", model.StageCreating, "Create(0)"},
		{"Pulling", "OtherImage", model.StagePulling, ""},
		{"Pulling", "ImageFailed", model.StageBackoff, ""},
		{"Pulling", "Revoke", model.StageDone, ""},
		{"PullError", "Tick", model.StageBackoff, ""},
		{"PullError", "NewImage", model.StagePulling, "EnsureImage"}, // another image does not wait
		{"Creating", "Revoke", model.StageCreating, ""},
		{"Creating", "RevokeNow", model.StageCreating, "Cancel"},
		{"Creating", "Done ok", model.StageStarting, "Start"},
		{"Creating", "Done refused", model.StageBackoff, ""},
		{"Creating", "Done unknown", model.StageDoubt, ""},
		{"Creating", "LookEmpty", model.StageCreating, ""}, // our own call tells
		{"Refused", "GrantOther", model.StagePulling, "EnsureImage"},
		{"Starting", "Done unknown", model.StageDoubt, ""},
		{"Starting", "Done refused", model.StageStarting, "ReadStatus"},
		{"PostStart", "Done ok", model.StageUp, "StartProbes"},
		{"PostStart", "Done refused", model.StageStopping, "PreStop(30s)"},
		{"PostStart", "Revoke", model.StageStopping, "Cancel PreStop(5s)"},
		{"Up", "Dirty", model.StageUp, "ReadStatus"},
		{"Up", "DirtyOld", model.StageUp, ""},
		{"Up", "NotAlive", model.StageStopping, "StopProbes PreStop(30s)"},
		{"Up", "NotStarted", model.StageStopping, "StopProbes PreStop(30s)"},
		{"Up", "OtherProbe", model.StageUp, ""},
		{"Up", "Revoke", model.StageStopping, "StopProbes PreStop(5s)"},
		{"Up", "NewImage", model.StageStopping, "StopProbes PreStop(30s)"},
		{"Up", "LookEmpty", model.StagePulling, "StopProbes EnsureImage"}, // lost: 137, and the first restart waits for nothing
		{"Up", "LookOld", model.StageUp, ""},
		{"Up", "LookSameUnknown", model.StageStopping, "Stop(30s)"},
		{"PreStop", "RevokeNow", model.StageStopping, "Cancel Stop(2s)"},
		{"PreStop", "Done ok", model.StageStopping, "Stop(30s)"},
		{"Stopping", "Revoke", model.StageStopping, "Stop(5s)"}, // a shorter grace is passed on beside the stop in flight
		{"Stopping", "Done unknown", model.StageStopping, "ReadStatus"},
		{"Killing", "Revoke", model.StageStopping, "Stop(5s)"},
		{"Backoff", "Tick", model.StageBackoff, ""},
		{"Backoff", "Revoke", model.StageDone, ""},
		{"Backoff", "Restart", model.StageHeld, ""},
		{"Backoff", "NewImage", model.StagePulling, "EnsureImage"},
		{"Done", "Grant", model.StageDone, ""},
		{"Done", "Restart", model.StageHeld, ""},
		{"Done", "Dirty", model.StageDone, ""},
		{"Revoked", "Tick", model.StageDone, ""},
		{"DoubtCreate", "Tick", model.StageDoubt, ""},
		{"DoubtCreate", "LookSameCreated", model.StageStarting, "Start"},
		{"DoubtCreate", "LookEmpty", model.StagePulling, "EnsureImage"},
		{"DoubtCreate", "Revoke", model.StageDoubt, ""},
		{"DoubtStart", "LookSameCreated", model.StageStarting, "Start"},
		{"DoubtStart", "LookSameRunning", model.StageStarting, "ReadStatus"},
		{"Unseen", "Tick", model.StageDoubt, "Find"},
		{"Unseen", "LookEmpty", model.StageHeld, ""},
		{"Unseen", "LookNewRunning", model.StageStarting, "ReadStatus"},
	} {
		t.Run(tc.stage+"/"+tc.event, func(t *testing.T) {
			r := stages()[tc.stage](t)
			r.on(allEvents()[tc.event](r))
			r.want(tc.then, tc.acts)
		})
	}
}
