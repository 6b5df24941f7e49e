package containerplan

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

// View is what the pod, its status and explain see of the state at this moment.
func View(s *State, now time.Time) model.ContainerView {
	v := model.ContainerView{
		Name: s.Name, Kind: s.Kind, Stage: stage(s, now), Current: s.Cur, Last: s.Prev, RestartCount: s.RestartCount,
		Started: s.Started, Ready: s.Ready, Settled: s.Settled, RestartAll: s.RestartAll, LastErr: s.LastErr, Seq: s.Seq,
		Given: s.Given, ResizeGen: s.ResizeGen, ResizeErr: s.ResizeErr,
	}
	if s.Op != containermsg.OpNone {
		v.Op, v.OpSince = s.Op.String(), s.OpSince
	}
	if s.Revoke == nil {
		v.WaitingReason, v.WaitingMessage = waiting(s, now)
	}
	v.RetryAt, v.Blocker = blocker(s, &v, now)
	return v
}

func stage(s *State, now time.Time) model.ContainerStage {
	switch s.Op {
	case containermsg.OpCreate:
		return model.StageCreating
	case containermsg.OpStart, containermsg.OpPostStart:
		return model.StageStarting
	case containermsg.OpNone, containermsg.OpPreStop, containermsg.OpStop, containermsg.OpStatus, containermsg.OpRemove, containermsg.OpResize:
	}
	if s.Doubt {
		return model.StageDoubt
	}
	if s.Cur != nil {
		switch s.Cur.State {
		case model.ContainerRunning:
			switch {
			case s.Revoke != nil || s.Kill != nil:
				return model.StageStopping
			case !s.PostStarted:
				return model.StageStarting
			}
			return model.StageUp
		case model.ContainerUnknown:
			return model.StageStopping
		case model.ContainerCreated:
			switch {
			case s.Settled:
				return model.StageDone
			case s.Grant == nil:
				return model.StageHeld
			}
			return model.StageStarting
		case model.ContainerExited:
			if !s.Cur.Detailed || s.Judged != s.Cur.ID {
				return model.StageExited
			}
		}
	}
	switch {
	case s.Settled:
		return model.StageDone
	case s.Grant == nil:
		return model.StageHeld
	case now.Before(s.RestartAt), now.Before(s.Failure.RetryAt), now.Before(s.Image.RetryAt) && !s.Image.Asked:
		return model.StageBackoff
	case s.Image.Asked:
		return model.StagePulling
	}
	return model.StageExited
}

// waiting is the API reason while no instance runs; "" where the status chooses.
func waiting(s *State, now time.Time) (reason, message string) {
	if s.live() && s.Cur.State != model.ContainerCreated || s.Settled || s.Spec == nil {
		return "", ""
	}
	switch {
	case now.Before(s.RestartAt):
		return ReasonCrashLoop, fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", s.Waited, s.Name, podText(s.Pod))
	case s.Image.Reason != "":
		return s.Image.Reason, s.Image.Message
	case s.Failure.Reason != "":
		return s.Failure.Reason, s.Failure.Message
	}
	return "", ""
}

func blocker(s *State, v *model.ContainerView, now time.Time) (time.Time, string) {
	switch v.Stage {
	case model.StageBackoff:
		switch {
		case now.Before(s.RestartAt):
			return s.RestartAt, "crash-loop back-off"
		case now.Before(s.Image.RetryAt):
			return s.Image.RetryAt, "image " + s.Spec.Image + " (" + s.Image.Reason + ")"
		}
		return s.Failure.RetryAt, s.Failure.Reason
	case model.StagePulling:
		return time.Time{}, "image " + s.Spec.Image
	case model.StageDoubt:
		return s.DoubtAt, "a call of unknown outcome"
	case model.StageHeld:
		return time.Time{}, "its turn"
	case model.StageCreating, model.StageStarting, model.StageStopping:
		if v.Op != "" {
			return time.Time{}, v.Op
		}
		return s.StopRetryAt, ""
	case model.StageUp:
		switch {
		case !s.Started && s.Spec.StartupProbe != nil:
			return time.Time{}, "startup probe"
		case !s.Ready && s.Spec.ReadinessProbe != nil:
			return time.Time{}, "readiness probe"
		}
	case model.StageExited, model.StageDone:
	}
	return time.Time{}, ""
}

// podText is how the kubelet names a pod in messages: name_namespace(uid).
func podText(pod *v1.Pod) string {
	return fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID)
}
