package worldtest

import (
	"fmt"
	"reflect"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/container/containerplan"
	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/actors/pod/podstatus"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// agent is one life of the agent: the pod's actor, its containers, and the actors that answer them.
type agent struct {
	w    *world
	dead bool
	// life numbers the pod actor's incarnations.
	life   int
	newest *v1.Pod
	gone   bool
	gate   podmsg.Gate

	state    podplan.State
	status   v1.PodStatus
	built    bool
	children map[string]*child
	timer    int
	calls    map[model.Generation]*call
	kids     int

	// What the other actors hold for the pod.
	placed, volumes, cgroup bool
	wants                   int
	// The status actor.
	wanted   *v1.PodStatus
	wantGen  uint64
	inFlight bool
	deleting bool
}

type child struct {
	a     *agent
	name  string
	life  int
	dead  bool
	state containerplan.State
	last  model.ContainerView
	timer int
	calls map[model.Generation]*call
	probe int
}

var node = podstatus.Node{HostIPs: []string{"192.0.2.1"}, RuntimeName: "sim"}

// boot starts an agent: it hears the sources and lists the runtime in any order.
func (w *world) boot() {
	a := &agent{w: w}
	w.agent = a
	w.note("agent: starts")
	w.after(w.latency(), func() {
		if a.dead || w.api == nil {
			return // a pod that is gone is an orphan, which has another way
		}
		a.newest = w.api
		a.reborn()
	})
	w.after(10*time.Millisecond+w.latency(), func() {
		o, at := w.rt.observed(), w.now
		w.after(w.latency(), func() {
			a.gate.RuntimeReady, a.gate.NetworkReady, a.gate.Listed = true, true, true
			a.openGate()
			a.list(o, at)
		})
	})
	w.after(5*time.Millisecond+w.latency(), func() { a.gate.SourcesReady = true; a.openGate() })
}

func (w *world) killAgent() {
	w.note("agent: killed")
	a := w.agent
	a.dead = true
	a.dropCalls()
	w.boot()
}

func (a *agent) dropCalls() {
	for _, c := range a.calls {
		c.cancel()
	}
	for _, k := range a.children {
		k.dead = true
		for _, c := range k.calls {
			c.cancel()
		}
	}
}

// reborn makes the pod's actor, for the first time or after a panic.
func (a *agent) reborn() {
	a.life++
	a.dropCalls()
	a.state = podplan.New(a.newest, false)
	a.state.PubGen = uint64(a.life) << 32
	a.status, a.built = *a.newest.Status.DeepCopy(), false
	a.children, a.calls = map[string]*child{}, map[model.Generation]*call{}
	a.timer++
	a.tellPod("pods", a.gate)
	if a.gone {
		a.tellPod("pods", podmsg.SourceGone{})
	}
}

func (a *agent) openGate() { a.tellPod("pods", a.gate) }

func (a *agent) list(o model.PodObserved, at time.Time) {
	if a.gate.Listed {
		a.tellPod("pods", podmsg.Look{Observed: o, At: at})
	}
}

func (a *agent) desired(pod *v1.Pod, statusOnly bool) {
	if a.newest == nil {
		return
	}
	a.newest = pod
	if statusOnly {
		a.tellPod("pods", podmsg.StatusSeen{Pod: pod})
	} else {
		a.tellPod("pods", podmsg.Desired{Pod: pod})
	}
}

func (a *agent) sourceGone() {
	a.gone = true
	a.tellPod("pods", podmsg.SourceGone{})
}

// tellPod sends the pod's actor a message from somebody.
func (a *agent) tellPod(from string, ev podmsg.Event) {
	if a.dead || a.life == 0 {
		return
	}
	life := a.life
	a.w.send(fmt.Sprint(from, ">pod", life), a.w.hop(), func() {
		if !a.dead && a.life == life {
			a.step(ev)
		}
	})
}

func (a *agent) step(ev podmsg.Event) {
	w := a.w
	before, stage := a.state.End, podplan.StageOf(&a.state)
	var acts []podplan.Action
	var deadline time.Time
	if before != nil {
		deadline = before.Deadline
	}
	if d, ok := ev.(podmsg.Done); ok {
		delete(a.calls, d.Gen)
	}
	a.state, acts = podplan.Next(a.state, w.now, ev)
	if w.verbose {
		w.note("pod: %T %+v -> %v %s", ev, brief(ev), podplan.StageOf(&a.state), briefs(acts))
	}
	a.checkPod(before, deadline, acts)
	finished := false
	for _, act := range acts {
		if _, ok := act.(podplan.Finish); ok {
			finished = true
			continue
		}
		a.perform(act)
	}
	a.publish(podstatus.Silent(ev, stage, podplan.StageOf(&a.state)), ev)
	if finished {
		a.checkGone("Finish")
		if w.api != nil {
			w.fail("finished although the object is still there")
		}
		w.finished = true
		a.dead = true
		a.dropCalls()
	}
}

func (a *agent) publish(silent bool, ev podmsg.Event) {
	if !a.state.Listed || a.state.Admission == podplan.NotAsked && a.state.End == nil {
		return
	}
	st := podstatus.Build(&a.state, node, &a.status, a.w.now)
	a.checkStatus(&a.status, &st)
	if again := podstatus.Build(&a.state, node, &st, a.w.now); !reflect.DeepEqual(again, st) {
		a.w.fail("built twice, a status differs from itself:\n%+v\n%+v", st, again)
	}
	if a.built && reflect.DeepEqual(st, a.status) {
		return
	}
	if silent && a.built {
		a.w.fail("%T is said to change nothing in the status, but it did", ev)
	}
	a.status, a.built = st, true
	a.state.PubGen++
	a.wanted, a.wantGen = &st, a.state.PubGen
	a.write()
}

// write is the status actor: one write in flight, the newest wins.
func (a *agent) write() {
	w := a.w
	if a.inFlight || (a.wanted == nil && !a.deleting) || a.dead {
		return
	}
	if a.wanted == nil {
		a.checkGone("the final delete")
		w.after(5*time.Millisecond+w.latency(), w.remove)
		return
	}
	st, gen := a.wanted, a.wantGen
	a.wanted, a.inFlight = nil, true
	w.after(5*time.Millisecond+w.latency()*time.Duration(1+w.pick(6)), func() {
		a.inFlight = false
		if a.dead {
			return
		}
		w.change(true, func(p *v1.Pod) { p.Status = *st.DeepCopy() })
		a.tellPod("status", podmsg.Acked{Gen: gen})
		a.write()
	})
}

// answer sends the end of a pod's call.
func (a *agent) answer(gen model.Generation, op podmsg.Op, fill func(*podmsg.Done), err error) {
	d := podmsg.Done{Gen: gen, Op: op, Class: classOf(err), Err: err}
	if fill != nil && err == nil {
		fill(&d)
	}
	a.tellPod(fmt.Sprint("call", gen), d)
}

func (a *agent) perform(act podplan.Action) {
	w, rt, life := a.w, a.w.rt, a.life
	later := func(from string, d time.Duration, ev podmsg.Event) {
		w.after(d, func() {
			if a.life == life {
				a.tellPod(from, ev)
			}
		})
	}
	switch x := act.(type) {
	case podplan.Admit:
		a.placed = true
		if !x.Adopted && w.chance(4) {
			later("node", w.latency(), podmsg.Refused{Reason: "OutOfcpu", Message: "no"})
			return
		}
		later("node", w.latency(), podmsg.Admitted{})
	case podplan.Release:
		a.placed = false
	case podplan.WantCgroup:
		a.cgroup = true
		a.wants++
		if w.chance(5) {
			later("cgroups", w.latency(), podmsg.CgroupFailed{Err: errRefused})
		}
		later("cgroups", time.Second*time.Duration(w.pick(3)), podmsg.CgroupReady{Parent: "/pod"})
	case podplan.DropCgroup:
		a.noneRuns("the cgroup is removed")
		w.after(w.latency(), a.unless(func() { a.cgroup = false }))
		later("cgroups", w.latency()+2*time.Second, podmsg.CgroupGone{})
	case podplan.WantVolumes:
		a.volumes = true
		a.wants++
		if w.chance(10) {
			later("volumes", w.latency(), podmsg.VolumesBlocked{Reason: "FailedMount", Message: "wait"})
		}
		later("volumes", time.Second*time.Duration(w.pick(4)), podmsg.VolumesReady{Mounts: map[string]model.VolumeMount{}})
	case podplan.DropVolumes:
		a.noneRuns("volumes are unmounted")
		w.after(w.latency(), a.unless(func() { a.volumes = false }))
		later("volumes", w.latency()+2*time.Second, podmsg.VolumesGone{})
	case podplan.DropImages, podplan.Event:
	case podplan.RunSandbox:
		a.calls[x.Gen] = rt.runSandbox(x.Attempt, func(b model.Sandbox, err error) {
			a.reply(life, func() {
				a.answer(x.Gen, podmsg.OpRunSandbox, func(d *podmsg.Done) {
					d.Sandbox = b
					if b.Detailed {
						d.ReadAt = w.now
					}
				}, err)
			})
		})
	case podplan.ReadSandbox:
		at := w.now
		a.calls[x.Gen] = rt.readSandbox(x.ID, func(b model.Sandbox, err error) {
			a.reply(life, func() {
				a.answer(x.Gen, podmsg.OpSandboxStatus, func(d *podmsg.Done) { d.Sandbox, d.ReadAt = b, at }, err)
			})
		})
	case podplan.StopSandbox:
		a.calls[x.Gen] = rt.stopSandbox(x.ID, func() {
			if a.life == life && !a.dead && !rt.late { // a call of an earlier life may still take effect
				a.mayStop(x.ID)
			}
		}, func(err error) {
			a.reply(life, func() { a.answer(x.Gen, podmsg.OpStopSandbox, nil, err) })
		})
	case podplan.RemoveSandbox:
		a.calls[x.Gen] = rt.removeSandbox(x.ID, func(err error) {
			a.reply(life, func() { a.answer(x.Gen, podmsg.OpRemoveSandbox, nil, err) })
		})
	case podplan.Look:
		at := w.now
		a.calls[x.Gen] = rt.list(func(o model.PodObserved, err error) {
			a.reply(life, func() {
				a.answer(x.Gen, podmsg.OpLook, func(d *podmsg.Done) { d.Look = &podmsg.Look{Observed: o, At: at} }, err)
			})
		})
	case podplan.RemoveDirs:
		w.after(time.Millisecond, func() { a.reply(life, func() { a.answer(x.Gen, podmsg.OpRemoveDirs, nil, nil) }) })
	case podplan.Cancel:
		if c := a.calls[x.Gen]; c != nil {
			c.cancel()
		}
	case podplan.Spawn:
		a.spawn(x.Name, x.Instances)
	case podplan.Tell:
		if k := a.children[x.Name]; k != nil {
			k.tell("pod", x.Event)
		}
	case podplan.Delete:
		a.deleting = true
		a.write()
	case podplan.SetTimer:
		a.timer++
		n := a.timer
		if !x.At.IsZero() {
			w.after(max(0, x.At.Sub(w.now)), func() {
				if a.life == life && a.timer == n && !a.dead {
					a.step(podmsg.Tick{})
				}
			})
		}
	case podplan.Finish:
	}
}

// unless gives something back, if nobody has asked for it anew in between.
func (a *agent) unless(fn func()) func() {
	n := a.wants
	return func() {
		if a.wants == n {
			fn()
		}
	}
}

func (a *agent) reply(life int, fn func()) {
	if !a.dead && a.life == life {
		fn()
	}
}

func (a *agent) spawn(name string, instances []model.Container) {
	a.kids++
	k := &child{a: a, name: name, life: a.kids, calls: map[model.Generation]*call{}}
	k.state = containerplan.Rebuild(a.state.Pod, name, instances, policy.CrashLoop(0))
	a.children[name] = k
	k.tell("self", containermsg.Tick{})
}

// panicked rebuilds a container's actor from nothing; messages to the old one are lost.
func (a *agent) panicked(name string) {
	k := a.children[name]
	if k == nil || k.dead {
		return
	}
	a.w.note("container %s: panicked", name)
	k.dead = true
	for _, c := range k.calls {
		c.cancel()
	}
	life := a.life
	a.w.after(a.w.latency(), func() {
		if a.dead || a.life != life {
			return
		}
		a.spawn(name, nil)
		a.tellPod("system", podmsg.ChildRestarted{Name: name})
	})
}

func (k *child) tell(from string, ev containermsg.Event) {
	k.a.w.send(fmt.Sprint(from, ">", k.name, k.life), k.a.w.hop(), func() {
		if !k.dead && !k.a.dead {
			k.step(ev)
		}
	})
}

func (k *child) step(ev containermsg.Event) {
	w := k.a.w
	if d, ok := ev.(containermsg.Done); ok {
		delete(k.calls, d.Gen)
	}
	var acts []containerplan.Action
	k.state, acts = containerplan.Next(k.state, w.now, ev)
	k.checkContainer(acts)
	for _, act := range acts {
		k.perform(act)
	}
	v := containerplan.View(&k.state, w.now)
	if w.verbose {
		w.note("  %s: %T %+v -> %v %s", k.name, ev, brief(ev), v.Stage, briefs(acts))
	}
	if v != k.last {
		k.last = v
		k.a.tellPod(fmt.Sprint("child", k.name, k.life), podmsg.Child{View: v})
	}
}

func (k *child) answer(gen model.Generation, op containermsg.Op, id model.ContainerID, st *model.Container, at time.Time, err error) {
	if k.dead || k.a.dead {
		return
	}
	d := containermsg.Done{Gen: gen, Op: op, ID: id, Class: classOf(err), Err: err}
	if err == nil && st != nil {
		d.Status, d.ReadAt = st, at
	}
	k.tell(fmt.Sprint("call", gen), d)
}

func (k *child) perform(act containerplan.Action) {
	w, rt := k.a.w, k.a.w.rt
	switch x := act.(type) {
	case containerplan.EnsureImage:
		image := k.state.Spec.Image
		if w.chance(10) {
			w.after(w.latency(), func() {
				k.tell("images", containermsg.ImageFailed{Image: image, Reason: "ErrImagePull", Message: "no", RetryAt: w.now.Add(10 * time.Second)})
			})
			return
		}
		w.after(w.latency()*time.Duration(1+w.pick(5)), func() { k.tell("images", containermsg.ImageReady{Image: image, Ref: "sha256:x"}) })
	case containerplan.Create:
		k.calls[x.Gen] = rt.create(k.name, x.Attempt, x.Grant.Sandbox, k.state.Hash, k.state.Kind == model.KindInit, func(id model.ContainerID, err error) {
			k.answer(x.Gen, containermsg.OpCreate, id, nil, time.Time{}, err)
		})
	case containerplan.Start:
		k.calls[x.Gen] = rt.start(x.ID, func(st *model.Container, err error) {
			k.answer(x.Gen, containermsg.OpStart, x.ID, st, w.now, err)
		})
	case containerplan.PostStart:
		k.hook(x.Gen, containermsg.OpPostStart, x.ID, time.Hour)
	case containerplan.PreStop:
		k.hook(x.Gen, containermsg.OpPreStop, x.ID, x.Grace)
	case containerplan.Stop:
		k.calls[x.Gen] = rt.stop(x.ID, x.Grace, func(st *model.Container, err error) {
			k.answer(x.Gen, containermsg.OpStop, x.ID, st, w.now, err)
		})
	case containerplan.ReadStatus:
		at := w.now
		k.calls[x.Gen] = rt.status(x.ID, func(st *model.Container, err error) {
			k.answer(x.Gen, containermsg.OpStatus, x.ID, st, at, err)
		})
	case containerplan.Find:
		at := w.now
		k.calls[x.Gen] = rt.find(k.name, func(list []model.Container, err error) {
			if err != nil {
				k.answer(x.Gen, containermsg.OpStatus, "", nil, at, err)
				return
			}
			k.tell(fmt.Sprint("call", x.Gen), containermsg.Look{Instances: list, At: at})
		})
	case containerplan.Remove:
		rt.remove(x.ID, func(err error) { k.answer(x.Gen, containermsg.OpRemove, x.ID, nil, time.Time{}, err) })
	case containerplan.Cancel:
		if c := k.calls[x.Gen]; c != nil {
			c.cancel()
		}
	case containerplan.StartProbes:
		k.startProbes(x.ID)
	case containerplan.StopProbes:
		k.probe++
	case containerplan.SetTimer:
		k.timer++
		n := k.timer
		if !x.At.IsZero() {
			w.after(max(0, x.At.Sub(w.now)), func() {
				if k.timer == n && !k.dead && !k.a.dead {
					k.step(containermsg.Tick{})
				}
			})
		}
	case containerplan.Event:
	}
}

func (k *child) hook(gen model.Generation, op containermsg.Op, id model.ContainerID, within time.Duration) {
	w := k.a.w
	c := &call{}
	answer := func(err error) {
		if !c.answered {
			c.answered = true
			k.answer(gen, op, id, nil, time.Time{}, err)
		}
	}
	c.cancel = func() { w.after(time.Millisecond, func() { answer(errUnknown) }) }
	k.calls[gen] = c
	took := w.latency() * time.Duration(1+w.pick(10))
	var err error
	if w.chance(10) {
		err = errRefused
	}
	if took >= within {
		took, err = within, errUnknown
	}
	w.after(took, func() { answer(err) })
}

// startProbes answers as the probes of a healthy program would, with some failures.
func (k *child) startProbes(id model.ContainerID) {
	w := k.a.w
	k.probe++
	n := k.probe
	say := func(d time.Duration, kind containermsg.ProbeKind, ok bool, then func()) {
		w.after(d, func() {
			if k.probe != n || k.dead || k.a.dead {
				return
			}
			if c := w.rt.container(id); c == nil || c.State != model.ContainerRunning {
				ok = false
			}
			if kind == containermsg.Readiness && ok {
				w.probed[id] = true
			}
			k.step(containermsg.ProbeResult{Kind: kind, Container: id, OK: ok})
			if then != nil && ok {
				then()
			}
		})
	}
	ready := func() {
		if k.state.Spec.ReadinessProbe != nil {
			say(time.Second, containermsg.Readiness, true, func() {
				if w.chance(20) {
					say(time.Second, containermsg.Readiness, false, func() {})
					say(3*time.Second, containermsg.Readiness, true, nil)
				}
			})
		}
		if k.state.Spec.LivenessProbe != nil && w.chance(20) {
			say(time.Second*time.Duration(1+w.pick(5)), containermsg.Liveness, false, nil)
		}
	}
	switch {
	case k.state.Spec.StartupProbe == nil || k.state.Started:
		ready()
	case w.chance(15):
		say(time.Second, containermsg.Startup, false, nil)
	default:
		say(time.Second, containermsg.Startup, true, ready)
	}
}
