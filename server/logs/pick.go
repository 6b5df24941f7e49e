package logs

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Pick finds the instance of a container whose log is meant, by the pod's newest status. Its errors are the kubelet's
// texts: kubectl shows them, and tests look for them.
func Pick(pod *v1.Pod, container string, previous bool) (model.ContainerID, error) {
	s := statusOf(&pod.Status, container)
	if s == nil {
		return "", fmt.Errorf("container %q in pod %q is not available", container, pod.Name)
	}
	last := s.LastTerminationState.Terminated
	lastID := ""
	if last != nil {
		lastID = last.ContainerID
	}
	switch st := s.State; {
	case previous:
		if lastID == "" {
			return "", fmt.Errorf("previous terminated container %q in pod %q not found", container, pod.Name)
		}
		return bare(lastID), nil
	case st.Running != nil:
		return bare(s.ContainerID), nil
	case st.Terminated != nil && st.Terminated.ContainerID != "":
		return bare(st.Terminated.ContainerID), nil
	case lastID != "":
		// The next instance never started: the one before has the log.
		return bare(lastID), nil
	case st.Terminated != nil || last != nil:
		return "", fmt.Errorf("container %q in pod %q is terminated", container, pod.Name)
	case st.Waiting != nil:
		return "", fmt.Errorf("container %q in pod %q is waiting to start: %s", container, pod.Name, whyWaiting(st.Waiting.Reason))
	}
	return "", fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", container, pod.Name)
}

func whyWaiting(reason string) string {
	switch reason {
	case "ErrImagePull":
		return "image can't be pulled"
	case "ImagePullBackOff":
		return "trying and failing to pull image"
	}
	return reason
}

// statusOf finds a container's status in any of the lists; nil when there is none.
func statusOf(s *v1.PodStatus, container string) *v1.ContainerStatus {
	for _, list := range [][]v1.ContainerStatus{s.ContainerStatuses, s.InitContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == container {
				return &list[i]
			}
		}
	}
	return nil
}

// HasContainer says whether the spec names the container.
func HasContainer(pod *v1.Pod, container string) bool {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == container {
			return true
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == container {
			return true
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == container {
			return true
		}
	}
	return false
}

// RunningID returns the id of the instance that the newest status shows running; "" when none does.
func RunningID(pod *v1.Pod, container string) model.ContainerID {
	if s := statusOf(&pod.Status, container); s != nil && s.State.Running != nil {
		return bare(s.ContainerID)
	}
	return ""
}

// bare drops the runtime's name in front of an id ("containerd://…").
func bare(id string) model.ContainerID {
	if _, rest, ok := strings.Cut(id, "://"); ok {
		return model.ContainerID(rest)
	}
	return model.ContainerID(id)
}
