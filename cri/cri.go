// Package cri is the port through which Troupe uses a container runtime: the part of CRI that the agent needs, in
// terms of messages/model, with errors sorted by what may be concluded from them. cri/remote speaks to a real runtime
// over gRPC, cri/sim is one without processes, cri/proxy injects faults, cri/criconformance holds for all of them.
package cri

import (
	"context"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// SandboxFilter selects sandboxes; zero fields select everything.
type SandboxFilter struct {
	UID model.UID
}

// ContainerFilter selects containers; zero fields select everything.
type ContainerFilter struct {
	UID     model.UID
	Sandbox model.SandboxID
}

// ExecResult is the end of a command that ran inside a container.
type ExecResult struct {
	Stdout, Stderr []byte
	ExitCode       int32
}

// Runtime is the runtime service. Every method may block until its context ends and is safe for concurrent use.
// Errors are sorted by ClassOf.
type Runtime interface {
	Version(ctx context.Context) (*runtimeapi.VersionResponse, error)
	Status(ctx context.Context, verbose bool) (*runtimeapi.StatusResponse, error)
	// RuntimeConfig returns the runtime's configuration (the cgroup driver); ErrUnimplemented on old runtimes.
	RuntimeConfig(ctx context.Context) (*runtimeapi.RuntimeConfigResponse, error)
	UpdateRuntimeConfig(ctx context.Context, podCIDR string) error

	RunPodSandbox(ctx context.Context, config *runtimeapi.PodSandboxConfig, handler string) (model.SandboxID, error)
	// StopPodSandbox kills what still runs in the sandbox, without grace, and takes its network down.
	StopPodSandbox(ctx context.Context, id model.SandboxID) error
	RemovePodSandbox(ctx context.Context, id model.SandboxID) error
	PodSandboxStatus(ctx context.Context, id model.SandboxID) (model.Sandbox, error)
	ListPodSandbox(ctx context.Context, filter SandboxFilter) ([]model.Sandbox, error)

	CreateContainer(ctx context.Context, sandbox model.SandboxID, config *runtimeapi.ContainerConfig, sandboxConfig *runtimeapi.PodSandboxConfig) (model.ContainerID, error)
	StartContainer(ctx context.Context, id model.ContainerID) error
	// StopContainer sends the stop signal, waits up to grace and kills.
	StopContainer(ctx context.Context, id model.ContainerID, grace time.Duration) error
	RemoveContainer(ctx context.Context, id model.ContainerID) error
	ContainerStatus(ctx context.Context, id model.ContainerID) (model.Container, error)
	ListContainers(ctx context.Context, filter ContainerFilter) ([]model.Container, error)
	UpdateContainerResources(ctx context.Context, id model.ContainerID, resources *runtimeapi.LinuxContainerResources) error
	ReopenContainerLog(ctx context.Context, id model.ContainerID) error
	CheckpointContainer(ctx context.Context, id model.ContainerID, location string, timeout time.Duration) error

	// ExecSync runs a command to its end. A command that ran and failed is a result with its exit code, not an error.
	ExecSync(ctx context.Context, id model.ContainerID, command []string, timeout time.Duration) (ExecResult, error)
	// Exec, Attach and PortForward return the URL of the runtime's streaming server.
	Exec(ctx context.Context, req *runtimeapi.ExecRequest) (string, error)
	Attach(ctx context.Context, req *runtimeapi.AttachRequest) (string, error)
	PortForward(ctx context.Context, req *runtimeapi.PortForwardRequest) (string, error)

	// Events delivers hints until the stream or the context ends and says why it ended; ErrUnimplemented where the
	// runtime has no events. connected is called once the stream stands (a list made after it misses nothing). handle
	// is called on the stream's goroutine and must not block.
	Events(ctx context.Context, connected func(), handle func(model.RuntimeEvent)) error
}

// Images is the image service. Every method may block until its context ends and is safe for concurrent use.
type Images interface {
	// ImageStatus returns nil without an error when the image is not there.
	ImageStatus(ctx context.Context, image string) (*model.ImageInfo, error)
	ListImages(ctx context.Context) ([]model.ImageInfo, error)
	// PullImage returns the reference to create containers from. auth may be nil.
	PullImage(ctx context.Context, image string, auth *runtimeapi.AuthConfig, sandboxConfig *runtimeapi.PodSandboxConfig) (string, error)
	RemoveImage(ctx context.Context, image string) error
	ImageFsInfo(ctx context.Context) (*runtimeapi.ImageFsInfoResponse, error)
}
