// Package mirror is the /mirrors actor: it makes the API server show the static pods of this node, by one mirror pod for
// each, and takes back what shows none. What is done is decided in mirrorplan; what a mirror says of its pod's state is
// written by the status actor.
package mirror

import (
	"context"
	"maps"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/mirror/mirrorplan"
	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/messages/sourcemsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Kind is the actor's kind in the inspection.
const Kind = "mirrors"

// callTimeout bounds one call to the API server.
const callTimeout = 15 * time.Second

// Names lets readers outside the actors find a static pod by its mirror's UID. Implementations are safe for concurrent
// use and never block.
type Names interface {
	Mirrored(uid types.UID, namespace, name string)
	Unmirrored(uid types.UID)
}

// Deps are the parties that the actor talks to. All are required.
type Deps struct {
	// Client makes and deletes pods and reads the node's object.
	Client kubernetes.Interface
	Runner *runner.Runner
	Names  Names
	Logger klog.Logger
}

// Config of the actor.
type Config struct{ NodeName string }

// Actor is the actor's lasting part: what is known of each name survives a panic of the shell.
type Actor struct {
	deps   Deps
	config Config
	names  map[types.NamespacedName]*entry
	known  bool
}

type entry struct {
	state mirrorplan.State
	wake  func() // cancels the timer
}

// New makes the actor; Producer is what spawn is given.
func New(deps Deps, config Config) *Actor {
	return &Actor{deps: deps, config: config, names: map[types.NamespacedName]*entry{}}
}

// Producer makes an incarnation.
func (a *Actor) Producer(*spawn.Cell) spawn.Receiver { return &shell{a} }

// shell is one incarnation.
type shell struct{ *Actor }

// Messages of the shell to itself.
type (
	done struct {
		name  types.NamespacedName
		event mirrorplan.Done
	}
	tick struct{ name types.NamespacedName }
)

// Started takes up what an earlier incarnation left: what became of its calls the watch tells, or trying again does.
func (s *shell) Started(c *spawn.Cell) {
	for name, e := range s.names {
		e.wake, e.state.InFlight, e.state.Target = nil, mirrorplan.None, ""
		s.feed(c, name, mirrorplan.Tick{})
	}
}

// Receive takes sourcemsg messages.
func (s *shell) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case sourcemsg.Message:
		s.receive(c, m)
	case done:
		s.feed(c, m.name, m.event)
	case tick:
		if e := s.names[m.name]; e != nil {
			e.wake = nil
			s.feed(c, m.name, mirrorplan.Tick{})
		}
	}
}

func (s *shell) receive(c *spawn.Cell, msg sourcemsg.Message) {
	switch m := msg.(type) {
	case sourcemsg.MirrorSeen:
		s.deps.Names.Mirrored(m.Pod.UID, m.Pod.Namespace, m.Pod.Name)
		s.feed(c, nameOf(m.Pod), mirrorplan.Seen{Pod: m.Pod})
	case sourcemsg.MirrorGone:
		s.deps.Names.Unmirrored(m.UID)
		s.feed(c, types.NamespacedName{Namespace: m.Namespace, Name: m.Name}, mirrorplan.Gone{UID: m.UID})
	case sourcemsg.StaticRuns:
		s.feed(c, nameOf(m.Pod), mirrorplan.Runs{Pod: m.Pod, Ending: m.Ending})
	case sourcemsg.StaticEnded:
		s.feed(c, nameOf(m.Pod), mirrorplan.Ended{UID: m.Pod.UID})
	case sourcemsg.StaticsKnown:
		s.known = true
		for name := range s.names {
			s.feed(c, name, mirrorplan.Known{})
		}
	}
}

func nameOf(pod *v1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

// feed lets the plan decide and does what it says.
func (s *shell) feed(c *spawn.Cell, name types.NamespacedName, ev mirrorplan.Event) {
	e := s.names[name]
	if e == nil {
		e = &entry{state: mirrorplan.State{Known: s.known}}
		s.names[name] = e
	}
	var acts []mirrorplan.Action
	e.state, acts = mirrorplan.Next(e.state, time.Now(), ev)
	for _, act := range acts {
		switch a := act.(type) {
		case mirrorplan.Make:
			s.deps.Logger.Info("Creating a mirror pod for static pod", "pod", klog.KObj(a.Pod))
			s.run(c, name, mirrorplan.Making, func(ctx context.Context) (*v1.Pod, error) { return s.deps.create(ctx, s.config.NodeName, a.Pod) })
		case mirrorplan.Remove:
			s.deps.Logger.Info("Deleting a mirror pod", "pod", klog.KObj(a.Mirror), "podUID", a.Mirror.UID)
			s.run(c, name, mirrorplan.Removing, func(ctx context.Context) (*v1.Pod, error) { return nil, s.deps.remove(ctx, a.Mirror) })
		case mirrorplan.Wait:
			if e.wake != nil {
				e.wake()
			}
			e.wake = c.After(time.Until(a.Until), tick{name})
		}
	}
	if e.state.Idle() && e.wake == nil {
		delete(s.names, name)
	}
}

// run makes a call in the API lane; its end comes back as done.
func (s *shell) run(c *spawn.Cell, name types.NamespacedName, op mirrorplan.Op, call func(context.Context) (*v1.Pod, error)) {
	self, logger := c.Self(), s.deps.Logger
	s.deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.API, Op: op.String(), Owner: name.String(), Timeout: callTimeout,
		Fn: func(ctx context.Context) error {
			pod, err := call(ctx)
			ev := mirrorplan.Done{Pod: pod}
			switch {
			case err == nil:
			case op == mirrorplan.Removing && (apierrors.IsNotFound(err) || apierrors.IsConflict(err)):
				ev.Outcome = mirrorplan.Missing // a conflict says that the UID is another one's
			default:
				ev.Outcome = mirrorplan.Failed
				if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
					ev.After = time.Duration(seconds) * time.Second
				}
				if ctx.Err() == nil {
					logger.Info("Mirror pod call failed, it will be tried again", "call", op.String(), "pod", name, "err", err)
				}
			}
			self.Tell(done{name, ev})
			return err
		},
		OnPanic: func(any) { self.Tell(done{name, mirrorplan.Done{Outcome: mirrorplan.Failed}}) },
	})
}

// create makes the mirror of a static pod. It is owned by the node, whose object has to exist (KEP-1314).
func (d *Deps) create(ctx context.Context, nodeName string, static *v1.Pod) (*v1.Pod, error) {
	node, err := d.Client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if node.DeletionTimestamp != nil {
		return nil, apierrors.NewServiceUnavailable("the node is being removed from the cluster")
	}
	pod, err := d.Client.CoreV1().Pods(static.Namespace).Create(ctx, image(static, node), metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	pod.ManagedFields = nil
	return pod, nil
}

// image is the object that shows a static pod.
func image(static *v1.Pod, node *v1.Node) *v1.Pod {
	pod := *static
	pod.ResourceVersion, pod.Generation = "", 0
	pod.Annotations = maps.Clone(pod.Annotations)
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[v1.MirrorPodAnnotationKey] = static.Annotations[podchange.ConfigHash]
	controller := true
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: &controller}}
	return &pod
}

// remove deletes the mirror at once, and only the one with its UID.
func (d *Deps) remove(ctx context.Context, mirror *v1.Pod) error {
	now := int64(0)
	return d.Client.CoreV1().Pods(mirror.Namespace).Delete(ctx, mirror.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(mirror.UID)),
	})
}
