package remote

import (
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// This file turns CRI's types into the model's. Everything in it is pure.

// at turns CRI's nanoseconds into a time; 0 and below mean "not yet" and become the zero time.
func at(ns int64) time.Time {
	if ns <= 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// or returns the first string that is not empty.
func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func sandboxState(s runtimeapi.PodSandboxState) model.SandboxState {
	if s == runtimeapi.PodSandboxState_SANDBOX_READY {
		return model.SandboxReady
	}
	return model.SandboxNotReady
}

func containerState(s runtimeapi.ContainerState) model.ContainerState {
	switch s {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return model.ContainerCreated
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return model.ContainerRunning
	case runtimeapi.ContainerState_CONTAINER_EXITED:
		return model.ContainerExited
	case runtimeapi.ContainerState_CONTAINER_UNKNOWN:
		return model.ContainerUnknown
	}
	return model.ContainerUnknown
}

// sandboxOf is a sandbox out of a list. The labels name the pod, as they do for its containers; the metadata is what
// remains for a sandbox that somebody made without them.
func sandboxOf(s *runtimeapi.PodSandbox) model.Sandbox {
	m, l := s.GetMetadata(), s.GetLabels()
	return model.Sandbox{
		ID:          model.SandboxID(s.GetId()),
		UID:         model.UID(or(l[cri.LabelPodUID], m.GetUid())),
		Name:        or(l[cri.LabelPodName], m.GetName()),
		Namespace:   or(l[cri.LabelPodNamespace], m.GetNamespace()),
		Attempt:     m.GetAttempt(),
		State:       sandboxState(s.GetState()),
		CreatedAt:   at(s.GetCreatedAt()),
		Handler:     s.GetRuntimeHandler(),
		Labels:      l,
		Annotations: s.GetAnnotations(),
	}
}

func sandboxStatusOf(s *runtimeapi.PodSandboxStatus) model.Sandbox {
	m, l := s.GetMetadata(), s.GetLabels()
	return model.Sandbox{
		ID:          model.SandboxID(s.GetId()),
		UID:         model.UID(or(l[cri.LabelPodUID], m.GetUid())),
		Name:        or(l[cri.LabelPodName], m.GetName()),
		Namespace:   or(l[cri.LabelPodNamespace], m.GetNamespace()),
		Attempt:     m.GetAttempt(),
		State:       sandboxState(s.GetState()),
		CreatedAt:   at(s.GetCreatedAt()),
		IPs:         sandboxIPs(s.GetNetwork()),
		Handler:     s.GetRuntimeHandler(),
		Labels:      l,
		Annotations: s.GetAnnotations(),
		Detailed:    true,
	}
}

func sandboxIPs(n *runtimeapi.PodSandboxNetworkStatus) []string {
	if n.GetIp() == "" {
		return nil
	}
	ips := []string{n.GetIp()}
	for _, ip := range n.GetAdditionalIps() {
		if ip.GetIp() != "" {
			ips = append(ips, ip.GetIp())
		}
	}
	return ips
}

// containerOf is a container out of a list.
func containerOf(c *runtimeapi.Container) model.Container {
	m, l := c.GetMetadata(), c.GetLabels()
	return model.Container{
		ID:          model.ContainerID(c.GetId()),
		Sandbox:     model.SandboxID(c.GetPodSandboxId()),
		UID:         model.UID(l[cri.LabelPodUID]),
		PodName:     l[cri.LabelPodName],
		Namespace:   l[cri.LabelPodNamespace],
		Name:        or(l[cri.LabelContainerName], m.GetName()),
		Attempt:     m.GetAttempt(),
		State:       containerState(c.GetState()),
		CreatedAt:   at(c.GetCreatedAt()),
		Image:       or(c.GetImage().GetUserSpecifiedImage(), c.GetImage().GetImage()),
		ImageRef:    c.GetImageRef(),
		ImageID:     c.GetImageId(),
		Labels:      l,
		Annotations: c.GetAnnotations(),
	}
}

// containerStatusOf is a container read by its id. CRI's status does not name the sandbox: Sandbox stays empty.
func containerStatusOf(c *runtimeapi.ContainerStatus) model.Container {
	m, l := c.GetMetadata(), c.GetLabels()
	return model.Container{
		ID:          model.ContainerID(c.GetId()),
		UID:         model.UID(l[cri.LabelPodUID]),
		PodName:     l[cri.LabelPodName],
		Namespace:   l[cri.LabelPodNamespace],
		Name:        or(l[cri.LabelContainerName], m.GetName()),
		Attempt:     m.GetAttempt(),
		State:       containerState(c.GetState()),
		CreatedAt:   at(c.GetCreatedAt()),
		Image:       or(c.GetImage().GetUserSpecifiedImage(), c.GetImage().GetImage()),
		ImageRef:    c.GetImageRef(),
		ImageID:     c.GetImageId(),
		Labels:      l,
		Annotations: c.GetAnnotations(),
		Detailed:    true,
		StartedAt:   at(c.GetStartedAt()),
		FinishedAt:  at(c.GetFinishedAt()),
		ExitCode:    c.GetExitCode(),
		Reason:      c.GetReason(),
		Message:     c.GetMessage(),
		LogPath:     c.GetLogPath(),
		Resources:   c.GetResources(),
		User:        c.GetUser(),
		Mounts:      c.GetMounts(),
	}
}

func imageOf(i *runtimeapi.Image) model.ImageInfo {
	info := model.ImageInfo{
		ID:          i.GetId(),
		RepoTags:    i.GetRepoTags(),
		RepoDigests: i.GetRepoDigests(),
		Size:        model.Bytes(i.GetSize()),
		Username:    i.GetUsername(),
		Pinned:      i.GetPinned(),
	}
	if u := i.GetUid(); u != nil {
		uid := u.GetValue()
		info.UID = &uid
	}
	return info
}

// eventOf says which pod an event is about; false when nothing in it tells. A runtime may leave the sandbox out of an
// event whose sandbox is already gone: then a container's labels still know.
func eventOf(e *runtimeapi.ContainerEventResponse) (model.RuntimeEvent, bool) {
	s := e.GetPodSandboxStatus()
	uid := or(s.GetLabels()[cri.LabelPodUID], s.GetMetadata().GetUid())
	for _, c := range e.GetContainersStatuses() {
		uid = or(uid, c.GetLabels()[cri.LabelPodUID])
	}
	ev := model.RuntimeEvent{UID: model.UID(uid), At: at(e.GetCreatedAt())}
	if e.GetContainerId() != s.GetId() {
		ev.Container = model.ContainerID(e.GetContainerId())
	}
	return ev, uid != ""
}
