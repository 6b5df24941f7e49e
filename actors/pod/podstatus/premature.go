package podstatus

import (
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/model"
)

// Premature says that a status built now would take back what is probably still true: the pod ran when this actor was made
// (anew), and its containers or its sandbox have not been heard of yet. The last status stays until they have.
func Premature(s *podplan.State, previous *v1.PodStatus) bool {
	if !s.Listed || s.Admission == podplan.NotAsked && s.End == nil {
		return true // nothing is said of a pod before anything is known of it
	}
	for _, list := range [][]v1.ContainerStatus{previous.InitContainerStatuses, previous.ContainerStatuses, previous.EphemeralContainerStatuses} {
		for i := range list {
			if v, known := s.Views[list[i].Name]; known && v.Seq == 0 && list[i].ContainerID != "" {
				return true
			}
		}
	}
	if s.End != nil || s.Sandbox == nil || s.Sandbox.State != model.SandboxReady || s.Sandbox.Detailed || s.Stopped[s.Sandbox.ID] {
		return false
	}
	ready := condition(previous.Conditions, v1.PodReadyToStartContainers)
	return ready != nil && ready.Status == v1.ConditionTrue
}
