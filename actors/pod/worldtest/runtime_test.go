package worldtest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/troupe-dev/troupe/actors/container/containerplan"
	"github.com/troupe-dev/troupe/messages/model"
)

var (
	errRefused  = errors.New("refused")
	errUnknown  = errors.New("no answer")
	errNotFound = errors.New("not found")
	errReserved = errors.New(`failed to reserve container name "x": name "x" is reserved for "y"`)
)

func classOf(err error) model.OutcomeClass {
	switch {
	case err == nil:
		return model.OutcomeOK
	case errors.Is(err, errNotFound):
		return model.OutcomeNotFound
	case errors.Is(err, errUnknown), errors.Is(err, errReserved):
		return model.OutcomeUnknown
	}
	return model.OutcomeRefused
}

// instance is a container as the runtime has it.
type instance struct {
	model.Container
	seq     int
	ignores bool
	stopBy  time.Time
	exitGen int
	init    bool
	late    bool // it began to run when its start had long been given up
}

// fakeRuntime keeps what a real one would; nobody but calls and faults changes it.
type fakeRuntime struct {
	w          *world
	seq        int
	sandboxes  []*model.Sandbox
	containers []*instance
	reserved   map[string]bool
	// late: the effect under way comes after its caller was told that the outcome is unknown. What comes into being so is
	// found by the node's slow list, as everything that no pod owns; orphans are those sandboxes.
	late    bool
	orphans map[model.SandboxID]bool
}

// call is one call in flight.
type call struct {
	cancelled bool
	answered  bool
	cancel    func()
}

// do carries one call out: effect changes the runtime, reply gets what effect returned or the failure. A fault decides
// what happens to both. undo is called when the effect will never happen.
func (r *fakeRuntime) do(timeout time.Duration, took time.Duration, effect func() (any, error), undo func(), reply func(any, error)) *call {
	w, c := r.w, &call{}
	answer := func(v any, err error) {
		if !c.answered {
			c.answered = true
			reply(v, err)
		}
	}
	happen := func(at time.Duration, then func(any, error)) {
		w.after(at, func() {
			r.late = c.answered
			v, err := effect()
			r.late = false
			if then != nil {
				then(v, err)
			}
		})
	}
	lat := took + w.latency()
	switch fault := w.pick(40); {
	case fault < 30 || w.calm(): // as it should be
		happen(lat/2, func(v any, err error) { w.after(lat/2, func() { answer(v, err) }) })
	case fault < 32: // refused
		w.after(lat, func() { undo(); answer(nil, errRefused) })
	case fault < 34: // done, but the answer is lost
		happen(lat, nil)
		w.after(lat+time.Duration(w.pick(20))*time.Second, func() { answer(nil, errUnknown) })
	case fault < 36: // nothing done, and no answer
		w.after(lat, func() { undo(); answer(nil, errUnknown) })
	case fault < 38: // late, possibly after it was given up
		happen(time.Duration(1+w.pick(100))*time.Second, func(v any, err error) { answer(v, err) })
		w.after(timeout, func() { answer(nil, errUnknown) })
	default: // hangs
		w.after(timeout, func() { undo(); answer(nil, errUnknown) })
	}
	c.cancel = func() {
		c.cancelled = true
		w.after(time.Millisecond, func() { answer(nil, errUnknown) }) // what it was to do may still happen
	}
	return c
}

func (r *fakeRuntime) sandbox(id model.SandboxID) *model.Sandbox {
	for _, b := range r.sandboxes {
		if b.ID == id {
			return b
		}
	}
	return nil
}

func (r *fakeRuntime) container(id model.ContainerID) *instance {
	for _, c := range r.containers {
		if c.ID == id {
			return c
		}
	}
	return nil
}

func (r *fakeRuntime) ready() int {
	n := 0
	for _, b := range r.sandboxes {
		if b.State == model.SandboxReady && !r.orphans[b.ID] {
			n++
		}
	}
	return n
}

func (r *fakeRuntime) runningNames(id model.SandboxID) []string {
	var out []string
	for _, c := range r.containers {
		if c.State == model.ContainerRunning && !c.late && (id == "" || c.Sandbox == id) {
			out = append(out, c.Name)
		}
	}
	return out
}

func (r *fakeRuntime) reserve(name string) error {
	if r.reserved[name] {
		return errReserved
	}
	r.reserved[name] = true
	return nil
}

func (r *fakeRuntime) runSandbox(attempt uint32, reply func(model.Sandbox, error)) *call {
	w := r.w
	name := "sandbox-" + strconv.Itoa(int(attempt))
	if err := r.reserve(name); err != nil {
		w.after(time.Millisecond, func() { reply(model.Sandbox{}, err) })
		return &call{cancel: func() {}}
	}
	undo := func() { delete(r.reserved, name) }
	return r.do(240*time.Second, 80*time.Millisecond, func() (any, error) {
		if w.chance(4) { // it came half way: there is a sandbox, and it is not ready
			r.seq++
			r.orphans[model.SandboxID(fmt.Sprintf("b%d", r.seq))] = r.late
			r.sandboxes = append(r.sandboxes, &model.Sandbox{ID: model.SandboxID(fmt.Sprintf("b%d", r.seq)), UID: w.uid(), Attempt: attempt, State: model.SandboxNotReady, CreatedAt: w.now})
			return nil, errRefused
		}
		if r.ready() > 0 && !r.late {
			w.fail("a second sandbox became ready")
		}
		r.seq++
		b := &model.Sandbox{ID: model.SandboxID(fmt.Sprintf("b%d", r.seq)), UID: w.uid(), Attempt: attempt, State: model.SandboxReady, CreatedAt: w.now, IPs: []string{"10.0.0.1"}}
		r.sandboxes = append(r.sandboxes, b)
		r.orphans[b.ID] = r.late
		w.note("runtime: sandbox %s attempt %d ready", b.ID, attempt)
		out := *b
		out.Detailed = !w.chance(10)
		if !out.Detailed {
			out.IPs = nil
		}
		return out, nil
	}, undo, func(v any, err error) {
		b, _ := v.(model.Sandbox)
		reply(b, err)
	})
}

func (r *fakeRuntime) readSandbox(id model.SandboxID, reply func(model.Sandbox, error)) *call {
	return r.do(120*time.Second, time.Millisecond, func() (any, error) {
		b := r.sandbox(id)
		if b == nil {
			return nil, errNotFound
		}
		out := *b
		out.Detailed = true
		return out, nil
	}, func() {}, func(v any, err error) {
		b, _ := v.(model.Sandbox)
		reply(b, err)
	})
}

func (r *fakeRuntime) killSandbox(id model.SandboxID) {
	b := r.sandbox(id)
	if b == nil || b.State != model.SandboxReady {
		return
	}
	b.State = model.SandboxNotReady
	r.w.note("runtime: sandbox %s not ready", id)
	for _, c := range r.containers {
		if c.Sandbox == id {
			r.exit(c, 137)
		}
	}
	r.w.announce(model.ContainerID(id))
}

func (r *fakeRuntime) stopSandbox(id model.SandboxID, check func(), reply func(error)) *call {
	return r.do(120*time.Second, 20*time.Millisecond, func() (any, error) {
		if r.sandbox(id) == nil {
			return nil, errNotFound
		}
		check()
		r.killSandbox(id)
		return nil, nil
	}, func() {}, func(_ any, err error) { reply(err) })
}

func (r *fakeRuntime) removeSandbox(id model.SandboxID, reply func(error)) *call {
	return r.do(120*time.Second, 20*time.Millisecond, func() (any, error) {
		b := r.sandbox(id)
		if b == nil {
			return nil, nil
		}
		if b.State == model.SandboxReady {
			r.w.fail("sandbox %s is removed while it is ready", id)
		}
		for _, c := range slices.Clone(r.containers) {
			if c.Sandbox == id {
				r.drop(c)
			}
		}
		r.sandboxes = slices.DeleteFunc(r.sandboxes, func(x *model.Sandbox) bool { return x.ID == id })
		delete(r.reserved, "sandbox-"+strconv.Itoa(int(b.Attempt)))
		return nil, nil
	}, func() {}, func(_ any, err error) { reply(err) })
}

func (r *fakeRuntime) drop(c *instance) {
	r.exit(c, 137)
	r.containers = slices.DeleteFunc(r.containers, func(x *instance) bool { return x == c })
	delete(r.reserved, c.Name+"_"+strconv.Itoa(int(c.Attempt)))
}

func (r *fakeRuntime) create(name string, attempt uint32, sandbox model.SandboxID, hash string, init bool, reply func(model.ContainerID, error)) *call {
	w := r.w
	key := name + "_" + strconv.Itoa(int(attempt))
	if err := r.reserve(key); err != nil {
		w.after(time.Millisecond, func() { reply("", err) })
		return &call{cancel: func() {}}
	}
	return r.do(120*time.Second, 15*time.Millisecond, func() (any, error) {
		b := r.sandbox(sandbox)
		if b == nil || b.State != model.SandboxReady {
			delete(r.reserved, key)
			return nil, errRefused
		}
		r.seq++
		c := &instance{seq: r.seq, init: init, Container: model.Container{
			ID: model.ContainerID(fmt.Sprintf("c%d", r.seq)), Sandbox: sandbox, UID: w.uid(), Name: name, Attempt: attempt, State: model.ContainerCreated, CreatedAt: w.now,
			Image: "image", Annotations: map[string]string{containerplan.AnnotationRestartCount: strconv.Itoa(int(attempt)), containerplan.AnnotationHash: hash},
		}}
		r.containers = append(r.containers, c)
		w.note("runtime: created %s %s attempt %d", c.ID, name, attempt)
		return c.ID, nil
	}, func() { delete(r.reserved, key) }, func(v any, err error) {
		id, _ := v.(model.ContainerID)
		reply(id, err)
	})
}

func (r *fakeRuntime) start(id model.ContainerID, reply func(*model.Container, error)) *call {
	w := r.w
	return r.do(120*time.Second, 25*time.Millisecond, func() (any, error) {
		c := r.container(id)
		if c == nil {
			return nil, errNotFound
		}
		if c.State != model.ContainerCreated {
			return nil, errRefused
		}
		b := r.sandbox(c.Sandbox)
		if b == nil || b.State != model.SandboxReady || w.chance(4) {
			if !w.chance(40) { // containerd ends it; another runtime may leave it created
				c.State, c.ExitCode, c.Reason, c.FinishedAt = model.ContainerExited, 128, "StartError", w.now
			}
			return nil, errRefused
		}
		for _, o := range r.containers {
			if o.Name == c.Name && o.State == model.ContainerRunning {
				w.fail("%s and %s of container %s run at once", o.ID, c.ID, c.Name)
			}
		}
		c.State, c.StartedAt, c.late = model.ContainerRunning, w.now, r.late
		w.note("runtime: started %s %s", c.ID, c.Name)
		w.started[c.Name] = true
		r.program(c)
		w.announce(c.ID)
		if w.chance(8) {
			return nil, nil // started, but the read after it failed
		}
		return r.read(c), nil
	}, func() {}, func(v any, err error) {
		st, _ := v.(*model.Container)
		reply(st, err)
	})
}

// program decides how the instance goes on by itself. Calm: init containers succeed, all others stay.
func (r *fakeRuntime) program(c *instance) {
	w := r.w
	end := func(after time.Duration, code int32) {
		gen := c.exitGen
		w.after(after, func() {
			if c.exitGen == gen {
				r.exit(c, code)
			}
		})
	}
	codes := []int32{0, 1, 42, 0}
	c.ignores = w.chance(15)
	soon := time.Duration(1+w.pick(200)) * 20 * time.Millisecond
	switch {
	case c.init && w.chance(25), !c.init && w.chance(35):
		end(soon, codes[w.pick(len(codes))])
	case c.init:
		end(50*time.Millisecond, 0)
	}
}

func (r *fakeRuntime) exit(c *instance, code int32) {
	if c.State != model.ContainerRunning {
		return
	}
	c.State, c.ExitCode, c.FinishedAt, c.Reason = model.ContainerExited, code, r.w.now, "Error"
	if code == 0 {
		c.Reason = "Completed"
		r.w.succeeded[c.Name] = true
	}
	c.exitGen++
	r.w.exits[c.ID] = code
	r.w.note("runtime: %s %s exited %d", c.ID, c.Name, code)
	r.w.announce(c.ID)
}

func (r *fakeRuntime) read(c *instance) *model.Container {
	out := c.Container
	out.Detailed, out.Sandbox = true, "" // a read by id does not name the sandbox
	return &out
}

func (r *fakeRuntime) stop(id model.ContainerID, grace time.Duration, reply func(*model.Container, error)) *call {
	w := r.w
	return r.do(120*time.Second+grace, time.Millisecond, func() (any, error) {
		c := r.container(id)
		if c == nil {
			return nil, nil
		}
		if c.State != model.ContainerRunning {
			return r.read(c), nil
		}
		by := w.now.Add(grace)
		if !c.ignores && grace > 10*time.Millisecond {
			by = w.now.Add(10 * time.Millisecond)
		}
		gen, code := c.exitGen, int32(143)
		if c.ignores {
			code = 137
		}
		w.after(by.Sub(w.now), func() {
			if c.exitGen == gen {
				r.exit(c, code)
			}
		})
		return by, nil
	}, func() {}, func(v any, err error) {
		by, waits := v.(time.Time)
		if !waits {
			st, _ := v.(*model.Container)
			reply(st, err)
			return
		}
		w.after(max(0, by.Sub(w.now))+time.Millisecond, func() {
			if c := r.container(id); c != nil && !w.chance(10) {
				reply(r.read(c), nil)
				return
			}
			reply(nil, nil)
		})
	})
}

func (r *fakeRuntime) status(id model.ContainerID, reply func(*model.Container, error)) *call {
	return r.do(120*time.Second, time.Millisecond, func() (any, error) {
		c := r.container(id)
		if c == nil {
			return nil, errNotFound
		}
		return r.read(c), nil
	}, func() {}, func(v any, err error) {
		st, _ := v.(*model.Container)
		reply(st, err)
	})
}

func (r *fakeRuntime) remove(id model.ContainerID, reply func(error)) *call {
	return r.do(120*time.Second, time.Millisecond, func() (any, error) {
		if c := r.container(id); c != nil {
			if c.State == model.ContainerRunning {
				r.w.fail("%s of %s is removed while it runs", c.ID, c.Name)
			}
			r.drop(c)
		}
		return nil, nil
	}, func() {}, func(_ any, err error) { reply(err) })
}

// observed is a list, without what only a status read shows.
func (r *fakeRuntime) observed() model.PodObserved {
	o := model.PodObserved{UID: r.w.uid()}
	for i := len(r.sandboxes) - 1; i >= 0; i-- {
		b := *r.sandboxes[i]
		b.IPs = nil
		o.Sandboxes = append(o.Sandboxes, b)
	}
	for i := len(r.containers) - 1; i >= 0; i-- {
		c := r.containers[i].Container
		c.StartedAt, c.FinishedAt, c.ExitCode, c.Reason = time.Time{}, time.Time{}, 0, ""
		o.Containers = append(o.Containers, c)
	}
	if r.w.chance(30) { // a runtime lists in any order
		slices.Reverse(o.Sandboxes)
		slices.Reverse(o.Containers)
	}
	return o
}

func (r *fakeRuntime) list(reply func(model.PodObserved, error)) *call {
	return r.do(120*time.Second, 2*time.Millisecond, func() (any, error) { return r.observed(), nil }, func() {}, func(v any, err error) {
		o, _ := v.(model.PodObserved)
		reply(o, err)
	})
}

// find is the container actor's own look: a list, and a read of the newest two.
func (r *fakeRuntime) find(name string, reply func([]model.Container, error)) *call {
	return r.do(120*time.Second, 3*time.Millisecond, func() (any, error) {
		out := []model.Container{}
		for i := len(r.containers) - 1; i >= 0 && len(out) < 2; i-- {
			if c := r.containers[i]; c.Name == name {
				out = append(out, *r.read(c))
				out[len(out)-1].Sandbox = c.Sandbox
			}
		}
		return out, nil
	}, func() {}, func(v any, err error) {
		l, _ := v.([]model.Container)
		reply(l, err)
	})
}

// removeSandboxNow is removal by hand.
func (r *fakeRuntime) removeSandboxNow(id model.SandboxID) {
	for _, c := range slices.Clone(r.containers) {
		if c.Sandbox == id {
			r.drop(c)
		}
	}
	r.sandboxes = slices.DeleteFunc(r.sandboxes, func(x *model.Sandbox) bool {
		if x.ID == id {
			delete(r.reserved, "sandbox-"+strconv.Itoa(int(x.Attempt)))
		}
		return x.ID == id
	})
}

// sweepOrphans takes away what came into being when nobody waited for it any more.
func (r *fakeRuntime) sweepOrphans() {
	for _, b := range slices.Clone(r.sandboxes) {
		if r.orphans[b.ID] {
			r.removeSandboxNow(b.ID)
		}
	}
}
