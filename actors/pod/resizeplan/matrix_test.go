package resizeplan

import (
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"reflect"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/allocation"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// rig drives one pod's resize by hand: containers a (resized as it runs) and b (restarts when its memory changes).
type rig struct {
	t    *testing.T
	name string
	s    State
	now  time.Time
	pod  *v1.Pod
	// views are the containers; settled ones will not run again.
	views map[string]*model.ContainerView
	ids   int
	// covered is the promise that the pod's cgroup was last made for, cgroupErr why it could not be.
	covered   *model.Allocation
	cgroupErr string
	// acts is all that was done. look is the look that nobody has answered, words the newest number that each container's
	// actor knows; it forgets when it is rebuilt.
	acts  []Action
	look  uint64
	words map[string]uint64
	// sinks are the limits that the newest look that found room was about; nil before one.
	sinks map[model.ContainerID]model.Bytes
}

// shapes of what the spec asks.
var (
	usual  = res(100, 200, 64, 128)
	bigger = res(300, 400, 256, 512)
	less   = res(50, 100, 32, 64)
	mixed  = res(300, 400, 32, 64)
)

func podWith(generation int64, r v1.ResourceRequirements) *v1.Pod {
	p := &v1.Pod{}
	p.Name, p.Namespace, p.UID, p.Generation, p.Status.QOSClass = "p", "n", "u", generation, v1.PodQOSBurstable
	p.Spec.Containers = []v1.Container{{Name: "a", Resources: r}, {Name: "b", Resources: r, ResizePolicy: []v1.ContainerResizePolicy{{ResourceName: v1.ResourceMemory, RestartPolicy: v1.RestartContainer}}}}
	return p
}

func newRig(t *testing.T, name string) *rig {
	return &rig{t: t, name: name, now: time.Unix(1e9, 0), pod: podWith(1, usual), words: map[string]uint64{}, views: map[string]*model.ContainerView{"a": {Name: "a"}, "b": {Name: "b"}}}
}

func (r *rig) facts() Facts {
	f := Facts{Desired: r.pod, Allocated: allocation.Apply(r.pod, r.s.Allocated), CgroupErr: r.cgroupErr, Now: r.now}
	for i := range r.pod.Spec.Containers {
		c := &r.pod.Spec.Containers[i]
		f.Containers = append(f.Containers, Container{Name: c.Name, View: *r.views[c.Name], Policy: c.ResizePolicy})
	}
	f.Covered = r.covered != nil && r.covered == r.s.Allocated
	f.Exact = f.Covered && r.s.Allocated != nil && r.s.Settling(f)
	return f
}

// runs starts a new instance of a container with these resources.
func (r *rig) runs(name string, given v1.ResourceRequirements) {
	r.ids++
	v := r.views[name]
	v.Current = &model.Container{ID: model.ContainerID(fmt.Sprint(name, r.ids)), State: model.ContainerRunning}
	v.Given = &given
}

// event lets something happen and takes the plan's step after it, as the pod does.
func (r *rig) event(f func() []Action) {
	r.t.Helper()
	first, promise, gen := r.s, r.s.Allocated, r.s.Gen
	acts := f()
	if promise == nil || !allocation.Equal(r.s.Allocated, promise) {
		r.sinks = nil
	}
	before := r.s
	promised, f2 := r.s.Allocated, r.facts()
	acts = append(acts, r.s.Step(f2)...)
	r.check(before, f2, acts, gen)
	if r.s.Allocated != promised {
		r.t.Fatalf("%s: a step changed the node's promise", r.name)
	}
	for _, c := range []struct{ was, is *Condition }{{first.Progress, r.s.Progress}, {first.Pending, r.s.Pending}} {
		if c.was != nil && c.is != nil && c.was.Reason == c.is.Reason && c.was.Generation == c.is.Generation && !c.was.Since.Equal(c.is.Since) && r.s.Allocated == promise {
			r.t.Fatalf("%s: %q began anew", r.name, c.is.Reason)
		}
	}
	r.acts = append(r.acts, acts...)
}

// check has the invariants of a step.
func (r *rig) check(before State, f Facts, acts []Action, gen uint64) {
	r.t.Helper()
	bad := func(format string, args ...any) { r.t.Helper(); r.t.Fatalf(r.name+": "+format, args...) }
	if r.s.Allocated == nil && len(acts) > 0 {
		bad("%v before the node has answered", acts)
	}
	asks, updates, notes := 0, 0, map[string]int{}
	for _, act := range acts {
		switch x := act.(type) {
		case Ask:
			if asks++; asks > 1 || r.s.Asked != f.Desired || !r.s.Waiting {
				bad("asked %d times, for %v", asks, r.s.Asked)
			}
		case Look:
			if x.Gen <= gen || before.Check.Stage == Checking {
				bad("a second look: %d after %d", x.Gen, gen)
			}
			if r.s.Update != nil {
				bad("a look while an update is in flight")
			}
			gen, r.sinks, r.look = x.Gen, nil, x.Gen
		case Give:
			r.gave(before, f, x, gen)
			r.words[x.Name] = x.Gen
			if gen = x.Gen; !x.Restart {
				updates++
			}
		case Record:
			if !allocation.Equal(x.Actuated, r.s.Actuated()) || before.Told != nil && allocation.Equal(before.Told, x.Actuated) {
				bad("recorded %v", x.Actuated)
			}
		case Event:
			if notes[x.Reason]++; notes[x.Reason] > 1 {
				bad("said %s twice", x.Reason)
			}
			if x.Reason == allocation.EventCompleted && (r.s.Resizing || r.s.Progress != nil || !f.Exact || len(r.s.changes(f)) > 0) {
				bad("completed too early")
			}
		}
	}
	switch {
	case updates > 1 || updates == 1 && before.Update != nil && !r.ended(before.Update):
		bad("two updates at once")
	case r.s.Update != nil && !r.s.Resizing:
		bad("an update outside of a resize")
	case len(r.s.Restarting) > 0 && !r.s.Resizing:
		bad("a restart outside of a resize")
	case r.s.Pending != nil && r.s.Pending.Generation > f.Desired.Generation:
		bad("pending for an object that is not there")
	case r.s.Gen < before.Gen:
		bad("numbers go back")
	}
}

// gave has the invariants of one word to a container.
func (r *rig) gave(before State, f Facts, x Give, gen uint64) {
	r.t.Helper()
	bad := func(format string, args ...any) { r.t.Helper(); r.t.Fatalf(r.name+": "+format, args...) }
	v := r.views[x.Name]
	switch {
	case x.Gen <= gen:
		bad("give %d after %d", x.Gen, gen)
	case v.Current == nil || v.Current.ID != x.ID || v.Current.State != model.ContainerRunning:
		bad("give to %s, which does not run", x.ID)
	case !f.Covered:
		bad("give to %s, for which the pod's cgroup has no room", x.ID)
	case f.Now.Before(before.RetryAt):
		bad("give to %s before the retry is due", x.ID)
	case r.s.Check.Stage != Checked:
		bad("give to %s before a look at memory", x.ID)
	case before.Restarting[x.Name] == x.ID:
		bad("give to %s, which gives way already", x.ID)
	}
	given, want := r.s.Given[x.Name], effective(f, x.Name)
	was, now, to := valuesOf(&given), valuesOf(x.Resources), valuesOf(&want)
	if first := shrunk(was, to); now != first && (now != to || !x.Restart && first != was) { // what shrinks goes first
		bad("%s gets %v on the way from %v to %v", x.ID, now, was, to)
	}
	if x.Restart {
		if x.Name != "b" || was.memoryLimit == to.memoryLimit && was.memoryRequest == to.memoryRequest {
			bad("%s restarts for %v instead of %v", x.ID, to, was)
		}
		return
	}
	if lower(was.memoryLimit, now.memoryLimit) != was.memoryLimit && int64(r.sinks[x.ID]) != now.memoryLimit {
		bad("%s sinks from %d to %d, looked at were %v", x.ID, was.memoryLimit, now.memoryLimit, r.sinks)
	}
}

// ended: the update is answered, or its instance is no more.
func (r *rig) ended(u *Update) bool {
	v := r.views[u.Name]
	return v.Current == nil || v.Current.ID != u.ID || v.Current.State != model.ContainerRunning || v.ResizeGen == u.Gen
}

// The steps below let somebody answer; without an open question they say what is of no meaning, which must do no harm.

func (r *rig) wants(res v1.ResourceRequirements) func() []Action {
	return func() []Action { r.pod = podWith(r.pod.Generation+1, res); return nil }
}

func (r *rig) admits(with, actuated v1.ResourceRequirements) func() []Action {
	return func() []Action {
		r.s.Admitted(r.pod, podmsg.Admitted{Allocated: allocation.Of(podWith(1, with)), Actuated: allocation.Of(podWith(1, actuated))})
		return nil
	}
}

// asked is the object that the node's answer is about.
func (r *rig) asked() *v1.Pod {
	if r.s.Asked != nil {
		return r.s.Asked
	}
	return r.pod
}

func (r *rig) agrees() []Action {
	return r.s.Resized(r.facts(), podmsg.Resized{Allocated: allocation.Of(r.asked()), Generation: r.asked().Generation})
}

func (r *rig) refuses(reason string, back int64) func() []Action {
	return func() []Action {
		return r.s.Refused(r.facts(), podmsg.ResizePending{Reason: reason, Message: "no", Generation: r.asked().Generation - back})
	}
}

// looked answers the newest look with this use of memory by each container.
func (r *rig) looked(used model.Bytes, err error) func() []Action {
	return func() []Action {
		c := r.s.Check
		r.look = 0
		e := podmsg.MemoryUsage{Gen: c.Gen, Pod: used, Containers: map[model.ContainerID]model.Bytes{}, Err: err}
		for _, k := range c.Containers {
			e.Containers[k.ID] = used
		}
		acts := r.s.Used(r.facts(), e)
		if c.Stage == Checking && r.s.Check.Stage == Checked {
			r.sinks = map[model.ContainerID]model.Bytes{}
			for _, k := range c.Containers {
				r.sinks[k.ID] = k.Limit
			}
		}
		return acts
	}
}

// updated answers the update in flight.
func (r *rig) updated(err string) func() []Action {
	return func() []Action {
		if u := r.s.Update; u != nil && !r.ended(u) && r.words[u.Name] == u.Gen {
			v := r.views[u.Name]
			if v.ResizeGen, v.ResizeErr = u.Gen, err; err == "" {
				v.Given = u.To
			}
		}
		return nil
	}
}

func (r *rig) restarted(name string) func() []Action {
	return func() []Action {
		given := usual
		if r.s.Allocated != nil {
			given = r.s.Allocated.Containers[name]
		}
		r.runs(name, given)
		return nil
	}
}

func (r *rig) exited(name string) func() []Action {
	return func() []Action {
		if v := r.views[name]; v.Current != nil {
			c := *v.Current
			c.State, v.Current = model.ContainerExited, &c
		}
		return nil
	}
}

func (r *rig) lost(name string) func() []Action {
	return func() []Action {
		r.s.Lost(name)
		delete(r.words, name)
		v := r.views[name]
		v.Given, v.ResizeGen, v.ResizeErr = nil, 0, ""
		return nil
	}
}

func (r *rig) cgroup(err string) func() []Action {
	return func() []Action {
		if r.cgroupErr = err; err == "" {
			r.covered = r.s.Allocated
		}
		return nil
	}
}

func (r *rig) passes(d time.Duration) func() []Action {
	return func() []Action { r.now = r.now.Add(d); return nil }
}

func (r *rig) nothing() []Action { return nil }

// places are ways to every state that decides differently.
func places() map[string]func(*rig) {
	then := func(from func(*rig), steps ...func(*rig) func() []Action) func(*rig) {
		return func(r *rig) {
			from(r)
			for _, s := range steps {
				r.event(s(r))
			}
		}
	}
	wants := func(x v1.ResourceRequirements) func(*rig) func() []Action {
		return func(r *rig) func() []Action { return r.wants(x) }
	}
	agrees := func(r *rig) func() []Action { return r.agrees }
	covers := func(r *rig) func() []Action { return r.cgroup("") }
	room := func(r *rig) func() []Action { return r.looked(1, nil) }
	updates := func(r *rig) func() []Action { return r.updated("") }
	fresh := func(r *rig) {}
	held := then(fresh, func(r *rig) func() []Action { return r.admits(usual, usual) })
	rest := then(held, func(r *rig) func() []Action {
		return func() []Action { r.runs("a", usual); r.runs("b", usual); return nil }
	}, covers)
	grows := then(rest, wants(bigger), agrees)
	shrinks := then(rest, wants(less), agrees)
	restarts := then(shrinks, covers, room)
	half := then(fresh, func(r *rig) func() []Action {
		return func() []Action {
			r.runs("a", usual)
			r.runs("b", usual)
			r.views["a"].Given, r.views["b"].Given = nil, nil
			return nil
		}
	}, func(r *rig) func() []Action { return r.admits(bigger, usual) })
	return map[string]func(*rig){
		"new": fresh, "admitted, nothing runs": held, "at rest": rest,
		"asked":                 then(rest, wants(bigger)),
		"deferred":              then(rest, wants(bigger), func(r *rig) func() []Action { return r.refuses(v1.PodReasonDeferred, 0) }),
		"infeasible":            then(rest, wants(bigger), func(r *rig) func() []Action { return r.refuses(v1.PodReasonInfeasible, 0) }),
		"grows":                 grows,
		"no room":               then(grows, func(r *rig) func() []Action { return r.cgroup("no") }),
		"growing":               then(grows, covers),
		"a has grown":           then(grows, covers, updates),
		"failed":                then(grows, covers, func(r *rig) func() []Action { return r.updated("no") }),
		"shrinks":               shrinks,
		"shrinking":             restarts,
		"in use":                then(shrinks, covers, func(r *rig) func() []Action { return r.looked(1<<40, nil) }),
		"all are told":          then(restarts, updates),
		"other cgroup":          then(restarts, updates, func(r *rig) func() []Action { return r.restarted("b") }),
		"changed its mind":      then(grows, covers, wants(usual)),
		"has grown":             then(grows, covers, updates, func(r *rig) func() []Action { return r.restarted("b") }, covers),
		"a new agent, half way": half, "half way and covered": then(half, covers),
	}
}

// events are everything that can happen, in every shape that matters.
func events() map[string]func(*rig) func() []Action {
	return map[string]func(*rig) func() []Action{
		"nothing":              func(r *rig) func() []Action { return r.nothing },
		"wants more":           func(r *rig) func() []Action { return r.wants(bigger) },
		"wants less":           func(r *rig) func() []Action { return r.wants(less) },
		"wants a mix":          func(r *rig) func() []Action { return r.wants(mixed) },
		"a restarts as it was": func(r *rig) func() []Action { return func() []Action { r.runs("a", usual); return nil } },
		"wants back":           func(r *rig) func() []Action { return r.wants(usual) },
		"other object": func(r *rig) func() []Action {
			return func() []Action { return r.wants(r.pod.Spec.Containers[0].Resources)() }
		},
		"admitted":                      func(r *rig) func() []Action { return r.admits(usual, usual) },
		"admitted with a newer promise": func(r *rig) func() []Action { return r.admits(less, usual) },
		"admitted without one": func(r *rig) func() []Action {
			return func() []Action { r.s.Admitted(r.pod, podmsg.Admitted{}); return nil }
		},
		"forgotten": func(r *rig) func() []Action { return func() []Action { r.s.Forgotten(); return nil } },
		"agreed":    func(r *rig) func() []Action { return r.agrees },
		"agreed to an older object": func(r *rig) func() []Action {
			return func() []Action {
				return r.s.Resized(r.facts(), podmsg.Resized{Allocated: allocation.Of(podWith(1, usual)), Generation: r.pod.Generation - 1})
			}
		},
		"deferred":         func(r *rig) func() []Action { return r.refuses(v1.PodReasonDeferred, 0) },
		"infeasible":       func(r *rig) func() []Action { return r.refuses(v1.PodReasonInfeasible, 0) },
		"deferred before":  func(r *rig) func() []Action { return r.refuses(v1.PodReasonDeferred, 1) },
		"little is used":   func(r *rig) func() []Action { return r.looked(1, nil) },
		"much is used":     func(r *rig) func() []Action { return r.looked(1<<40, nil) },
		"use is not known": func(r *rig) func() []Action { return r.looked(0, errors.New("no")) },
		"an old look": func(r *rig) func() []Action {
			return func() []Action { return r.s.Used(r.facts(), podmsg.MemoryUsage{Gen: r.s.Gen + 1}) }
		},
		"updated":           func(r *rig) func() []Action { return r.updated("") },
		"update refused":    func(r *rig) func() []Action { return r.updated("no") },
		"a restarts":        func(r *rig) func() []Action { return r.restarted("a") },
		"b restarts":        func(r *rig) func() []Action { return r.restarted("b") },
		"a ends":            func(r *rig) func() []Action { return r.exited("a") },
		"b ends":            func(r *rig) func() []Action { return r.exited("b") },
		"a's actor is lost": func(r *rig) func() []Action { return r.lost("a") },
		"b's actor is lost": func(r *rig) func() []Action { return r.lost("b") },
		"cgroup covers":     func(r *rig) func() []Action { return r.cgroup("") },
		"cgroup fails":      func(r *rig) func() []Action { return r.cgroup("no") },
		"a second":          func(r *rig) func() []Action { return r.passes(time.Second) },
		"a minute":          func(r *rig) func() []Action { return r.passes(time.Minute) },
	}
}

// pairs runs every pair of events; without it every event runs with a quarter of the others after it.
var pairs = flag.Bool("pairs", false, "run every pair of events")

// TestMatrix lets everything happen, and everything after it, in every place: nothing panics, no step breaks an invariant,
// the same twice asks nothing new, and with everybody answering what the spec wants is carried out.
func TestMatrix(t *testing.T) {
	for place, bring := range places() {
		for first, one := range events() {
			for second, two := range events() {
				if !*pairs && crc32.ChecksumIEEE([]byte(first+second))%4 != 0 {
					continue
				}
				r := newRig(t, place+" + "+first+" + "+second)
				func() {
					defer func() {
						if p := recover(); p != nil {
							t.Fatalf("%s: %v\n%s", r.name, p, debug.Stack())
						}
					}()
					bring(r)
					r.event(one(r))
					r.event(two(r))
					r.rests()
					r.ends()
				}()
			}
		}
	}
}

// rests: a step without news does nothing.
func (r *rig) rests() {
	r.t.Helper()
	r.event(r.nothing) // the cgroup that was made for all to come may be just right now
	n := len(r.acts)
	r.event(r.nothing)
	if len(r.acts) != n {
		r.t.Fatalf("%s: without news it did %v", r.name, r.acts[n:])
	}
}

// ends answers as a healthy node does, until there is nothing left to do: then what is wanted was carried out.
func (r *rig) ends() {
	r.t.Helper()
	if r.s.Allocated == nil {
		r.event(r.admits(usual, usual))
	}
	for _, name := range []string{"a", "b"} {
		if v := r.views[name]; v.Current == nil || v.Current.State != model.ContainerRunning {
			r.event(r.restarted(name))
		}
	}
	for range 40 {
		was := r.s
		r.event(r.cgroup(""))
		switch {
		case r.s.Waiting || r.s.Pending != nil || !allocation.Fits(r.pod, r.s.Allocated): // a node tries again what it has deferred
			r.event(r.agrees)
		case r.s.Check.Stage == Checking && r.look == r.s.Check.Gen:
			r.event(r.looked(1, nil))
		case r.s.Update != nil:
			r.event(r.updated(""))
		case len(r.s.Restarting) > 0:
			for name := range r.s.Restarting {
				if r.words[name] != 0 {
					r.event(r.restarted(name))
				}
			}
		case r.s.Resizing:
			r.event(r.passes(time.Minute))
		default:
			if reflect.DeepEqual(was, r.s) {
				r.done()
				return
			}
		}
	}
	r.t.Fatalf("%s: it does not come to rest: resizing %v, waiting %v, check %+v, update %+v, restarting %v, progress %+v, pending %+v, %d to change", r.name, r.s.Resizing, r.s.Waiting, r.s.Check, r.s.Update, r.s.Restarting, r.s.Progress, r.s.Pending, len(r.s.changes(r.facts())))
}

func (r *rig) done() {
	r.t.Helper()
	if r.s.Progress != nil && r.s.Progress.Reason != "" || r.s.Pending != nil || r.s.Waiting || r.s.Update != nil {
		r.t.Fatalf("%s: still under way: %+v %+v", r.name, r.s.Progress, r.s.Pending)
	}
	for i := range r.pod.Spec.Containers {
		c := &r.pod.Spec.Containers[i]
		given := r.s.Given[c.Name]
		if valuesOf(&given) != valuesOf(&c.Resources) {
			r.t.Fatalf("%s: %s has %v", r.name, c.Name, valuesOf(&given))
		}
		if told := r.s.Told.Containers[c.Name]; valuesOf(&told) != valuesOf(&c.Resources) {
			r.t.Fatalf("%s: the node knows %v of %s", r.name, valuesOf(&told), c.Name)
		}
	}
	if slices.ContainsFunc(r.s.record(), func(Action) bool { return true }) {
		r.t.Fatalf("%s: something is not recorded", r.name)
	}
}
