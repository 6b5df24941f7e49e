package metrics

import (
	"context"
	"errors"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// Runtime returns a runtime that counts every call (kubelet_runtime_operations_*) and otherwise is the given one.
func (r *Recorder) Runtime(inner cri.Runtime) cri.Runtime { return &countedRuntime{inner: inner, r: r} }

// Images returns an image service that counts every call and otherwise is the given one.
func (r *Recorder) Images(inner cri.Images) cri.Images { return &countedImages{inner: inner, r: r} }

type countedRuntime struct {
	inner cri.Runtime
	r     *Recorder
}

type countedImages struct {
	inner cri.Images
	r     *Recorder
}

// operation is deferred with the call's start.
func (r *Recorder) operation(op string, start time.Time, err *error) {
	r.opsTotal.WithLabelValues(op).Inc()
	r.opsDuration.WithLabelValues(op).Observe(time.Since(start).Seconds())
	if *err != nil {
		r.opsErrors.WithLabelValues(op).Inc()
	}
}

// sandboxRun counts what the kubelet counts apart for RunPodSandbox.
func (r *Recorder) sandboxRun(handler string, start time.Time, err *error) {
	r.startedPods.Inc()
	r.sandboxDuration.WithLabelValues(handler).Observe(time.Since(start).Seconds())
	if *err != nil {
		r.startedPodErrors.Inc()
		r.sandboxErrors.WithLabelValues(handler).Inc()
	}
}

// Events counts connections and the age of events at their arrival.
func (m *countedRuntime) Events(ctx context.Context, connected func(), handle func(model.RuntimeEvent)) error {
	err := m.inner.Events(ctx, func() {
		m.r.eventsConnected.Inc()
		connected()
	}, func(e model.RuntimeEvent) {
		if !e.At.IsZero() {
			m.r.eventsLatency.Observe(time.Since(e.At).Seconds())
		}
		handle(e)
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, cri.ErrUnimplemented) {
		m.r.eventsFailed.Inc()
	}
	return err
}

// Version counts and forwards.
func (m *countedRuntime) Version(ctx context.Context) (res *runtimeapi.VersionResponse, err error) {
	defer m.r.operation("version", time.Now(), &err)
	return m.inner.Version(ctx)
}

// Status counts and forwards.
func (m *countedRuntime) Status(ctx context.Context, verbose bool) (res *runtimeapi.StatusResponse, err error) {
	defer m.r.operation("status", time.Now(), &err)
	return m.inner.Status(ctx, verbose)
}

// RuntimeConfig counts and forwards.
func (m *countedRuntime) RuntimeConfig(ctx context.Context) (res *runtimeapi.RuntimeConfigResponse, err error) {
	defer m.r.operation("runtime_config", time.Now(), &err)
	return m.inner.RuntimeConfig(ctx)
}

// UpdateRuntimeConfig counts and forwards.
func (m *countedRuntime) UpdateRuntimeConfig(ctx context.Context, podCIDR string) (err error) {
	defer m.r.operation("update_runtime_config", time.Now(), &err)
	return m.inner.UpdateRuntimeConfig(ctx, podCIDR)
}

// RunPodSandbox counts and forwards.
func (m *countedRuntime) RunPodSandbox(ctx context.Context, config *runtimeapi.PodSandboxConfig, handler string) (res model.SandboxID, err error) {
	defer m.r.sandboxRun(handler, time.Now(), &err)
	defer m.r.operation("run_podsandbox", time.Now(), &err)
	defer func() { m.r.userns.run(config, res, err) }()
	return m.inner.RunPodSandbox(ctx, config, handler)
}

// StopPodSandbox counts and forwards.
func (m *countedRuntime) StopPodSandbox(ctx context.Context, id model.SandboxID) (err error) {
	defer m.r.operation("stop_podsandbox", time.Now(), &err)
	defer m.r.userns.gone(id)
	return m.inner.StopPodSandbox(ctx, id)
}

// RemovePodSandbox counts and forwards.
func (m *countedRuntime) RemovePodSandbox(ctx context.Context, id model.SandboxID) (err error) {
	defer m.r.operation("remove_podsandbox", time.Now(), &err)
	return m.inner.RemovePodSandbox(ctx, id)
}

// PodSandboxStatus counts and forwards.
func (m *countedRuntime) PodSandboxStatus(ctx context.Context, id model.SandboxID) (res model.Sandbox, err error) {
	defer m.r.operation("podsandbox_status", time.Now(), &err)
	return m.inner.PodSandboxStatus(ctx, id)
}

// ListPodSandbox counts and forwards.
func (m *countedRuntime) ListPodSandbox(ctx context.Context, filter cri.SandboxFilter) (res []model.Sandbox, err error) {
	defer m.r.operation("list_podsandbox", time.Now(), &err)
	return m.inner.ListPodSandbox(ctx, filter)
}

// CreateContainer counts and forwards.
func (m *countedRuntime) CreateContainer(ctx context.Context, sandbox model.SandboxID, config *runtimeapi.ContainerConfig, sandboxConfig *runtimeapi.PodSandboxConfig) (res model.ContainerID, err error) {
	defer m.r.operation("create_container", time.Now(), &err)
	defer func() { m.r.userns.created(sandbox, res, err) }()
	return m.inner.CreateContainer(ctx, sandbox, config, sandboxConfig)
}

// StartContainer counts and forwards.
func (m *countedRuntime) StartContainer(ctx context.Context, id model.ContainerID) (err error) {
	defer m.r.operation("start_container", time.Now(), &err)
	defer func() { m.r.userns.begun(id, err) }()
	return m.inner.StartContainer(ctx, id)
}

// StopContainer counts and forwards.
func (m *countedRuntime) StopContainer(ctx context.Context, id model.ContainerID, grace time.Duration) (err error) {
	defer m.r.operation("stop_container", time.Now(), &err)
	return m.inner.StopContainer(ctx, id, grace)
}

// RemoveContainer counts and forwards.
func (m *countedRuntime) RemoveContainer(ctx context.Context, id model.ContainerID) (err error) {
	defer m.r.operation("remove_container", time.Now(), &err)
	return m.inner.RemoveContainer(ctx, id)
}

// ContainerStatus counts and forwards.
func (m *countedRuntime) ContainerStatus(ctx context.Context, id model.ContainerID) (res model.Container, err error) {
	defer m.r.operation("container_status", time.Now(), &err)
	return m.inner.ContainerStatus(ctx, id)
}

// ListContainers counts and forwards.
func (m *countedRuntime) ListContainers(ctx context.Context, filter cri.ContainerFilter) (res []model.Container, err error) {
	defer m.r.operation("list_containers", time.Now(), &err)
	return m.inner.ListContainers(ctx, filter)
}

// UpdateContainerResources counts and forwards.
func (m *countedRuntime) UpdateContainerResources(ctx context.Context, id model.ContainerID, resources *runtimeapi.LinuxContainerResources) (err error) {
	defer m.r.operation("update_container", time.Now(), &err)
	return m.inner.UpdateContainerResources(ctx, id, resources)
}

// ReopenContainerLog counts and forwards.
func (m *countedRuntime) ReopenContainerLog(ctx context.Context, id model.ContainerID) (err error) {
	defer m.r.operation("reopen_container_log", time.Now(), &err)
	return m.inner.ReopenContainerLog(ctx, id)
}

// CheckpointContainer counts and forwards.
func (m *countedRuntime) CheckpointContainer(ctx context.Context, id model.ContainerID, location string, timeout time.Duration) (err error) {
	defer m.r.operation("checkpoint_container", time.Now(), &err)
	return m.inner.CheckpointContainer(ctx, id, location, timeout)
}

// ExecSync counts and forwards.
func (m *countedRuntime) ExecSync(ctx context.Context, id model.ContainerID, command []string, timeout time.Duration) (res cri.ExecResult, err error) {
	defer m.r.operation("exec_sync", time.Now(), &err)
	return m.inner.ExecSync(ctx, id, command, timeout)
}

// Exec counts and forwards.
func (m *countedRuntime) Exec(ctx context.Context, req *runtimeapi.ExecRequest) (res string, err error) {
	defer m.r.operation("exec", time.Now(), &err)
	return m.inner.Exec(ctx, req)
}

// Attach counts and forwards.
func (m *countedRuntime) Attach(ctx context.Context, req *runtimeapi.AttachRequest) (res string, err error) {
	defer m.r.operation("attach", time.Now(), &err)
	return m.inner.Attach(ctx, req)
}

// PortForward counts and forwards.
func (m *countedRuntime) PortForward(ctx context.Context, req *runtimeapi.PortForwardRequest) (res string, err error) {
	defer m.r.operation("port_forward", time.Now(), &err)
	return m.inner.PortForward(ctx, req)
}

// ImageStatus counts and forwards.
func (m *countedImages) ImageStatus(ctx context.Context, image string) (res *model.ImageInfo, err error) {
	defer m.r.operation("image_status", time.Now(), &err)
	return m.inner.ImageStatus(ctx, image)
}

// ListImages counts and forwards.
func (m *countedImages) ListImages(ctx context.Context) (res []model.ImageInfo, err error) {
	defer m.r.operation("list_images", time.Now(), &err)
	return m.inner.ListImages(ctx)
}

// PullImage counts and forwards.
func (m *countedImages) PullImage(ctx context.Context, image string, auth *runtimeapi.AuthConfig, sandboxConfig *runtimeapi.PodSandboxConfig) (res string, err error) {
	defer m.r.operation("pull_image", time.Now(), &err)
	return m.inner.PullImage(ctx, image, auth, sandboxConfig)
}

// RemoveImage counts and forwards.
func (m *countedImages) RemoveImage(ctx context.Context, image string) (err error) {
	defer m.r.operation("remove_image", time.Now(), &err)
	return m.inner.RemoveImage(ctx, image)
}

// ImageFsInfo counts and forwards.
func (m *countedImages) ImageFsInfo(ctx context.Context) (res *runtimeapi.ImageFsInfoResponse, err error) {
	defer m.r.operation("image_fs_info", time.Now(), &err)
	return m.inner.ImageFsInfo(ctx)
}
