// Package cgroup is the actor that owns the node's cgroups: kubepods, the QoS tiers and one cgroup for each pod. What it
// does is decided in cgroupplan; the file system work runs in the effect runner, on the Disk lane.
package cgroup

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/cgroup/cgroupplan"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/cgroupmsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Deadlines of the operations. A removal bounds itself below its own.
const (
	applyTimeout  = 30 * time.Second
	removeTimeout = 30 * time.Second
)

// Runner performs calls that may wait; *runner.Runner is one.
type Runner interface {
	Do(ctx context.Context, job runner.Job)
}

// Deps is what the actor needs of the rest of the agent. All are required but Event.
type Deps struct {
	Applier cgroups.Applier
	Runner  Runner
	Logger  klog.Logger
	// Event records an event on the node object. It is called from several goroutines and must not block.
	Event func(eventType, reason, message string)
}

// Config says what the cgroups should be. Pod.Layout and Node.Layout are the same.
type Config struct {
	Pod  cgroups.PodConfig
	Node cgroups.NodeConfig
}

// New returns the producer of the actor. It receives cgroupmsg.Message.
func New(deps Deps, cfg Config) func(*spawn.Cell) spawn.Receiver {
	return func(c *spawn.Cell) spawn.Receiver {
		return &actor{
			deps: deps, cfg: cfg, state: cgroupplan.New(cfg.Pod.Layout.PerQOS),
			sinks: map[model.UID]messages.Sink{}, names: map[model.UID]cgroups.Name{}, seqs: map[model.UID]uint64{},
		}
	}
}

// RemoveTree kills what is left of all pods and removes kubepods with the tiers. It is for an agent that leaves nothing
// behind when it ends (standalone mode), never for a node's daemon.
func RemoveTree(ctx context.Context, a cgroups.Applier, l cgroups.Layout) error {
	if !l.PerQOS {
		return nil
	}
	return a.Remove(ctx, l.Kubepods())
}

type actor struct {
	deps  Deps
	cfg   Config
	state cgroupplan.State
	// sinks are the addresses of the newest Want or Drop of each pod.
	sinks map[model.UID]messages.Sink
	names map[model.UID]cgroups.Name
	seqs  map[model.UID]uint64
	stop  func() // the timer
	shown string
}

// Started makes the tree at once, before the first pod asks.
func (a *actor) Started(c *spawn.Cell) { a.feed(c, cgroupplan.Tick{}) }

// Receive implements spawn.Receiver.
func (a *actor) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case cgroupmsg.Message:
		a.message(c, m)
	case cgroupplan.Event:
		a.feed(c, m)
	}
}

func (a *actor) message(c *spawn.Cell, m cgroupmsg.Message) {
	switch m := m.(type) {
	case cgroupmsg.Want:
		uid := m.Pod.UID
		d := cgroups.PodResources(m.Pod, a.cfg.Pod)
		if m.AtLeast != nil {
			d = cgroups.Cover(d, cgroups.PodResources(m.AtLeast, a.cfg.Pod))
		}
		a.sinks[uid], a.names[uid], a.seqs[uid] = m.Reply, d.Name, m.Seq
		a.feed(c, cgroupplan.Want{UID: uid, Desired: d, Class: cgroups.QOSClass(m.Pod), Request: cgroups.CPURequest(m.Pod)})
	case cgroupmsg.Drop:
		a.sinks[m.UID] = m.Reply
		a.feed(c, cgroupplan.Drop{UID: m.UID})
	case cgroupmsg.Sweep:
		a.feed(c, cgroupplan.Sweep{Owned: m.Owned})
	}
}

func (a *actor) feed(c *spawn.Cell, e cgroupplan.Event) {
	var acts []cgroupplan.Action
	a.state, acts = cgroupplan.Next(a.state, e, time.Now())
	for _, act := range acts {
		a.perform(c, act)
	}
	a.show(c)
}

func (a *actor) perform(c *spawn.Cell, act cgroupplan.Action) {
	switch act := act.(type) {
	case cgroupplan.ApplyBase:
		a.do(c, "cgroup base", "node", applyTimeout, a.applyBase,
			func(err string) any { return cgroupplan.BaseDone{Err: err} })
	case cgroupplan.ApplyLimits:
		a.do(c, "cgroup limits", "node", applyTimeout, a.applyLimits,
			func(err string) any { return cgroupplan.EnforceDone{Err: err} })
	case cgroupplan.ApplyTier:
		a.do(c, "cgroup tier", "node", applyTimeout, func(ctx context.Context) error {
			return a.deps.Applier.Update(ctx, cgroups.QOSTiers(a.cfg.Pod.Layout, act.Sum, nil)[0])
		}, func(err string) any { return cgroupplan.TierDone{Sum: act.Sum, Err: err} })
	case cgroupplan.ApplyPod:
		a.do(c, "cgroup apply", string(act.UID), applyTimeout, func(ctx context.Context) error {
			return a.deps.Applier.Apply(ctx, act.Desired)
		}, func(err string) any { return cgroupplan.PodDone{UID: act.UID, Err: err} })
	case cgroupplan.RemovePod:
		a.do(c, "cgroup remove", string(act.UID), removeTimeout, func(ctx context.Context) error {
			return removePod(ctx, a.deps.Applier, a.cfg.Pod.Layout, act.UID)
		}, func(err string) any { return cgroupplan.PodDone{UID: act.UID, Err: err} })
	case cgroupplan.List:
		a.list(c)
	case cgroupplan.Ready:
		ready := podmsg.CgroupReady{Seq: a.seqs[act.UID]}
		if a.cfg.Pod.Layout.PerQOS {
			ready.Parent = a.deps.Applier.Parent(a.names[act.UID])
		}
		a.tell(act.UID, ready)
	case cgroupplan.Failed:
		a.tell(act.UID, podmsg.CgroupFailed{Err: failure(act.Err)})
	case cgroupplan.Gone:
		a.tell(act.UID, podmsg.CgroupGone{})
		delete(a.sinks, act.UID)
		delete(a.names, act.UID)
		delete(a.seqs, act.UID)
	case cgroupplan.SetTimer:
		if a.stop != nil {
			a.stop()
			a.stop = nil
		}
		if !act.At.IsZero() {
			a.stop = c.After(time.Until(act.At), cgroupplan.Tick{})
		}
	}
}

// failure is a call's error as the plan keeps it.
type failure string

func (f failure) Error() string { return string(f) }

func (a *actor) tell(uid model.UID, msg podmsg.Event) {
	if sink := a.sinks[uid]; sink != nil {
		sink.Tell(msg)
	}
}

// do runs a call and posts what its end becomes; a panic in it is a failure like any other.
func (a *actor) do(c *spawn.Cell, op, owner string, timeout time.Duration, fn func(context.Context) error, done func(err string) any) {
	self, log := c.Self(), a.deps.Logger
	a.deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.Disk, Op: op, Owner: owner, Timeout: timeout,
		Fn: func(ctx context.Context) error {
			err := fn(ctx)
			text := ""
			if err != nil {
				text = err.Error()
				log.Error(err, "Cgroup operation failed", "op", op, "owner", owner)
			}
			self.Tell(done(text))
			return err
		},
		OnPanic: func(any) { self.Tell(done(op + ": internal error")) },
	})
}

func (a *actor) show(c *spawn.Cell) {
	state := "making the tree"
	switch {
	case !a.cfg.Pod.Layout.PerQOS:
		state = "no pod cgroups (cgroupsPerQOS is off)"
	case a.state.Base.Err != "":
		state = "the tree cannot be made"
	case a.state.Base.Phase == cgroupplan.Done && a.state.Enforce.Err != "":
		state = "limits of the node cannot be set"
	case a.state.Base.Phase == cgroupplan.Done:
		state = "ready"
	}
	if state != a.shown {
		a.shown = state
		c.Entry().SetState(state)
	}
}

// Reasons of the node's events, the kubelet's.
const (
	reasonEnforced   = "NodeAllocatableEnforced"
	reasonUnenforced = "FailedNodeAllocatableEnforcement"
)

func (a *actor) event(eventType, reason, message string) {
	if a.deps.Event != nil {
		a.deps.Event(eventType, reason, message)
	}
}

func (a *actor) enforced(err error, message string) error {
	if err != nil {
		a.event(v1.EventTypeWarning, reasonUnenforced, message+": "+err.Error())
		return err
	}
	a.event(v1.EventTypeNormal, reasonEnforced, message)
	return nil
}
