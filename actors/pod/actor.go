package pod

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/actors/container"
	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/actors/pod/podstatus"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/cgroupmsg"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/imagemsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/observe"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/messages/statusmsg"
	"github.com/troupe-dev/troupe/messages/volumemsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Deps are what a pod needs of the world.
type Deps struct {
	Runtime   cri.Runtime
	Runner    *runner.Runner
	Recorder  record.EventRecorder
	Node      messages.Sink
	Cgroups   messages.Sink
	Volumes   messages.Sink
	Images    messages.Sink
	Status    messages.Sink
	Pods      messages.Sink // the parent
	Sandboxes *SandboxBuilder
	// Memory tells whether a memory limit may sink; nil: it always may.
	Memory    Memory
	Container *container.Deps
	// Published is told of every new status, for the server and the CLI.
	Published Published
	Observer  observe.Observer
	// StatusNode is what statuses say of the node.
	StatusNode func() podstatus.Node
}

// Published keeps the newest object of each pod, with the status that this agent built, for readers outside.
// Implementations are safe for concurrent use and never block.
type Published interface {
	// Publish is given what a life of a pod shows; what a life that has ended says is dropped.
	Publish(pod *v1.Pod, life model.Incarnation)
}

// Config are the node-wide settings of pods.
type Config struct {
	// CallTimeout bounds CRI calls; a sandbox gets twice as long, as in the kubelet.
	CallTimeout time.Duration
	LogsRoot    string
	LinksDir    string
	Container   container.Config
}

// Actor is a pod's shell.
type Actor struct {
	deps        *Deps
	cfg         Config
	incarnation model.Incarnation

	state    podplan.State
	status   v1.PodStatus // newest one built
	built    bool
	statusOf *v1.Pod // the object that status was last published for
	// shown is the object with the newest status, for containers' actors that are made anew: they read it from their own
	// goroutines.
	shown atomic.Pointer[v1.Pod]

	children map[string]spawn.Ref
	sandbox  *runtimeapi.PodSandboxConfig // of the newest sandbox made or adopted
	madeFor  model.SandboxID
	cancel   map[model.Generation]context.CancelFunc
	timer    func()
	explain  explainer

	published time.Time // the newest status was built
	firstSeen time.Time
	counted   bool // its start has been told
	over      bool // /pods was told that it has ended; what comes now changes nothing
}

// New makes the shell of one pod.
func New(deps *Deps, cfg Config, pod *v1.Pod, static, orphan bool, inc model.Incarnation) *Actor {
	a := &Actor{deps: deps, cfg: cfg, incarnation: inc, children: map[string]spawn.Ref{}, cancel: map[model.Generation]context.CancelFunc{}}
	a.state = podplan.New(pod, static)
	a.state.Orphan = orphan
	// The numbers of what is published grow over all lives of this actor: to the status actor a smaller one is an old one.
	a.state.PubGen = uint64(time.Now().UnixMicro())
	a.status = *pod.Status.DeepCopy()
	return a
}

// Stopping ends what this incarnation has under way; the pod itself runs on.
func (a *Actor) Stopping(*spawn.Cell) {
	for _, cancel := range a.cancel {
		cancel()
	}
}

// Receive feeds the plan.
func (a *Actor) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case podmsg.Event:
		a.step(c, m)
	case spawn.Restarted:
		// The container's actor was rebuilt from nothing: it is shown what runs and granted anew.
		a.step(c, podmsg.ChildRestarted{Name: m.Name})
	case spawn.Quarantined:
		a.deps.Recorder.Eventf(a.state.Pod, v1.EventTypeWarning, "ActorQuarantined", "The actor of container %s failed repeatedly and rests until %s", m.Name, m.Until.Format(time.RFC3339))
	}
}

func (a *Actor) step(c *spawn.Cell, ev podmsg.Event) {
	if a.over {
		return
	}
	now := time.Now()
	switch e := ev.(type) {
	case podmsg.Done:
		delete(a.cancel, e.Gen)
	case podmsg.Acked:
		if e.Gen == a.state.PubGen {
			a.deps.Observer.StatusAcknowledged(now.Sub(a.published))
		}
	}
	if _, ok := ev.(podmsg.OwnerRestarted); ok {
		a.built = false // what was told may be lost: it is told again
	}
	before := podplan.StageOf(&a.state)
	var acts []podplan.Action
	a.state, acts = podplan.Next(a.state, now, ev)
	finished := false
	for _, act := range acts {
		if _, ok := act.(podplan.Finish); ok {
			finished = true
			continue
		}
		a.perform(c, act)
	}
	if a.state.Orphan {
		a.state.PubGen, a.state.AckedGen = 1, 1 // nobody is told of it
	} else if !a.built || !podstatus.Silent(ev, before, podplan.StageOf(&a.state)) {
		a.publish(c, now)
	}
	a.explain.update(c, a, before, now, ev)
	a.observe(now)
	if finished {
		a.deps.Observer.PodGone(a.state.Pod.Namespace, a.state.Pod.Name, string(a.state.Pod.UID))
		a.over = true
		a.deps.Status.Tell(statusmsg.Forget{UID: a.state.Pod.UID})
		a.deps.Pods.Tell(podsmsg.Ended{UID: a.state.Pod.UID, Incarnation: a.incarnation})
	}
}

// publish builds the status and passes it on when a reader could see a difference.
func (a *Actor) publish(c *spawn.Cell, now time.Time) {
	if podstatus.Premature(&a.state, &a.status) {
		a.seen()
		return
	}
	st := podstatus.Build(&a.state, a.deps.StatusNode(), &a.status, now)
	changed := !a.built || !reflect.DeepEqual(st, a.status)
	if !changed && a.statusOf == a.state.Pod {
		return
	}
	before := a.status
	if a.statusOf == nil {
		before = a.state.Pod.Status // what was said before this actor's time
	}
	a.status, a.built, a.statusOf = st, true, a.state.Pod
	a.seen()
	if !changed {
		return // only the object is newer; the status actor compares it with what it last said by itself
	}
	observeEnds(a.deps.Observer, &before, &st)
	a.state.PubGen++
	a.published = now
	a.deps.Status.Tell(statusmsg.Publish{Pod: a.state.Pod, Status: st, Gen: a.state.PubGen, Reply: c.Self()})
}

func (a *Actor) seen() {
	shown := *a.state.Pod
	if a.built {
		shown.Status = a.status
	}
	a.shown.Store(&shown)
	a.deps.Published.Publish(&shown, a.incarnation)
}

// perform does what the plan decided.
func (a *Actor) perform(c *spawn.Cell, act podplan.Action) {
	self, pod, run := c.Self(), a.state.Pod, a.state.Run
	switch x := act.(type) {
	case podplan.Admit:
		a.deps.Node.Tell(nodemsg.Admit{Pod: pod, Adopted: x.Adopted, Reply: self})
	case podplan.Release:
		a.deps.Node.Tell(nodemsg.Release{UID: pod.UID})
	case podplan.WantCgroup:
		a.deps.Cgroups.Tell(cgroupmsg.Want{Pod: x.Pod, AtLeast: x.AtLeast, Seq: x.Seq, Reply: self})
	case podplan.AskResize:
		a.deps.Node.Tell(nodemsg.Resize{Pod: pod, Reply: self})
	case podplan.LookMemory:
		a.lookMemory(c, x)
	case podplan.RecordActuated:
		a.deps.Node.Tell(nodemsg.Actuated{Pod: pod, Actuated: x.Actuated})
	case podplan.DropCgroup:
		a.deps.Cgroups.Tell(cgroupmsg.Drop{UID: pod.UID, Reply: self})
	case podplan.WantVolumes:
		a.deps.Volumes.Tell(volumemsg.Want{Pod: pod, Reply: self})
	case podplan.DropVolumes:
		a.deps.Volumes.Tell(volumemsg.Drop{UID: pod.UID, Reply: self})
	case podplan.DropImages:
		a.deps.Images.Tell(imagemsg.Drop{UID: pod.UID})
	case podplan.RunSandbox:
		a.call(c, x.Gen, podmsg.OpRunSandbox, runner.Starts, 2*a.cfg.CallTimeout, func(ctx context.Context) podmsg.Done {
			return a.deps.runSandbox(ctx, run, x)
		})
	case podplan.ReadSandbox:
		a.call(c, x.Gen, podmsg.OpSandboxStatus, runner.Reads, a.cfg.CallTimeout, func(ctx context.Context) podmsg.Done {
			return a.deps.readSandbox(ctx, x.ID)
		})
	case podplan.StopSandbox:
		a.call(c, x.Gen, podmsg.OpStopSandbox, runner.Stops, a.cfg.CallTimeout, func(ctx context.Context) podmsg.Done {
			return done(a.deps.Runtime.StopPodSandbox(ctx, x.ID))
		})
	case podplan.RemoveSandbox:
		a.call(c, x.Gen, podmsg.OpRemoveSandbox, runner.Stops, a.cfg.CallTimeout, func(ctx context.Context) podmsg.Done {
			return done(a.deps.Runtime.RemovePodSandbox(ctx, x.ID))
		})
	case podplan.Look:
		a.call(c, x.Gen, podmsg.OpLook, runner.Reads, a.cfg.CallTimeout, func(ctx context.Context) podmsg.Done {
			return a.deps.look(ctx, pod)
		})
	case podplan.RemoveDirs:
		links := a.logLinks()
		a.call(c, x.Gen, podmsg.OpRemoveDirs, runner.Disk, a.cfg.CallTimeout, func(context.Context) podmsg.Done {
			return removeLogs(a.cfg, pod, links)
		})
	case podplan.Cancel:
		if cancel := a.cancel[x.Gen]; cancel != nil {
			cancel()
		}
	case podplan.Spawn:
		a.spawn(c, x)
	case podplan.Tell:
		a.tell(x)
	case podplan.Delete:
		a.deps.Status.Tell(statusmsg.Delete{Pod: pod})
	case podplan.SetTimer:
		if a.timer != nil {
			a.timer()
			a.timer = nil
		}
		if !x.At.IsZero() {
			a.timer = c.After(time.Until(x.At), podmsg.Tick{})
		}
	case podplan.Event:
		kind := v1.EventTypeNormal
		if x.Warning {
			kind = v1.EventTypeWarning
		}
		if !a.state.Orphan {
			a.deps.Recorder.Event(container.Reference(pod, ""), kind, x.Reason, x.Message)
		}
	case podplan.Finish: // last, by step
	}
}

func (a *Actor) spawn(c *spawn.Cell, x podplan.Spawn) {
	pod, deps, cfg, parent := a.state.Run, a.deps.Container, a.cfg.Container, c.Self()
	a.children[x.Name] = c.Child(x.Name, "container", func(k *spawn.Cell) spawn.Receiver {
		instances := x.Instances
		if k.Incarnation() > 1 {
			instances = nil // what it was spawned with is old: the pod shows it what runs now
			if newest := a.shown.Load(); newest != nil {
				pod = newest
			}
		}
		return container.New(deps, cfg, parent, pod, x.Name, instances)
	})
}

// logLinks are the links to the logs of the containers that this pod knows. Those of earlier instances dangle without
// their logs, and go with the node's garbage: to look for them here would read a directory of the whole node for each pod.
func (a *Actor) logLinks() []string {
	if a.cfg.LinksDir == "" {
		return nil
	}
	var links []string
	for name, v := range a.state.Views {
		for _, c := range []*model.Container{v.Current, v.Last} {
			if c != nil {
				links = append(links, container.LogLink(a.cfg.LinksDir, a.state.Pod, name, c.ID))
			}
		}
	}
	return links
}

// tell passes an event to a container; a grant carries the config of its sandbox, an object the newest status: a container
// that was made anew takes from it what the runtime does not know (readiness, restarts).
func (a *Actor) tell(x podplan.Tell) {
	if d, ok := x.Event.(containermsg.Desired); ok && a.built {
		with := *d.Pod
		with.Status = a.status
		x.Event = containermsg.Desired{Pod: &with}
	}
	if g, ok := x.Event.(containermsg.Grant); ok {
		g.SandboxConfig = a.sandboxConfig(g.Sandbox)
		if b := a.state.Sandbox; b != nil {
			g.Handler = b.Handler
		}
		x.Event = g
	}
	a.children[x.Name].Tell(x.Event)
}

// sandboxConfig is what the sandbox was made from; after a restart of the agent it is made again from the same pod.
func (a *Actor) sandboxConfig(id model.SandboxID) *runtimeapi.PodSandboxConfig {
	if a.sandbox != nil && a.madeFor == id {
		return a.sandbox
	}
	var attempt uint32
	if a.state.Sandbox != nil {
		attempt = a.state.Sandbox.Attempt
	}
	userns, err := a.deps.Sandboxes.recorded(a.state.Pod)
	if err != nil {
		return nil
	}
	cfg, err := a.deps.Sandboxes.Config(a.state.Run, attempt, a.state.CgroupParent, userns, nil)
	if err != nil {
		return nil
	}
	a.sandbox, a.madeFor = cfg, id
	return cfg
}

// call runs an effect in the runner; its Done comes back as a message of this incarnation.
func (a *Actor) call(c *spawn.Cell, gen model.Generation, op podmsg.Op, lane runner.Lane, timeout time.Duration, fn func(context.Context) podmsg.Done) {
	ctx, cancel := context.WithCancel(c.Context())
	a.cancel[gen] = cancel
	self, entry, began := c.Self(), c.Entry(), time.Now()
	a.deps.Runner.Do(ctx, runner.Job{
		Lane: lane, Op: op.String(), Owner: a.state.Pod.Namespace + "/" + a.state.Pod.Name, Timeout: timeout,
		Fn: func(ctx context.Context) error {
			defer cancel()
			d := fn(ctx)
			d.Gen, d.Op = gen, op
			entry.Action(op.String(), recordTook(began), recordClass(d.Class))
			self.Tell(d)
			return d.Err
		},
		OnPanic: func(any) { self.Tell(podmsg.Done{Gen: gen, Op: op, Class: model.OutcomeUnknown, Err: errPanicked}) },
	})
}
