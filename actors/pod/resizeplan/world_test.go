package resizeplan

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/actors/pod/allocation"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

const mi = 1 << 20

// world is one pod with its node, its cgroup and its containers. Answers lie in a box until they are delivered, each in its
// own time; so does everything an agent loses when it dies.
type world struct {
	t   *rapid.T
	now time.Time

	desired  *v1.Pod
	capacity int64 // thousandths of a core that the node has for this pod
	// What is on disk.
	allocated, actuated *model.Allocation
	// What runs.
	cgroup     cgroups.Desired
	containers []*container
	used       int64 // of memory, by every container

	state State
	shown *v1.Pod // what the containers know: it follows once the cgroup covers it
	seq   uint64  // of cgroup wants
	seen  uint64
	of    of
	box   []letter
	fails int // updates that will be refused
}

// letter is something under way; those of one way keep their order.
type letter struct {
	way string
	f   func()
}

// of is what the pod's cgroup was last asked for.
type of struct {
	allocated *model.Allocation
	settled   bool
}

type container struct {
	name    string
	n       int // instance
	running bool
	given   v1.ResourceRequirements // the runtime's truth
	view    model.ContainerView
}

func newWorld(t *rapid.T, names ...string) *world {
	w := &world{t: t, now: time.Unix(1e9, 0), capacity: 4000, used: mi}
	w.desired = &v1.Pod{}
	w.desired.Name, w.desired.Namespace, w.desired.UID, w.desired.Generation = "p", "ns", "u", 1
	w.desired.Status.QOSClass = v1.PodQOSBurstable
	for _, name := range names {
		w.desired.Spec.Containers = append(w.desired.Spec.Containers, v1.Container{Name: name, Resources: res(100, 200, 64, 64)})
	}
	w.allocated = allocation.Of(w.desired)
	w.cgroup = cgroups.PodResources(w.desired, cgroups.PodConfig{EnforceCPULimits: true})
	for _, name := range names {
		c := &container{name: name}
		w.containers = append(w.containers, c)
		w.start(c, w.desired)
	}
	w.admitted()
	return w
}

// res is requests and limits in thousandths of a core and MiB.
func res(request, limit, memory, memoryLimit int64) v1.ResourceRequirements {
	return v1.ResourceRequirements{
		Requests: v1.ResourceList{"cpu": *resource.NewMilliQuantity(request, resource.DecimalSI), "memory": *resource.NewQuantity(memory*mi, resource.BinarySI)},
		Limits:   v1.ResourceList{"cpu": *resource.NewMilliQuantity(limit, resource.DecimalSI), "memory": *resource.NewQuantity(memoryLimit*mi, resource.BinarySI)},
	}
}

// start makes a new instance with what the pod shows.
func (w *world) start(c *container, pod *v1.Pod) {
	c.n++
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == c.name {
			c.given = allocation.Effective(pod.Spec.Resources, &pod.Spec.Containers[i].Resources)
		}
	}
	given := c.given
	c.running = true
	c.view.Current = &model.Container{ID: c.id(), State: model.ContainerRunning}
	c.view.Given = &given
	w.room(c)
}

func (c *container) id() model.ContainerID { return model.ContainerID(fmt.Sprint(c.name, c.n)) }

// room is the first invariant: no container is given more than the pod's cgroup has.
func (w *world) room(c *container) {
	if m := w.cgroup.Resources.Memory; m != nil && c.given.Limits.Memory().Value() > *m.Limit {
		w.t.Fatalf("%s is given %d bytes, its pod has %d", c.name, c.given.Limits.Memory().Value(), *m.Limit)
	}
	if q := w.cgroup.Resources.CPU.Quota; q != nil && c.given.Limits.Cpu().MilliValue()*100 > *q {
		w.t.Fatalf("%s is given %dm, its pod has a quota of %d", c.name, c.given.Limits.Cpu().MilliValue(), *q)
	}
}

func (w *world) admitted() {
	w.state.Admitted(w.desired, podmsg.Admitted{Allocated: w.allocated, Actuated: w.actuated})
	w.step()
}

func (w *world) run() *v1.Pod { return allocation.Apply(w.desired, w.state.Allocated) }

func (w *world) facts() Facts {
	f := Facts{Desired: w.desired, Allocated: w.run(), Now: w.now}
	f.Covered = w.of.allocated == w.state.Allocated && w.seen == w.seq
	f.Exact = f.Covered && w.of.settled
	for _, c := range w.containers {
		f.Containers = append(f.Containers, Container{Name: c.name, View: c.view, Policy: w.policy(c.name)})
	}
	return f
}

func (w *world) policy(name string) []v1.ContainerResizePolicy {
	if name == "restarts" {
		return []v1.ContainerResizePolicy{{ResourceName: "memory", RestartPolicy: v1.RestartContainer}}
	}
	return nil
}

// step is the pod's: the plan's step, and then the cgroup if it should be another.
func (w *world) step() {
	if w.shown == nil || w.facts().Covered || allocation.Fits(w.run(), allocation.Of(w.shown)) {
		w.shown = w.run()
	}
	w.perform(w.state.Step(w.facts()))
	target := of{w.state.Allocated, !w.state.Resizing || w.state.Settling(w.facts())}
	if target == w.of {
		return
	}
	w.of = target
	w.seq++
	seq, life := w.seq, &w.box
	want := cgroups.PodResources(w.run(), cgroups.PodConfig{EnforceCPULimits: true})
	if !target.settled {
		want = cgroups.Cover(want, cgroups.PodResources(allocation.Apply(w.run(), w.state.Holds(w.shown)), cgroups.PodConfig{EnforceCPULimits: true}))
	}
	w.later("cgroup", func() {
		if seq != w.seq || life != &w.box {
			return
		}
		w.cgroup.Resources.CPU = want.Resources.CPU
		w.cgroup.Resources.Memory = want.Resources.Memory
		for _, c := range w.containers {
			if c.running {
				w.room(c)
			}
		}
		w.seen = seq
	})
}

func (w *world) later(way string, f func()) { w.box = append(w.box, letter{way, f}) }

func (w *world) perform(acts []Action) {
	gives := 0
	for _, act := range acts {
		switch x := act.(type) {
		case Ask:
			w.ask()
		case Look:
			m := podmsg.MemoryUsage{Gen: x.Gen, Pod: model.Bytes(w.used * int64(len(w.containers))), Containers: map[model.ContainerID]model.Bytes{}}
			for _, id := range x.Containers {
				m.Containers[id] = model.Bytes(w.used)
			}
			w.later("look", func() { w.perform(w.state.Used(w.facts(), m)) })
		case Give:
			if !x.Restart {
				gives++
			}
			w.give(x)
		case Record:
			w.actuated = x.Actuated
		case Event:
		}
	}
	if gives > 1 {
		w.t.Fatal("two updates at once")
	}
}

func (w *world) ask() {
	pod := w.desired
	w.later("node", func() {
		if sum := requests(pod); sum > w.capacity {
			w.perform(w.state.Refused(w.facts(), podmsg.ResizePending{Reason: v1.PodReasonDeferred, Message: "no room", Generation: pod.Generation}))
			return
		}
		w.allocated = allocation.Of(pod)
		w.perform(w.state.Resized(w.facts(), podmsg.Resized{Allocated: w.allocated, Generation: pod.Generation}))
	})
}

func requests(pod *v1.Pod) (sum int64) {
	for i := range pod.Spec.Containers {
		sum += pod.Spec.Containers[i].Resources.Requests.Cpu().MilliValue()
	}
	return sum
}

// give is the container's part.
func (w *world) give(x Give) {
	c := w.find(x.Name)
	w.later(c.name, func() {
		if !c.running || c.id() != x.ID {
			return
		}
		if x.Restart {
			w.start(c, w.shown)
			return
		}
		c.view.ResizeGen, c.view.ResizeErr = x.Gen, ""
		if w.fails > 0 {
			w.fails--
			c.view.ResizeErr = "no"
			return
		}
		if now, was := x.Resources.Limits.Memory().Value(), c.given.Limits.Memory().Value(); now < was && w.used >= now {
			w.t.Fatalf("the memory limit of %s sinks to %d, %d is used", c.name, now, w.used)
		}
		given := *x.Resources
		c.given, c.view.Given = given, &given
		w.room(c)
	})
}

func (w *world) find(name string) *container {
	for _, c := range w.containers {
		if c.name == name {
			return c
		}
	}
	return nil
}

// deliver takes one answer out of the box, the oldest of its way.
func (w *world) deliver(i int) {
	for j := range i {
		if w.box[j].way == w.box[i].way {
			i = j
			break
		}
	}
	f := w.box[i].f
	w.box = append(w.box[:i:i], w.box[i+1:]...)
	f()
	w.step()
}

// patch changes what the spec asks.
func (w *world) patch(edit func(*v1.Pod)) {
	pod := w.desired.DeepCopy()
	edit(pod)
	pod.Generation++
	w.desired = pod
	w.step()
}

// die is the end of an agent and the start of the next: what is on disk and what runs is left.
func (w *world) die() {
	w.box = nil
	w.state, w.of, w.seen, w.shown = State{}, of{}, 0, allocation.Apply(w.desired, w.shownBy())
	w.seq++
	for _, c := range w.containers {
		c.view.Given, c.view.ResizeGen, c.view.ResizeErr = nil, 0, ""
	}
	w.admitted()
}

// shownBy is what containers of a new agent know until the cgroup covers the promise: nothing that is larger.
func (w *world) shownBy() *model.Allocation {
	a := &model.Allocation{Containers: map[string]v1.ResourceRequirements{}}
	for _, c := range w.containers {
		a.Containers[c.name] = c.given
	}
	return a
}

// settle lets everything be answered and waits for retries.
func (w *world) settle() {
	for i := 0; ; i++ {
		if i > 500 {
			w.t.Fatalf("it does not come to rest: %+v", w.state)
		}
		if len(w.box) > 0 {
			w.deliver(0)
			continue
		}
		if !w.state.RetryAt.After(w.now) {
			return
		}
		w.now = w.state.RetryAt
		w.step()
	}
}

func TestWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, "a", "b", "restarts")
		milli := rapid.Int64Range(1, 20)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 8).Draw(t, "what") {
			case 0, 1:
				w.patch(func(p *v1.Pod) {
					i := rapid.IntRange(0, 2).Draw(t, "container")
					request, memory := milli.Draw(t, "cpu")*100, milli.Draw(t, "memory")*8
					p.Spec.Containers[i].Resources = res(request, request+100, memory, memory+8)
				})
			case 2:
				w.now = w.now.Add(rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(t, "time"))
				w.step()
			case 3:
				c := w.containers[rapid.IntRange(0, 2).Draw(t, "crash")]
				w.start(c, w.shown)
				w.step()
			case 4:
				w.fails = rapid.IntRange(0, 2).Draw(t, "fails")
			case 5:
				w.die()
			default:
				if len(w.box) > 0 {
					w.deliver(rapid.IntRange(0, len(w.box)-1).Draw(t, "which"))
				}
			}
			if w.allocated != nil && requests(allocation.Apply(w.desired, w.allocated)) > w.capacity {
				t.Fatal("more is promised than there is")
			}
		}
		w.fails = 0
		w.settle()
		w.done()
	})
}

// done is the last invariant: what is promised has been carried out, and nothing is said to be under way.
func (w *world) done() {
	w.t.Helper()
	for i, c := range w.containers {
		want := allocation.Effective(nil, &w.run().Spec.Containers[i].Resources)
		if valuesOf(&want) != valuesOf(&c.given) {
			w.t.Fatalf("%s has %v, promised is %v", c.name, c.given, want)
		}
	}
	exact := cgroups.PodResources(w.run(), cgroups.PodConfig{EnforceCPULimits: true})
	if *w.cgroup.Resources.Memory.Limit != *exact.Resources.Memory.Limit || *w.cgroup.Resources.CPU.Quota != *exact.Resources.CPU.Quota {
		w.t.Fatalf("the pod's cgroup is not what is promised")
	}
	if w.state.Progress != nil || w.state.Resizing || w.state.Waiting {
		w.t.Fatalf("still under way: %+v", w.state)
	}
	if !allocation.Fits(w.desired, w.state.Allocated) != (w.state.Pending != nil) {
		w.t.Fatalf("pending %v although the spec fits: %v", w.state.Pending, allocation.Fits(w.desired, w.state.Allocated))
	}
}
