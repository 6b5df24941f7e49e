// Package volume is the actor that owns the volumes of every pod on the node: /volumes. It is a shell around volumeplan,
// which decides, and a worker, which waits and writes.
//
// For a pod it sets up all volumes in one go: what they are filled from is gathered first (API lane, only if a volume needs
// the API server), then everything is written (one effect on the disk lane). Nothing is polled: a missing or changed object
// is heard of by its watch, and the actor has one timer, for the pod whose retry or token renewal is due first.
package volume

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/mount-utils"

	"github.com/troupe-dev/troupe/actors/volume/nodelocal"
	"github.com/troupe-dev/troupe/actors/volume/plugin"
	"github.com/troupe-dev/troupe/actors/volume/volumeplan"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/messages/volumemsg"
	"github.com/troupe-dev/troupe/supervisor/registry"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Objects follows the objects that pods refer to. Track, Release and Subscribe do not wait; the function given to Subscribe
// does not either.
type Objects interface {
	nodelocal.Objects
	Track(*v1.Pod)
	Release(model.UID)
	Subscribe(func(model.ObjectKey)) (cancel func())
}

// Tokens gives service-account tokens and forgets those of a pod.
type Tokens interface {
	nodelocal.Tokens
	Forget(model.UID)
}

// Runner performs effects.
type Runner interface {
	Do(context.Context, runner.Job)
}

// Deps is what the actor needs from outside. All of it is shared and safe for concurrent use.
type Deps struct {
	Runner  Runner
	Objects Objects
	Tokens  Tokens
	// Mounts is usually mounts.New(mount.New("")).
	Mounts mount.Interface
	// Allocatable is the node's allocatable now; it must not block.
	Allocatable func() v1.ResourceList
	// Events records FailedMount on pods.
	Events record.EventRecorder
	Logger klog.Logger
	// Plugins are kinds of volumes beside the node-local ones; they are asked first.
	Plugins []plugin.Plugin
}

// Config of the actor.
type Config struct {
	// RootDir is the agent's root directory (/var/lib/kubelet).
	RootDir string
	// Resync looks again at volumes that are filled from API objects, for a store that tells of no changes (the Cache and
	// Get strategies; the kubelet's is a minute). Zero relies on Objects.Subscribe.
	Resync time.Duration
}

// New returns the producer of the actor. Its incarnations share the worker, so that an effect of the last one that still
// runs and one of the next do not meet in a pod's directory.
func New(d Deps, cfg Config) func(*spawn.Cell) spawn.Receiver {
	w := newWorker(d, cfg)
	return func(*spawn.Cell) spawn.Receiver {
		return &volumes{Deps: d, worker: w, pods: map[model.UID]*entry{}, users: map[model.ObjectKey]map[model.UID]struct{}{}}
	}
}

// volumes is one incarnation. What it does not know of it learns again: every pod asks anew after a restart, and Sweep
// finds the rest on disk.
type volumes struct {
	Deps
	worker *worker
	pods   map[model.UID]*entry
	// users are the pods whose volumes are filled from an object.
	users map[model.ObjectKey]map[model.UID]struct{}
	due   dueHeap

	unsubscribe func()
	alarm       func() // cancels the timer
	alarmAt     time.Time
}

// entry is one pod.
type entry struct {
	uid   model.UID
	owner string // namespace/name, for inspection
	state volumeplan.State
	reply messages.Sink
	refs  []model.ObjectKey
	// cancel ends the newest effect; nil before the first.
	cancel context.CancelFunc

	dueAt time.Time
	index int // in the heap, -1 when not in it
}

// Messages of the actor to itself.
type (
	objectChanged struct{ key model.ObjectKey }
	effectDone    struct {
		uid   model.UID
		event volumeplan.Event
	}
	found struct{ uids []model.UID }
	alarm struct{}
)

// Started implements spawn.Starter.
func (v *volumes) Started(c *spawn.Cell) {
	self := c.Self()
	v.unsubscribe = v.Objects.Subscribe(func(k model.ObjectKey) { self.Tell(objectChanged{k}) })
}

// Stopping implements spawn.Stopper. Effects end with the cell's context.
func (v *volumes) Stopping(*spawn.Cell) {
	if v.unsubscribe != nil {
		v.unsubscribe()
	}
}

// Receive implements spawn.Receiver.
func (v *volumes) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case volumemsg.Want:
		v.want(c, m)
	case volumemsg.Drop:
		v.drop(c, m.UID, m.Reply)
	case volumemsg.Sweep:
		v.worker.list(c.Context(), m.Owned, func(uids []model.UID) { c.Self().Tell(found{uids}) })
	case found:
		for _, uid := range m.uids {
			if v.pods[uid] == nil { // nobody has asked since the list was made
				v.Logger.Info("Removing the directory of a pod that nobody owns", "podUID", uid)
				v.drop(c, uid, messages.Nowhere)
			}
		}
	case objectChanged:
		for uid := range v.users[m.key] {
			v.step(c, v.pods[uid], volumeplan.Changed{})
		}
	case effectDone:
		if e := v.pods[m.uid]; e != nil {
			e.cancel() // releases the context; the effect has ended
			v.step(c, e, m.event)
		}
	case alarm:
		v.alarm, v.alarmAt = nil, time.Time{}
		now := time.Now()
		for len(v.due) > 0 && !v.due[0].dueAt.After(now) {
			v.step(c, v.due[0], volumeplan.Tick{})
		}
	}
	v.setAlarm(c)
}

func (v *volumes) want(c *spawn.Cell, m volumemsg.Want) {
	e := v.entry(m.Pod.UID)
	e.reply = m.Reply
	e.owner = m.Pod.Namespace + "/" + m.Pod.Name
	v.Objects.Track(m.Pod)
	v.use(e, volumeplan.Refs(m.Pod))
	v.step(c, e, volumeplan.Want{Pod: m.Pod})
}

func (v *volumes) drop(c *spawn.Cell, uid model.UID, reply messages.Sink) {
	e := v.entry(uid)
	e.reply = reply
	v.Objects.Release(uid)
	v.use(e, nil)
	v.step(c, e, volumeplan.Drop{})
}

func (v *volumes) entry(uid model.UID) *entry {
	e := v.pods[uid]
	if e == nil {
		e = &entry{uid: uid, owner: string(uid), reply: messages.Nowhere, index: -1}
		v.pods[uid] = e
	}
	return e
}

// use notes which objects the pod's volumes are filled from.
func (v *volumes) use(e *entry, refs []model.ObjectKey) {
	for _, k := range e.refs {
		delete(v.users[k], e.uid)
		if len(v.users[k]) == 0 {
			delete(v.users, k)
		}
	}
	e.refs = refs
	for _, k := range refs {
		if v.users[k] == nil {
			v.users[k] = map[model.UID]struct{}{}
		}
		v.users[k][e.uid] = struct{}{}
	}
}

// step feeds an event to the plan and does what it says.
func (v *volumes) step(c *spawn.Cell, e *entry, ev volumeplan.Event) {
	var acts []volumeplan.Action
	e.state, acts = volumeplan.Next(e.state, ev, time.Now())
	for _, a := range acts {
		v.perform(c, e, a)
	}
	if e.state.Gone {
		v.Tokens.Forget(e.uid)
		delete(v.pods, e.uid)
		v.due.remove(e)
		return
	}
	v.due.set(e, e.state.Due())
}

func (v *volumes) perform(c *spawn.Cell, e *entry, a volumeplan.Action) {
	switch a := a.(type) {
	case volumeplan.SetUp:
		c.Entry().Action("set up", registry.ID(e.owner))
		v.worker.setUp(v.begin(c, e), a, e.owner, v.done(c, e.uid))
	case volumeplan.TearDown:
		c.Entry().Action("tear down", registry.ID(e.owner))
		v.worker.tearDown(v.begin(c, e), a, e.uid, e.owner, v.done(c, e.uid))
	case volumeplan.Cancel:
		e.cancel()
	case volumeplan.TellReady:
		e.reply.Tell(podmsg.VolumesReady{Mounts: a.Mounts})
	case volumeplan.TellBlocked:
		v.Logger.Info("Volumes are blocked", "pod", e.owner, "podUID", e.uid, "reason", a.Reason, "message", a.Message)
		e.reply.Tell(podmsg.VolumesBlocked{Reason: a.Reason, Message: a.Message})
	case volumeplan.TellGone:
		e.reply.Tell(podmsg.VolumesGone{})
	case volumeplan.Report:
		v.Events.Event(a.Pod, v1.EventTypeWarning, a.Reason, a.Message)
	}
}

// begin makes the context of the entry's next effect; the one before has ended.
func (v *volumes) begin(c *spawn.Cell, e *entry) context.Context {
	ctx, cancel := context.WithCancel(c.Context())
	e.cancel = cancel
	return ctx
}

// done is where an effect sends its end to, from its own goroutine.
func (v *volumes) done(c *spawn.Cell, uid model.UID) func(volumeplan.Event) {
	self := c.Self()
	return func(ev volumeplan.Event) { self.Tell(effectDone{uid, ev}) }
}

// setAlarm keeps the one timer on the earliest due moment.
func (v *volumes) setAlarm(c *spawn.Cell) {
	var at time.Time
	if len(v.due) > 0 {
		at = v.due[0].dueAt
	}
	if at.Equal(v.alarmAt) {
		return
	}
	if v.alarm != nil {
		v.alarm()
		v.alarm = nil
	}
	v.alarmAt = at
	if !at.IsZero() {
		v.alarm = c.After(time.Until(at), alarm{})
	}
}
