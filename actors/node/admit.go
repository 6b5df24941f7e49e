package node

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/node/admission"
	"github.com/troupe-dev/troupe/actors/node/nodestatus"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// fetched is the node object read again for a pod that its labels refused.
type fetched struct {
	admit nodemsg.Admit
	node  *v1.Node
	err   error
}

func (s *shell) admit(c *spawn.Cell, m nodemsg.Admit) {
	if s.waits(m) {
		return
	}
	if m.Adopted || s.ledger.Has(m.Pod.UID) {
		s.settle(c, m)
		return
	}
	r := s.check(s.promised(m.Pod))
	if r != nil && r.Reason == admission.NodeAffinity && s.deps.Client != nil {
		// The watch may be behind the scheduler: only the API server's own word refuses for labels.
		s.refetch(c, m)
		return
	}
	s.answer(c, m, r)
}

func (s *shell) refetch(c *spawn.Cell, m nodemsg.Admit) {
	self, client, name := c.Self(), s.deps.Client, s.config.NodeName
	s.deps.Runner.Do(c.Context(), runner.Job{Lane: runner.API, Op: "get node", Owner: m.Pod.Namespace + "/" + m.Pod.Name, Timeout: 10 * time.Second,
		Fn: func(ctx context.Context) error {
			node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
			self.Tell(fetched{m, node, err})
			return err
		},
		OnPanic: func(any) { self.Tell(fetched{admit: m, err: context.Canceled}) },
	})
}

func (s *shell) admitFetched(c *spawn.Cell, m fetched) {
	if m.err == nil {
		s.object = newest(s.object, m.node)
	}
	s.answer(c, m.admit, s.check(s.promised(m.admit.Pod)))
}

func (s *shell) check(pod *v1.Pod) *admission.Refusal {
	for _, gate := range s.deps.Gates {
		if r := gate(pod); r != nil {
			return r
		}
	}
	return s.ledger.Check(pod, s.here())
}

// place is the node as admission sees it, kept while what it was made of stays the same.
type place struct {
	object  *v1.Node
	runtime *nodemsg.RuntimeInfo
	node    *admission.Node
}

// here is the node as admission sees it: what the node vouches for is taken from itself, what others advertise or
// decide from the API server's object. Without one, it is the object that the node would register.
func (s *shell) here() admission.Node {
	p := &s.place
	if p.node != nil && p.object == s.object && p.runtime == s.runtime {
		return *p.node
	}
	object := s.object
	if object == nil {
		object = s.initial()
	}
	status := v1.NodeStatus{Capacity: object.Status.Capacity, Allocatable: object.Status.Allocatable, Features: object.Status.Features}
	nodestatus.Capacity(&status, s.config.Status, s.deps.Machine)
	if s.runtime != nil && s.runtime.Up {
		groups := s.runtime.SupplementalGroupsPolicy
		status.Features = &v1.NodeFeatures{SupplementalGroupsPolicy: &groups}
	}
	*p = place{s.object, s.runtime, &admission.Node{
		Object:      &v1.Node{ObjectMeta: object.ObjectMeta, Spec: object.Spec, Status: status},
		Allocatable: status.Allocatable, Sysctls: s.sysctls, AppArmor: s.deps.Machine.AppArmor, Features: s.config.Features,
	}}
	return *p.node
}

func (s *shell) answer(c *spawn.Cell, m nodemsg.Admit, r *admission.Refusal) {
	if r == nil {
		s.settle(c, m)
		return
	}
	if len(r.Short) > 0 && s.making != nil {
		s.hold(m)
		return
	}
	if len(r.Short) > 0 && admission.Critical(m.Pod) {
		if r = s.preempt(m, r.Short); r == nil {
			return
		}
	}
	s.deps.Logger.Info("Pod admission denied", "pod", klog.KObj(m.Pod), "podUID", m.Pod.UID, "reason", r.Reason, "message", r.Message)
	if s.deps.Recorder != nil {
		s.deps.Recorder.Event(m.Pod, v1.EventTypeWarning, r.Reason, r.Message)
	}
	s.forget(m.Pod.UID)
	s.back(c, m.Pod.UID)
	m.Reply.Tell(podmsg.Refused{Reason: r.Reason, Message: admission.MessagePrefix + r.Message})
}
