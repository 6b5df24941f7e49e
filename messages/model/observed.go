package model

import (
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// SandboxState is what the runtime says of a sandbox.
type SandboxState int

// The sandbox states of CRI.
const (
	SandboxReady SandboxState = iota
	SandboxNotReady
)

// Sandbox is one pod sandbox as the runtime shows it.
type Sandbox struct {
	ID        SandboxID
	UID       UID
	Name      string // pod name
	Namespace string
	Attempt   uint32
	State     SandboxState
	CreatedAt time.Time
	// IPs are the pod's addresses, primary first; only a status read fills them (Detailed).
	IPs         []string
	Handler     string // runtime handler, "" for the default one
	Labels      map[string]string
	Annotations map[string]string
	Detailed    bool
}

// ContainerState is what the runtime says of a container.
type ContainerState int

// The container states of CRI.
const (
	ContainerCreated ContainerState = iota
	ContainerRunning
	ContainerExited
	ContainerUnknown
)

// Container is one container instance as the runtime shows it. A list fills the identity, State, CreatedAt, images,
// labels and annotations; a status read by id fills the rest and sets Detailed.
type Container struct {
	ID        ContainerID
	Sandbox   SandboxID
	UID       UID    // pod UID, from the label
	PodName   string // from the label
	Namespace string // from the label
	Name      string // container name, from the label
	Attempt   uint32
	State     ContainerState
	CreatedAt time.Time
	Image     string // as the spec named it
	ImageRef  string // repository digest or id that the image resolved to
	ImageID   string
	Labels    map[string]string
	// Annotations carry the kubelet's durable facts (io.kubernetes.container.hash, .restartCount, …).
	Annotations map[string]string

	Detailed   bool
	StartedAt  time.Time
	FinishedAt time.Time
	ExitCode   int32
	Reason     string
	Message    string
	LogPath    string
	Resources  *runtimeapi.ContainerResources
	User       *runtimeapi.ContainerUser
	Mounts     []*runtimeapi.Mount
}

// PodObserved is everything the runtime shows of one pod.
type PodObserved struct {
	UID       UID
	Name      string
	Namespace string
	// Sandboxes and Containers are ordered newest first.
	Sandboxes  []Sandbox
	Containers []Container
}

// RuntimeEvent is a hint from the runtime's event stream: look at this pod.
type RuntimeEvent struct {
	UID       UID
	Container ContainerID
	At        time.Time
}

// ImageInfo is one image that the runtime stores.
type ImageInfo struct {
	ID          string
	RepoTags    []string
	RepoDigests []string
	Size        Bytes
	UID         *int64 // numeric user of the image, nil when it is a name
	Username    string
	Pinned      bool
}
