package node

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/node/admission"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// The words of a preempted pod's status and event (the kubelet's own).
const (
	preempting       = "Preempting"
	preemptedMessage = "Preempted in order to admit critical pod"
	preemptedWhy     = "Pod was preempted by Kubelet to accommodate a critical pod."
)

// making is the room that is being made for a critical pod. The pod's place is in the ledger already, so that nobody else
// gets what its victims leave.
type making struct {
	admit   nodemsg.Admit
	victims map[model.UID]bool
	due     time.Time // then the pod is admitted whatever its victims do, as the kubelet does
}

// minPatience is the shortest time that victims get (kubelet: killPodNow).
const minPatience = 10 * time.Second

// preempt ends other pods for a critical one. It returns a refusal when that is of no use; otherwise the answer follows.
func (s *shell) preempt(m nodemsg.Admit, short []admission.Shortage) *admission.Refusal {
	victims, err := s.ledger.Victims(m.Pod, short)
	if err != nil {
		return &admission.Refusal{
			Reason: admission.UnexpectedAdmissionError, Message: "Unexpected error while attempting to recover from admission failure: " + err.Error(),
		}
	}
	s.ledger.Take(m.Pod)
	s.making = &making{admit: m, victims: map[model.UID]bool{}}
	patience := minPatience
	for _, v := range victims {
		s.making.victims[v.UID] = true
		if g := v.Spec.TerminationGracePeriodSeconds; g != nil {
			patience = max(patience, time.Duration(*g)*time.Second*3/2)
		}
		s.deps.Logger.Info("Preempting pod to free up resources", "pod", klog.KObj(v), "podUID", v.UID, "insufficientResources", short, "requestingPod", klog.KObj(m.Pod))
		if s.deps.Recorder != nil {
			s.deps.Recorder.Event(v, v1.EventTypeWarning, preempting, preemptedMessage)
		}
		s.deps.Pods.Tell(podsmsg.ToPod{UID: v.UID, Event: podmsg.End{
			Reason: preempting, Message: preemptedMessage,
			Condition: &v1.PodCondition{
				Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: v1.PodReasonTerminationByKubelet, Message: preemptedWhy, ObservedGeneration: v.Generation,
			},
		}})
	}
	s.making.due = time.Now().Add(patience)
	return nil
}

// waits says whether the question has to wait: room is being made for this pod, or for another one before it.
func (s *shell) waits(m nodemsg.Admit) bool {
	switch {
	case s.making == nil:
		return false
	case s.making.admit.Pod.UID == m.Pod.UID:
		s.making.admit = m // asked again: the newest gets the answer
		return true
	}
	return false
}

// hold keeps a pod that is short of something until the room that is being made is there: then it is judged anew.
func (s *shell) hold(m nodemsg.Admit) {
	s.unhold(m.Pod.UID)
	s.held = append(s.held, m)
}

func (s *shell) unhold(uid model.UID) {
	s.held = slices.DeleteFunc(s.held, func(h nodemsg.Admit) bool { return h.Pod.UID == uid })
}

// left is told of every pod that has given back its place.
func (s *shell) left(c *spawn.Cell, uid model.UID) {
	s.unhold(uid)
	if s.making == nil {
		return
	}
	if s.making.admit.Pod.UID == uid {
		s.making = nil // the critical pod itself has gone
		s.judgeHeld(c)
		return
	}
	delete(s.making.victims, uid)
	s.settleRoom(c, time.Now())
}

// settleRoom admits the critical pod when its victims have gone, or have had their time.
func (s *shell) settleRoom(c *spawn.Cell, now time.Time) {
	m := s.making
	if m == nil || len(m.victims) > 0 && now.Before(m.due) {
		return
	}
	if len(m.victims) > 0 {
		s.deps.Logger.Info("Pods that were preempted have not ended in time; the critical pod is admitted all the same", "pod", klog.KObj(m.admit.Pod), "remaining", len(m.victims))
	}
	s.making = nil
	s.settle(c, m.admit)
	s.judgeHeld(c)
}

func (s *shell) judgeHeld(c *spawn.Cell) {
	held := s.held
	s.held = nil
	for _, m := range held {
		s.answer(c, m, s.check(s.promised(m.Pod)))
	}
}
