// Package container is the shell around containerplan: one actor for each container of a pod. It feeds events into the
// plan and performs its actions; it decides nothing.
package container

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/troupe-dev/troupe/actors/container/containerplan"
	"github.com/troupe-dev/troupe/actors/container/probeplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/imagemsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/observe"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/supervisor/policy"
	"github.com/troupe-dev/troupe/supervisor/registry"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// LaneHooks is the runner's lane of lifecycle hooks, which may take as long as a grace period.
const LaneHooks runner.Lane = "hooks"

// Deps are what a container needs of the world.
type Deps struct {
	Runtime  cri.Runtime
	Runner   *runner.Runner
	Images   messages.Sink // the image actor
	Recorder record.EventRecorder
	Builder  *Builder
	Hooks    Hooks
	Probes   Prober
	Observer observe.Observer
}

// Config are the node-wide settings of containers.
type Config struct {
	// CallTimeout bounds every CRI call but a stop, which adds its grace (KubeletConfiguration runtimeRequestTimeout).
	CallTimeout time.Duration
	// Curve is the crash-loop back-off.
	Curve policy.Curve
	// LogsRoot is where pod logs are, LinksDir where the flat links to them are ("" for none).
	LogsRoot, LinksDir string
	// AgentStarted is when this agent began: instances that are older were adopted.
	AgentStarted time.Time
}

// Hooks runs lifecycle hooks. Run blocks until the hook has ended or ctx ends; message is for the event.
type Hooks interface {
	Run(ctx context.Context, pod *v1.Pod, c *v1.Container, id model.ContainerID, ips []string, h *v1.LifecycleHandler) (message string, err error)
}

// Actor is a container's shell.
type Actor struct {
	deps   *Deps
	cfg    Config
	parent messages.Sink // the pod

	state   containerplan.State
	last    model.ContainerView
	grant   containermsg.Grant // newest, for the addresses
	cancel  map[model.Generation]context.CancelFunc
	timer   func()
	probing probing
}

// New makes the shell of one container. instances are what the runtime shows of it, newest first.
func New(deps *Deps, cfg Config, parent messages.Sink, pod *v1.Pod, name string, instances []model.Container) *Actor {
	return &Actor{
		deps: deps, cfg: cfg, parent: parent, cancel: map[model.Generation]context.CancelFunc{},
		state: containerplan.Rebuild(pod, name, instances, cfg.Curve),
	}
}

// Started lets the plan look at what it was rebuilt from.
func (a *Actor) Started(c *spawn.Cell) { a.step(c, containermsg.Tick{}) }

// Stopping ends what this incarnation has under way; the instance itself runs on.
func (a *Actor) Stopping(*spawn.Cell) {
	for _, cancel := range a.cancel {
		cancel()
	}
}

// Receive feeds the plan.
func (a *Actor) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case containermsg.Event:
		a.step(c, m)
	case probeTick:
		if m.gen == a.probing.gen {
			a.probe(c, probeplan.Tick{})
		}
	case probeDone:
		if m.gen == a.probing.gen {
			a.probe(c, m.outcome)
		}
	}
}

func (a *Actor) step(c *spawn.Cell, ev containermsg.Event) {
	switch e := ev.(type) {
	case containermsg.Grant:
		a.grant = e
	case containermsg.Done:
		delete(a.cancel, e.Gen)
		a.count(e)
	}
	now := time.Now()
	var acts []containerplan.Action
	a.state, acts = containerplan.Next(a.state, now, ev)
	for _, act := range acts {
		a.perform(c, act)
	}
	if v := containerplan.View(&a.state, now); v != a.last {
		if v.Stage != a.last.Stage {
			c.Entry().SetState(v.Stage.String())
		}
		a.last = v
		a.parent.Tell(podmsg.Child{View: v})
	}
}

// perform does what the plan decided.
func (a *Actor) perform(c *spawn.Cell, act containerplan.Action) {
	self := c.Self()
	pod, spec := a.state.Pod, a.state.Spec
	switch x := act.(type) {
	case containerplan.EnsureImage:
		a.deps.Images.Tell(imagemsg.Want{
			Pod: pod, Container: spec.Name, FieldPath: FieldPath(a.state.Kind, spec.Name), Image: spec.Image, Policy: spec.ImagePullPolicy, Ahead: x.Ahead, Reply: self,
		})
	case containerplan.Create:
		in := CreateInput{Pod: pod, Container: spec, Hash: a.state.Hash, Attempt: x.Attempt, ImageRef: x.Image, Grant: x.Grant, Target: a.target()}
		a.call(c, x.Gen, containermsg.OpCreate, runner.Starts, a.cfg.CallTimeout, func(ctx context.Context) containermsg.Done {
			return a.deps.Builder.create(ctx, in)
		})
	case containerplan.Start:
		a.call(c, x.Gen, containermsg.OpStart, runner.Starts, a.cfg.CallTimeout, func(ctx context.Context) containermsg.Done {
			return a.deps.start(ctx, a.cfg, pod, spec, x.ID)
		})
	case containerplan.PostStart:
		hook, ips := spec.Lifecycle.PostStart, a.grant.IPs
		a.call(c, x.Gen, containermsg.OpPostStart, LaneHooks, 0, func(ctx context.Context) containermsg.Done {
			return a.deps.hook(ctx, pod, spec, x.ID, ips, hook)
		})
	case containerplan.PreStop:
		hook, ips := spec.Lifecycle.PreStop, a.grant.IPs
		a.call(c, x.Gen, containermsg.OpPreStop, LaneHooks, x.Grace, func(ctx context.Context) containermsg.Done {
			return a.deps.hook(ctx, pod, spec, x.ID, ips, hook)
		})
	case containerplan.Stop:
		a.call(c, x.Gen, containermsg.OpStop, runner.Stops, a.cfg.CallTimeout+x.Grace, func(ctx context.Context) containermsg.Done {
			return a.deps.stop(ctx, pod, spec, x.ID, x.Grace)
		})
	case containerplan.ReadStatus:
		a.call(c, x.Gen, containermsg.OpStatus, runner.Reads, a.cfg.CallTimeout, func(ctx context.Context) containermsg.Done {
			return a.deps.read(ctx, pod, spec, x.ID)
		})
	case containerplan.Update:
		a.call(c, x.Gen, containermsg.OpResize, runner.Reads, a.cfg.CallTimeout, func(ctx context.Context) containermsg.Done {
			return a.deps.update(ctx, pod, spec, x)
		})
	case containerplan.Find:
		name := a.state.Name
		a.start(c, x.Gen, "ListContainers", runner.Reads, a.cfg.CallTimeout, func(ctx context.Context) (containermsg.Event, error) {
			return a.deps.find(ctx, pod, spec, name, x.Gen)
		})
	case containerplan.Remove:
		a.call(c, x.Gen, containermsg.OpRemove, runner.Stops, a.cfg.CallTimeout, func(ctx context.Context) containermsg.Done {
			return done(a.deps.Runtime.RemoveContainer(ctx, x.ID), x.ID)
		})
	case containerplan.Cancel:
		if cancel := a.cancel[x.Gen]; cancel != nil {
			cancel()
		}
	case containerplan.StartProbes:
		a.startProbes(c, x.ID)
	case containerplan.StopProbes:
		a.stopProbes(c, x.KeepReadiness)
	case containerplan.SetTimer:
		if a.timer != nil {
			a.timer()
			a.timer = nil
		}
		if !x.At.IsZero() {
			a.timer = c.After(time.Until(x.At), containermsg.Tick{})
		}
	case containerplan.Event:
		kind := v1.EventTypeNormal
		if x.Warning {
			kind = v1.EventTypeWarning
		}
		a.deps.Recorder.Event(Reference(pod, FieldPath(a.state.Kind, a.state.Name)), kind, x.Reason, x.Message)
	}
}

// target is the id of the container whose PID namespace an ephemeral container joins; the pod passes it in the grant.
func (a *Actor) target() model.ContainerID { return a.grant.Target }

// call runs a CRI call or hook in the runner; its Done comes back as a message of this incarnation.
func (a *Actor) call(c *spawn.Cell, gen model.Generation, op containermsg.Op, lane runner.Lane, timeout time.Duration, fn func(context.Context) containermsg.Done) {
	a.start(c, gen, op.String(), lane, timeout, func(ctx context.Context) (containermsg.Event, error) {
		d := fn(ctx)
		d.Gen, d.Op = gen, op
		return d, d.Err
	})
}

func (a *Actor) start(c *spawn.Cell, gen model.Generation, name string, lane runner.Lane, timeout time.Duration, fn func(context.Context) (containermsg.Event, error)) {
	ctx, cancel := context.WithCancel(c.Context())
	if gen != 0 {
		a.cancel[gen] = cancel
	}
	self, entry, began := c.Self(), c.Entry(), time.Now()
	a.deps.Runner.Do(ctx, runner.Job{
		Lane: lane, Op: name, Ahead: lane == runner.Starts, Owner: a.state.Pod.Namespace + "/" + a.state.Pod.Name + "/" + a.state.Name, Timeout: timeout,
		Fn: func(ctx context.Context) error {
			defer cancel()
			ev, err := fn(ctx)
			entry.Action(name, registry.Took(time.Since(began)), registry.Class(cri.ClassOf(err).String()))
			self.Tell(ev)
			return err
		},
		OnPanic: func(any) { self.Tell(containermsg.Done{Gen: gen, Class: model.OutcomeUnknown, Err: errPanicked}) },
	})
}

// FieldPath names a container in events as the kubelet does.
func FieldPath(kind model.ContainerKind, name string) string {
	switch kind {
	case model.KindInit, model.KindSidecar:
		return "spec.initContainers{" + name + "}"
	case model.KindEphemeral:
		return "spec.ephemeralContainers{" + name + "}"
	case model.KindApp:
	}
	return "spec.containers{" + name + "}"
}

// Reference is the object reference of a container for events.
func Reference(pod *v1.Pod, fieldPath string) *v1.ObjectReference {
	return &v1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, FieldPath: fieldPath,
	}
}

// count tells of a start that succeeded or failed.
func (a *Actor) count(e containermsg.Done) {
	if e.Op != containermsg.OpStart && (e.Op != containermsg.OpCreate || e.Class == model.OutcomeOK) {
		return
	}
	kind, code := observe.Container, ""
	switch a.state.Kind {
	case model.KindInit, model.KindSidecar:
		kind = observe.InitContainer
	case model.KindEphemeral:
		kind = observe.EphemeralContainer
	case model.KindApp:
	}
	if e.Class != model.OutcomeOK {
		if code = e.Reason; code == "" {
			code = containerplan.ReasonRunError
		}
	}
	a.deps.Observer.ContainerStarted(kind, code)
}
