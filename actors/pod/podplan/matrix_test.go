package podplan

import (
	"errors"
	"flag"
	"hash/crc32"
	"runtime/debug"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// places are ways to every stage, and to the places within one that decide differently.
func places() map[string]func(*testing.T) *rig {
	fresh := func(t *testing.T) *rig { return newRig(t, podOf(v1.RestartPolicyAlways, "s1", "i1", "a", "b", "e1")) }
	then := func(from func(*testing.T) *rig, steps ...func(*rig)) func(*testing.T) *rig {
		return func(t *testing.T) *rig {
			r := from(t)
			for _, s := range steps {
				s(r)
			}
			return r
		}
	}
	admitted := then(fresh, func(r *rig) { r.admitted() })
	making := then(admitted, func(r *rig) { r.on(podmsg.CgroupReady{Parent: "/p", Seq: r.s.CgroupSeq}) })
	ready := then(fresh, func(r *rig) { r.ready() })
	runs := then(fresh, func(r *rig) { r.runs() })
	ending := then(runs, func(r *rig) { r.asksDelete(30) })
	stopping := then(ending, func(r *rig) {
		for _, name := range []string{"a", "b", "e1", "i1", "s1"} {
			r.ends(name, 0)
		}
	})
	ended := then(stopping, func(r *rig) { r.done(model.OutcomeOK) })
	finished := then(ended, func(r *rig) {
		r.on(podmsg.VolumesGone{})
		r.on(podmsg.CgroupGone{})
		for r.s.Op != podmsg.OpNone {
			r.done(model.OutcomeOK)
		}
		r.acks()
	})
	return map[string]func(*testing.T) *rig{
		"new": fresh,
		"listing": then(fresh, func(r *rig) {
			r.on(podmsg.Gate{RuntimeReady: true, NetworkReady: true, SourcesReady: true, Listed: true})
		}),
		"asked":        then(fresh, func(r *rig) { r.on(podmsg.Gate{SourcesReady: true, Listed: true}); r.looked(model.PodObserved{}) }),
		"admitted":     admitted,
		"making":       making,
		"doubt":        then(making, func(r *rig) { r.done(model.OutcomeUnknown) }),
		"refused call": then(making, func(r *rig) { r.done(model.OutcomeRefused); r.looked(model.PodObserved{}) }),
		"initializing": ready,
		"running":      runs,
		"reading":      then(runs, func(r *rig) { r.on(podmsg.Dirty{Container: "b1", At: r.now.Add(time.Hour)}) }),
		"lost sandbox": then(runs, func(r *rig) {
			r.on(podmsg.Dirty{Container: "b1", At: r.now.Add(time.Hour)})
			r.done(model.OutcomeOK, sandboxIs("b1", 0, model.SandboxNotReady))
		}),
		"rebuilt":  then(runs, func(r *rig) { r.on(podmsg.ChildRestarted{Name: "a"}) }),
		"ending":   ending,
		"stopping": stopping,
		"ended":    ended,
		"finished": finished,
	}
}

// all are every event in every shape that matters, made for the state at hand.
func all() map[string]func(*rig) podmsg.Event {
	same := func(ev podmsg.Event) func(*rig) podmsg.Event { return func(*rig) podmsg.Event { return ev } }
	out := map[string]func(*rig) podmsg.Event{
		"desired":     func(r *rig) podmsg.Event { return podmsg.Desired{Pod: r.s.Pod.DeepCopy()} },
		"status seen": func(r *rig) podmsg.Event { return podmsg.StatusSeen{Pod: r.s.Pod.DeepCopy()} },
		"terminal": func(r *rig) podmsg.Event {
			p := r.s.Pod.DeepCopy()
			p.Status.Phase = v1.PodFailed
			return podmsg.StatusSeen{Pod: p}
		},
		"gone":     same(podmsg.SourceGone{}),
		"open":     same(podmsg.Gate{RuntimeReady: true, NetworkReady: true, SourcesReady: true, Listed: true}),
		"shut":     same(podmsg.Gate{SourcesReady: true, Listed: true}),
		"admitted": same(podmsg.Admitted{}), "refused": same(podmsg.Refused{Reason: "x"}),
		"cgroup ready":  func(r *rig) podmsg.Event { return podmsg.CgroupReady{Parent: "/p", Seq: r.s.CgroupSeq} },
		"cgroup failed": same(podmsg.CgroupFailed{Err: errors.New("no")}), "cgroup gone": same(podmsg.CgroupGone{}),
		"volumes ready": same(podmsg.VolumesReady{}), "volumes blocked": same(podmsg.VolumesBlocked{Message: "no"}), "volumes gone": same(podmsg.VolumesGone{}),
		"hint":       func(r *rig) podmsg.Event { return podmsg.Dirty{Container: "b1", At: r.now.Add(time.Hour)} },
		"empty look": func(r *rig) podmsg.Event { return podmsg.Look{At: r.now} },
		"full look": func(r *rig) podmsg.Event {
			return podmsg.Look{At: r.now, Observed: model.PodObserved{
				Sandboxes:  []model.Sandbox{{ID: "b1", State: model.SandboxReady}, {ID: "b0", State: model.SandboxNotReady}},
				Containers: []model.Container{{ID: "id-a", Name: "a", Sandbox: "b1", State: model.ContainerRunning}, {ID: "old", Name: "gone", Sandbox: "b0", State: model.ContainerExited}}}}
		},
		"dead look": func(r *rig) podmsg.Event {
			return podmsg.Look{At: r.now, Observed: model.PodObserved{Sandboxes: []model.Sandbox{{ID: "b1", State: model.SandboxNotReady}}}}
		},
		"end":             same(podmsg.End{Reason: "Evicted", Grace: ptr(int64(1)), Condition: &v1.PodCondition{Type: v1.DisruptionTarget}}),
		"child restarted": same(podmsg.ChildRestarted{Name: "a"}), "acked": func(r *rig) podmsg.Event { return podmsg.Acked{Gen: r.s.PubGen} },
		"tick":     same(podmsg.Tick{}),
		"old done": func(r *rig) podmsg.Event { return podmsg.Done{Gen: r.s.Gen - 1, Op: podmsg.OpRunSandbox} },
	}
	for name, edit := range map[string]func(*model.ContainerView){
		"a up": running("id-a"), "a ended": exited(1),
		"a restarts all": func(v *model.ContainerView) { exited(42)(v); v.Settled, v.RestartAll = true, true },
	} {
		out[name] = func(r *rig) podmsg.Event {
			v := r.s.Views["a"]
			v.Name, v.Kind, v.Seq, v.Stage = "a", model.KindApp, r.s.Told["a"], model.StageUp
			edit(&v)
			if v.Current.State == model.ContainerExited {
				v.Stage = model.StageDone
			}
			return podmsg.Child{View: v}
		}
	}
	for _, class := range []model.OutcomeClass{model.OutcomeOK, model.OutcomeRefused, model.OutcomeNotFound, model.OutcomeUnknown} {
		out["done "+class.String()] = func(r *rig) podmsg.Event {
			d := podmsg.Done{Gen: r.s.Gen, Op: r.s.Op, Class: class}
			if class != model.OutcomeOK {
				d.Err = errors.New("no")
				return d
			}
			switch r.s.Op {
			case podmsg.OpRunSandbox, podmsg.OpSandboxStatus:
				sandboxIs("b1", 0, model.SandboxReady)(&d)
			case podmsg.OpLook:
				d.Look = &podmsg.Look{At: r.now}
			}
			return d
		}
	}
	return out
}

// pairs runs every pair of events; without it every event runs with a quarter of the others after it.
var pairs = flag.Bool("pairs", false, "run every pair of events")

// TestMatrix feeds every event, and others after it, to every place: nothing panics, no step does what it may not, and
// the pod can always be brought to its end.
func TestMatrix(t *testing.T) {
	for place, make := range places() {
		for first, ev := range all() {
			for second, ev2 := range all() {
				if !*pairs && crc32.ChecksumIEEE([]byte(first+second))%4 != 0 {
					continue
				}
				r := make(t)
				name := place + " + " + first + " + " + second
				func() {
					defer func() {
						if p := recover(); p != nil {
							t.Fatalf("%s: %v\n%s", name, p, debug.Stack())
						}
					}()
					r.on(ev(r))
					r.on(ev2(r))
					StageOf(&r.s)
					Blockers(&r.s)
					r.finish(name)
				}()
			}
		}
	}
}

// finish deletes the pod and answers as healthy owners would; it must come to Finish.
func (r *rig) finish(name string) {
	r.t.Helper()
	r.on(podmsg.Gate{RuntimeReady: true, NetworkReady: true, SourcesReady: true, Listed: true})
	r.on(podmsg.SourceGone{})
	for range 80 {
		if r.s.Done {
			return
		}
		for c, v := range r.s.Views {
			if v.Seq < r.s.Told[c] || v.Live() {
				if v.Current != nil {
					r.ends(c, 143)
				} else {
					r.child(c, model.StageDone)
				}
			}
		}
		switch r.s.Op {
		case podmsg.OpNone:
		case podmsg.OpLook:
			o := model.PodObserved{}
			for b := range r.s.sandboxes() {
				if seen := *b; !r.s.Removed[b.ID] {
					if r.s.Stopped[b.ID] {
						seen.State = model.SandboxNotReady
					}
					o.Sandboxes = append(o.Sandboxes, seen)
				}
			}
			r.looked(o)
			continue
		case podmsg.OpRunSandbox:
			r.done(model.OutcomeOK, sandboxIs("bx", r.s.Attempt, model.SandboxReady))
			continue
		case podmsg.OpSandboxStatus:
			r.done(model.OutcomeNotFound)
			continue
		default:
			r.done(model.OutcomeOK)
			continue
		}
		if r.s.Volumes == Dropping {
			r.on(podmsg.VolumesGone{})
		}
		if r.s.Cgroup == Dropping {
			r.on(podmsg.CgroupGone{})
		}
		r.acks()
		if !r.s.Timer.IsZero() && r.s.Op == podmsg.OpNone && !r.s.Done {
			r.wait(r.s.Timer.Sub(r.now))
		}
	}
	r.t.Fatalf("%s: it does not finish: stage %v, op %v, live %v, doubt %v, unseen %v", name, StageOf(&r.s), r.s.Op, r.s.live(), r.s.Doubt, r.s.Unseen)
}

func BenchmarkNext(b *testing.B) {
	r := newRig(&testing.T{}, podOf(v1.RestartPolicyAlways, "a")).runs()
	v := r.s.Views["a"]
	b.ReportAllocs()
	for b.Loop() {
		r.s, _ = Next(r.s, r.now, podmsg.Child{View: v})
	}
}
