// Package status is the /status actor: it makes the API server hold what the pods of this node say of themselves, one
// write in flight for each, and deletes their objects when they have ended. What is written is decided in statusplan.
package status

import (
	"errors"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/actors/status/statusplan"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/messages/statusmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Kind is the actor's kind in the inspection.
const Kind = "status"

// Deps are the parties that the actor talks to.
type Deps struct {
	// Client writes statuses; nil means that there is no API server. It should speak protobuf and must not limit its own
	// rate below what a burst of pods needs: the API lane of Runner finds the width that the server can serve.
	Client kubernetes.Interface
	Runner *runner.Runner
	// Local receives statusmsg.Publish and statusmsg.Delete when there is no API server (nil: nobody).
	Local  messages.Sink
	Logger klog.Logger
}

// Config of the actor.
type Config struct {
	// CallTimeout bounds one call to the API server; 0 for 15 s.
	CallTimeout time.Duration
}

// Actor is the actor's lasting part: what was published and seen survives a panic of the shell.
type Actor struct {
	deps   Deps
	config Config
	pods   map[model.UID]*entry
	// static finds the entry of a static pod by its full name, mirrors its mirror.
	static  map[name]model.UID
	mirrors map[name]*v1.Pod
	pending atomic.Int64
}

type name struct{ namespace, name string }

// entry is one pod.
type entry struct {
	uid   model.UID
	name  name
	hash  string // of the manifest, for a static pod
	state statusplan.State
	reply messages.Sink
	wake  func() // cancels the timer
	held  bool   // waits at the gate
	// letter is what the patch in flight carries; it outlives the call and is then of no use.
	letter *letter
}

// New makes the actor; Producer is what spawn is given.
func New(deps Deps, config Config) *Actor {
	if deps.Local == nil {
		deps.Local = messages.Nowhere
	}
	if config.CallTimeout == 0 {
		config.CallTimeout = 15 * time.Second
	}
	return &Actor{deps: deps, config: config, pods: map[model.UID]*entry{}, static: map[name]model.UID{}, mirrors: map[name]*v1.Pod{}}
}

// Producer makes an incarnation. Each has its own calls and timers; the first thing that a later one does for a pod is to
// read its object, because it does not know what became of the calls before.
func (a *Actor) Producer(*spawn.Cell) spawn.Receiver { return &shell{Actor: a} }

// Busy says that statuses are being written or wait to be. It is safe for concurrent use.
func (a *Actor) Busy() bool { return a.pending.Load() > 0 }

// shell is one incarnation.
type shell struct {
	*Actor
	gate gate
}

// Messages of the shell to itself.
type (
	done struct {
		uid   model.UID
		event statusplan.Done
		err   error
		// reached says that a server answered, whatever it said.
		reached bool
	}
	tick  struct{ uid model.UID }
	knock struct{}
	// post is a letter that was kept back.
	post struct {
		uid    model.UID
		start  statusplan.Start
		letter *letter
	}
)

// Started takes up what an earlier incarnation left.
func (s *shell) Started(c *spawn.Cell) {
	s.pending.Store(0)
	if c.Incarnation() == 1 {
		return
	}
	for _, e := range s.pods {
		e.state.InFlight, e.state.Sent, e.state.Reread, e.state.NotBefore, e.wake, e.held = statusplan.None, 0, true, time.Time{}, nil, false
		s.feed(c, e, statusplan.Tick{Now: time.Now()})
	}
}

// Receive takes statusmsg messages.
func (s *shell) Receive(c *spawn.Cell, msg any) {
	defer func() { s.pending.Store(int64(s.gate.flying)) }()
	switch m := msg.(type) {
	case statusmsg.Message:
		s.receive(c, m)
	case done:
		s.done(c, m)
	case tick:
		if e := s.pods[m.uid]; e != nil {
			e.wake = nil
			s.feed(c, e, statusplan.Tick{Now: time.Now()})
		}
	case post:
		s.run(c, m.uid, m.start, m.letter)
	case knock:
		s.gate.due(s, c)
	}
}

func (s *shell) receive(c *spawn.Cell, msg statusmsg.Message) {
	if s.deps.Client == nil {
		s.alone(msg)
		return
	}
	switch m := msg.(type) {
	case statusmsg.Publish:
		e := s.entry(m.Pod)
		e.reply = m.Reply
		if !e.state.Local && e.state.API == nil {
			s.feed(c, e, statusplan.Seen{Pod: m.Pod})
		}
		s.feed(c, e, statusplan.Publish{Pod: m.Pod, Status: &m.Status, Gen: m.Gen})
	case statusmsg.Seen:
		if podchange.IsMirror(m.Pod) {
			s.mirrorSeen(c, m.Pod)
			return
		}
		s.feed(c, s.entry(m.Pod), statusplan.Seen{Pod: m.Pod})
	case statusmsg.Gone:
		s.gone(c, m.UID)
	case statusmsg.Delete:
		if podchange.IsMirror(m.Pod) {
			return // its static pod decides
		}
		e := s.entry(m.Pod)
		if !e.state.Local && e.state.API == nil {
			s.feed(c, e, statusplan.Seen{Pod: m.Pod})
		}
		s.feed(c, e, statusplan.Delete{})
	case statusmsg.Forget:
		s.forget(m.UID)
	}
}

// alone serves a node without an API server: nobody has to hold a status before its pod may go on.
func (s *shell) alone(msg statusmsg.Message) {
	switch m := msg.(type) {
	case statusmsg.Publish:
		s.deps.Local.Tell(m)
		acknowledge(m.Reply, m.Gen)
	case statusmsg.Delete:
		s.deps.Local.Tell(m)
	case statusmsg.Seen, statusmsg.Gone, statusmsg.Forget:
	}
}

func acknowledge(to messages.Sink, gen uint64) {
	if to != nil {
		to.Tell(podmsg.Acked{Gen: gen})
	}
}

// entry returns the pod's entry, new for a pod that is not known.
func (s *shell) entry(pod *v1.Pod) *entry {
	e := s.pods[pod.UID]
	if e != nil {
		return e
	}
	source := pod.Annotations[podchange.ConfigSource]
	e = &entry{uid: pod.UID, name: name{pod.Namespace, pod.Name}}
	s.pods[pod.UID] = e
	if source == "" || source == "api" {
		return e
	}
	e.state.Local, e.hash = true, pod.Annotations[podchange.ConfigHash]
	s.static[e.name] = pod.UID
	if mirror := s.mirrors[e.name]; mirror != nil && mirrors(mirror, e) {
		e.state.API = mirror
	}
	return e
}

// mirrors says that the mirror was made of this manifest: one left by another manifest must not show its status.
func mirrors(mirror *v1.Pod, e *entry) bool {
	return mirror.Annotations[v1.MirrorPodAnnotationKey] == e.hash
}

func (s *shell) mirrorSeen(c *spawn.Cell, mirror *v1.Pod) {
	n := name{mirror.Namespace, mirror.Name}
	s.mirrors[n] = mirror
	if e := s.pods[s.static[n]]; e != nil && mirrors(mirror, e) {
		s.feed(c, e, statusplan.Seen{Pod: mirror})
	}
}

func (s *shell) gone(c *spawn.Cell, uid model.UID) {
	if e := s.pods[uid]; e != nil {
		if s.feed(c, e, statusplan.Gone{}); e.state.Wanted == nil {
			s.forget(uid) // it never said anything: nobody will ask to forget it
		}
		return
	}
	for n, mirror := range s.mirrors {
		if mirror.UID == uid {
			delete(s.mirrors, n)
			if e := s.pods[s.static[n]]; e != nil {
				s.feed(c, e, statusplan.Gone{})
			}
		}
	}
}

func (s *shell) forget(uid model.UID) {
	e := s.pods[uid]
	if e == nil {
		return
	}
	if e.wake != nil {
		e.wake()
	}
	if s.static[e.name] == uid {
		delete(s.static, e.name)
	}
	delete(s.pods, uid)
}

// feed lets the plan decide and does what it says.
func (s *shell) feed(c *spawn.Cell, e *entry, ev statusplan.Event) {
	var acts []statusplan.Action
	e.state, acts = statusplan.Next(e.state, ev)
	for _, act := range acts {
		switch a := act.(type) {
		case statusplan.Start:
			s.gate.pass(s, c, e, a)
		case statusplan.Replace:
			if e.letter.replace(a) {
				s.run(c, e.uid, statusplan.Start{Op: statusplan.Patching, Pod: a.Pod, Ahead: true}, e.letter)
			}
		case statusplan.Ack:
			acknowledge(e.reply, a.Gen)
		case statusplan.Wait:
			if e.wake != nil {
				e.wake()
			}
			e.wake = c.After(time.Until(a.Until), tick{e.uid})
		case statusplan.Fault:
			s.deps.Logger.Error(a.Err, "Status cannot be written", "pod", klog.KRef(e.name.namespace, e.name.name), "podUID", e.uid)
		}
	}
}

func (s *shell) done(c *spawn.Cell, m done) {
	s.gate.answered(s, c, m.reached)
	e := s.pods[m.uid]
	if e == nil {
		return
	}
	if m.err != nil && m.event.Outcome != statusplan.Missing && m.reached && !errors.Is(m.err, c.Context().Err()) {
		s.deps.Logger.Error(m.err, "Failed to update status for pod", "pod", klog.KRef(e.name.namespace, e.name.name), "podUID", e.uid,
			"call", m.event.Op.String(), "failures", e.state.Failures+1)
	}
	m.event.Now = time.Now()
	s.feed(c, e, m.event)
}
