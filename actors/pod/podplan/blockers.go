package podplan

import (
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// Names lists the containers of a pod in start order.
func Names(pod *v1.Pod) []string { return names(pod) }

// Blockers says what the pod as a whole waits for, most important first; nothing when only its containers do.
func Blockers(s *State) []model.Blocker {
	var out []model.Blocker
	add := func(kind model.BlockerKind, what string) { out = append(out, model.Blocker{Kind: kind, What: what}) }
	switch StageOf(s) {
	case Queued:
		switch {
		case !s.Listed:
			add(model.BlockedByRuntime, "the runtime's list of what runs")
		case !s.Gate.SourcesReady:
			add(model.BlockedBySources, "all pod sources to deliver once")
		case s.Admission == AdmissionAsked:
			add(model.BlockedByAdmission, "the node's admission")
		}
	case Starting:
		if !s.Gate.RuntimeReady {
			add(model.BlockedByRuntime, "the runtime to be ready")
		}
		if !s.Gate.NetworkReady && !s.Pod.Spec.HostNetwork {
			add(model.BlockedByNetwork, "the runtime's network to be ready")
		}
		if s.Cgroup != Held {
			add(model.BlockedByCgroup, with("its cgroup", s.CgroupErr))
		}
		if s.Volumes != Held {
			add(model.BlockedByVolumes, with("its volumes", s.VolumesErr))
		}
		if !s.sandboxReady() && s.Cgroup == Held {
			add(model.BlockedBySandbox, with("its sandbox", s.Failure.Err))
		}
	case Ending:
		switch {
		case s.live():
			add(model.BlockedByContainers, "its containers to stop")
		case s.Op == podmsg.OpRunSandbox || s.Op == podmsg.OpStopSandbox || s.Doubt:
			add(model.BlockedBySandbox, with("its sandbox to stop", s.Failure.Err))
		}
	case Ended:
		if s.Volumes != Gone {
			add(model.BlockedByVolumes, with("its volumes to be taken down", s.VolumesErr))
		}
		if s.Cgroup != Gone {
			add(model.BlockedByCgroup, with("its cgroup to be removed", s.CgroupErr))
		}
		if !s.acked() {
			add(model.BlockedByStatus, "the API server to take its last status")
		}
	case Finished:
		if s.Deleted && !s.Gone {
			add(model.BlockedByStatus, "the API server to take the delete")
		}
	case Initializing, Running:
	}
	return out
}

func with(what, why string) string {
	if why == "" {
		return what
	}
	return what + " (" + why + ")"
}
