package inspect

import (
	"fmt"
	"time"

	"github.com/troupe-dev/troupe/messages/model"
)

// firstUnready finds the container that holds up the pod: the first one, in start order, that has trouble; failing
// that, the first one that is not where it should be. Nil when there is none.
func firstUnready(e model.PodExplain) *model.ContainerExplain {
	var waits *model.ContainerExplain
	for i := range e.Containers {
		c := &e.Containers[i]
		if settled(*c) {
			continue
		}
		if c.Failures > 0 || c.LastError != "" || c.Stage == model.StageBackoff.String() || c.Stage == model.StageDoubt.String() {
			return c
		}
		// A container that is held waits for others: they are to blame.
		if waits == nil || (waits.Stage == model.StageHeld.String() && c.Stage != model.StageHeld.String()) {
			waits = c
		}
	}
	return waits
}

// settled says whether the container is where it should be.
func settled(c model.ContainerExplain) bool {
	switch {
	case c.Kind == model.KindEphemeral.String():
		return true
	case c.Kind == model.KindInit.String():
		return c.Stage == model.StageDone.String() && (c.ExitCode == nil || *c.ExitCode == 0)
	case c.Kind == model.KindSidecar.String() && c.Stage == model.StageUp.String() && c.Started && c.Ready:
		return true
	}
	return c.Stage == model.StageUp.String() && c.Ready
}

// containerCause says what a container waits for, in words that continue "is not ready: ".
func containerCause(c model.ContainerExplain, e model.PodExplain, now time.Time) string {
	who := kindWord(c.Kind) + " " + c.Name
	call := ""
	if f := oldest(c.InFlight); f != nil {
		call = "; " + inFlight(*f, now)
	}
	switch c.Stage {
	case model.StagePulling.String():
		return who + " waits for its image " + c.Image + tried(c, "pull", now) + call
	case model.StageBackoff.String():
		return backoff(c, who, now)
	case model.StageCreating.String():
		return who + " is being created" + tried(c, "it", now) + call
	case model.StageStarting.String():
		return who + " is starting" + forTime(c.Since, now) + tried(c, "it", now) + call
	case model.StageUp.String():
		return who + " runs but " + notReady(c) + exited(c, now)
	case model.StageStopping.String():
		return who + " is being stopped" + forTime(c.Since, now) + why(c) + call
	case model.StageExited.String(), model.StageDone.String():
		return who + " has ended" + exited(c, now) + why(c)
	case model.StageDoubt.String():
		return who + " is in doubt: a call ended without an answer, and the runtime is being asked what came of it" + because("", c.LastError) + call
	case model.StageHeld.String():
		if c.Blocker != "" {
			return who + " waits for " + brief(c.Blocker) + forTime(c.Since, now)
		}
		return who + " waits for its turn" + forTime(e.Since, now)
	}
	return who + " is in stage " + c.Stage
}

// backoff describes a container that waits before it tries again.
func backoff(c model.ContainerExplain, who string, now time.Time) string {
	switch c.Reason {
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ErrImageInspect", "RegistryUnavailable", "SignatureValidationFailed":
		return who + " waits for its image " + c.Image + tried(c, "pull", now)
	}
	if c.ExitCode != nil {
		return who + " keeps ending" + exited(c, now) + fmt.Sprintf("; restarts: %d", c.Restarts) + nextTry(c.RetryAt, now)
	}
	return who + " could not be started" + tried(c, "it", now)
}

// tried tells of the failures of what the container does now.
func tried(c model.ContainerExplain, what string, now time.Time) string {
	text := c.LastError
	if text == "" {
		text = c.Message
	}
	switch {
	case c.Failures > 0:
		return "; " + what + " has failed " + times(c.Failures) + because(c.Reason, text) + nextTry(c.RetryAt, now)
	case c.LastError != "":
		return "; the last try failed" + because(c.Reason, c.LastError) + nextTry(c.RetryAt, now)
	case c.Blocker != "":
		return "; " + brief(c.Blocker) + nextTry(c.RetryAt, now)
	}
	return nextTry(c.RetryAt, now)
}

// notReady says which probe is missing.
func notReady(c model.ContainerExplain) string {
	s := "its readiness probe has not succeeded"
	if !c.Started {
		s = "its startup probe has not succeeded"
	}
	if c.Blocker != "" {
		s += " (" + brief(c.Blocker) + ")"
	}
	return s
}

// exited tells how the newest ended instance ended.
func exited(c model.ContainerExplain, now time.Time) string {
	if c.ExitCode == nil {
		return ""
	}
	s := fmt.Sprintf(" (last exit code %d", *c.ExitCode)
	if c.ExitReason != "" {
		s += ", " + c.ExitReason
	}
	if !c.ExitedAt.IsZero() {
		s += ", " + span(now.Sub(c.ExitedAt)) + " ago"
	}
	return s + ")"
}

func why(c model.ContainerExplain) string {
	if c.Blocker == "" {
		return ""
	}
	return ": " + brief(c.Blocker)
}

func kindWord(kind string) string {
	switch kind {
	case "init":
		return "init container"
	case "sidecar":
		return "sidecar"
	case "ephemeral":
		return "ephemeral container"
	}
	return "container"
}

// Advice says what would unblock the pod; "" when nothing has to be done.
func Advice(e model.PodExplain) string {
	if e.Ready {
		return ""
	}
	for _, b := range e.Blockers {
		if s := adviceFor(b.Kind); s != "" {
			return s
		}
	}
	for _, f := range e.InFlight {
		if f.Overdue {
			return "The container runtime has to answer, or fail, " + f.Op + "; look at the runtime's log. Other pods are not held up."
		}
	}
	c := firstUnready(e)
	if c == nil {
		return ""
	}
	switch c.Reason {
	case "ErrImagePull", "ImagePullBackOff", "RegistryUnavailable":
		return "Check the image name, the registry and the pod's imagePullSecrets; the pull is tried again by itself."
	case "ErrImageNeverPull":
		return "The image has to be on the node already, or imagePullPolicy must not be Never."
	case "InvalidImageName":
		return "Correct the image name in the pod's spec."
	case "CreateContainerConfigError":
		return "Create what the container refers to (ConfigMap, Secret, field); it is tried again by itself."
	case "CrashLoopBackOff":
		return "Look at the log of the last instance (kubectl logs --previous -c " + c.Name + "): the program ends by itself."
	}
	if c.Stage == model.StageUp.String() {
		return "Look at the probe's target and at the container's log (kubectl logs -c " + c.Name + ")."
	}
	return ""
}

func adviceFor(k model.BlockerKind) string {
	switch k {
	case model.BlockedByRuntime:
		return "Start or repair the container runtime; pods go on by themselves when it answers."
	case model.BlockedByNetwork:
		return "Install or repair the network plugin (CNI); pods go on by themselves when the runtime's network is ready."
	case model.BlockedBySources:
		return "Every pod source has to deliver once: the API server has to be reachable, and configured files and URLs readable."
	case model.BlockedByPredecessor:
		return "The earlier pod of the same name has to end first."
	case model.BlockedByVolumes:
		return "Create or repair what the volumes refer to; they are tried again by themselves."
	case model.BlockedByStatus:
		return "The API server has to be reachable and to take the status."
	case model.BlockedByQuarantine:
		return "This is a fault of the agent: report the panic shown by the actor. Containers keep running; the actor is tried again by itself."
	case model.BlockedByAdmission, model.BlockedByCgroup, model.BlockedBySandbox, model.BlockedByImage, model.BlockedByContainers:
		return ""
	}
	return ""
}
