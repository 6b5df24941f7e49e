package proxy

import (
	"context"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// Wrapped is a runtime behind the proxy.
type Wrapped struct {
	p      *Proxy
	rt     cri.Runtime
	images cri.Images
}

var (
	_ cri.Runtime = (*Wrapped)(nil)
	_ cri.Images  = (*Wrapped)(nil)
)

// Wrap puts the proxy in front of a runtime and its images.
func (p *Proxy) Wrap(rt cri.Runtime, images cri.Images) *Wrapped {
	return &Wrapped{p: p, rt: rt, images: images}
}

// get forwards a call that returns something; where the fault takes the answer away, the caller gets none.
func get[T any](ctx context.Context, w *Wrapped, c Call, f func(context.Context) (T, error)) (T, error) {
	var res, none T
	err := w.p.do(ctx, c, func(ctx context.Context) (err error) {
		res, err = f(ctx)
		return err
	})
	if err != nil {
		return none, err
	}
	return res, nil
}

// Version implements cri.Runtime.
func (w *Wrapped) Version(ctx context.Context) (*runtimeapi.VersionResponse, error) {
	return get(ctx, w, Call{Op: "Version"}, w.rt.Version)
}

// Status implements cri.Runtime.
func (w *Wrapped) Status(ctx context.Context, verbose bool) (*runtimeapi.StatusResponse, error) {
	return get(ctx, w, Call{Op: "Status"}, func(ctx context.Context) (*runtimeapi.StatusResponse, error) { return w.rt.Status(ctx, verbose) })
}

// RuntimeConfig implements cri.Runtime.
func (w *Wrapped) RuntimeConfig(ctx context.Context) (*runtimeapi.RuntimeConfigResponse, error) {
	return get(ctx, w, Call{Op: "RuntimeConfig"}, w.rt.RuntimeConfig)
}

// UpdateRuntimeConfig implements cri.Runtime.
func (w *Wrapped) UpdateRuntimeConfig(ctx context.Context, podCIDR string) error {
	return w.p.do(ctx, Call{Op: "UpdateRuntimeConfig"}, func(ctx context.Context) error { return w.rt.UpdateRuntimeConfig(ctx, podCIDR) })
}

// RunPodSandbox implements cri.Runtime.
func (w *Wrapped) RunPodSandbox(ctx context.Context, config *runtimeapi.PodSandboxConfig, handler string) (model.SandboxID, error) {
	c := callOfSandbox(config)
	return get(ctx, w, c, func(ctx context.Context) (model.SandboxID, error) {
		id, err := w.rt.RunPodSandbox(ctx, config, handler)
		if err == nil {
			w.p.ran(c, string(id))
		}
		return id, err
	})
}

func callOfSandbox(config *runtimeapi.PodSandboxConfig) Call {
	m := config.GetMetadata()
	return Call{Op: "RunPodSandbox", UID: m.GetUid(), Namespace: m.GetNamespace(), Pod: m.GetName(), Attempt: m.GetAttempt()}
}

// ran notes a new sandbox, even when its answer is lost on the way to the agent.
func (p *Proxy) ran(c Call, id string) {
	c.ID, c.Sandbox = id, id
	p.saw(c.Op, c, true, stateReady, 0)
}

// StopPodSandbox implements cri.Runtime.
func (w *Wrapped) StopPodSandbox(ctx context.Context, id model.SandboxID) error {
	return w.p.do(ctx, Call{Op: "StopPodSandbox", ID: string(id)}, func(ctx context.Context) error { return w.rt.StopPodSandbox(ctx, id) })
}

// RemovePodSandbox implements cri.Runtime.
func (w *Wrapped) RemovePodSandbox(ctx context.Context, id model.SandboxID) error {
	return w.p.do(ctx, Call{Op: "RemovePodSandbox", ID: string(id)}, func(ctx context.Context) error { return w.rt.RemovePodSandbox(ctx, id) })
}

// PodSandboxStatus implements cri.Runtime.
func (w *Wrapped) PodSandboxStatus(ctx context.Context, id model.SandboxID) (model.Sandbox, error) {
	const op = "PodSandboxStatus"
	s, err := get(ctx, w, Call{Op: op, ID: string(id)}, func(ctx context.Context) (model.Sandbox, error) { return w.rt.PodSandboxStatus(ctx, id) })
	if err != nil {
		w.p.notFound(op, string(id), true, err)
		return s, err
	}
	w.p.sawSandbox(op, s)
	return s, nil
}

// ListPodSandbox implements cri.Runtime.
func (w *Wrapped) ListPodSandbox(ctx context.Context, filter cri.SandboxFilter) ([]model.Sandbox, error) {
	const op = "ListPodSandbox"
	began := time.Now()
	l, err := get(ctx, w, Call{Op: op, UID: string(filter.UID)}, func(ctx context.Context) ([]model.Sandbox, error) { return w.rt.ListPodSandbox(ctx, filter) })
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for _, s := range l {
		listed[string(s.ID)] = true
		w.p.sawSandbox(op, s)
	}
	w.p.sawAbsent(op, string(filter.UID), "", true, listed, began)
	return l, nil
}

// CreateContainer implements cri.Runtime.
func (w *Wrapped) CreateContainer(ctx context.Context, sandbox model.SandboxID, config *runtimeapi.ContainerConfig, sandboxConfig *runtimeapi.PodSandboxConfig) (model.ContainerID, error) {
	c := callOfContainer(string(sandbox), config, sandboxConfig)
	return get(ctx, w, c, func(ctx context.Context) (model.ContainerID, error) {
		id, err := w.rt.CreateContainer(ctx, sandbox, config, sandboxConfig)
		if err == nil {
			w.p.created(c, string(id))
		}
		return id, err
	})
}

func callOfContainer(sandbox string, config *runtimeapi.ContainerConfig, sandboxConfig *runtimeapi.PodSandboxConfig) Call {
	m, pm := config.GetMetadata(), sandboxConfig.GetMetadata()
	return Call{
		Op: "CreateContainer", Sandbox: sandbox, UID: pm.GetUid(), Namespace: pm.GetNamespace(), Pod: pm.GetName(),
		Container: m.GetName(), Attempt: m.GetAttempt(),
	}
}

func (p *Proxy) created(c Call, id string) {
	c.ID = id
	p.saw(c.Op, c, false, stateCreated, 0)
}

// StartContainer implements cri.Runtime.
func (w *Wrapped) StartContainer(ctx context.Context, id model.ContainerID) error {
	return w.p.do(ctx, Call{Op: "StartContainer", ID: string(id)}, func(ctx context.Context) error { return w.rt.StartContainer(ctx, id) })
}

// StopContainer implements cri.Runtime.
func (w *Wrapped) StopContainer(ctx context.Context, id model.ContainerID, grace time.Duration) error {
	return w.p.do(ctx, Call{Op: "StopContainer", ID: string(id)}, func(ctx context.Context) error { return w.rt.StopContainer(ctx, id, grace) })
}

// RemoveContainer implements cri.Runtime.
func (w *Wrapped) RemoveContainer(ctx context.Context, id model.ContainerID) error {
	return w.p.do(ctx, Call{Op: "RemoveContainer", ID: string(id)}, func(ctx context.Context) error { return w.rt.RemoveContainer(ctx, id) })
}

// ContainerStatus implements cri.Runtime.
func (w *Wrapped) ContainerStatus(ctx context.Context, id model.ContainerID) (model.Container, error) {
	const op = "ContainerStatus"
	c, err := get(ctx, w, Call{Op: op, ID: string(id)}, func(ctx context.Context) (model.Container, error) { return w.rt.ContainerStatus(ctx, id) })
	if err != nil {
		w.p.notFound(op, string(id), false, err)
		return c, err
	}
	w.p.sawContainer(op, c)
	return c, nil
}

// ListContainers implements cri.Runtime.
func (w *Wrapped) ListContainers(ctx context.Context, filter cri.ContainerFilter) ([]model.Container, error) {
	const op = "ListContainers"
	began := time.Now()
	l, err := get(ctx, w, Call{Op: op, UID: string(filter.UID), Sandbox: string(filter.Sandbox)}, func(ctx context.Context) ([]model.Container, error) {
		return w.rt.ListContainers(ctx, filter)
	})
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for _, c := range l {
		listed[string(c.ID)] = true
		w.p.sawContainer(op, c)
	}
	w.p.sawAbsent(op, string(filter.UID), string(filter.Sandbox), false, listed, began)
	return l, nil
}

// UpdateContainerResources implements cri.Runtime.
func (w *Wrapped) UpdateContainerResources(ctx context.Context, id model.ContainerID, resources *runtimeapi.LinuxContainerResources) error {
	return w.p.do(ctx, Call{Op: "UpdateContainerResources", ID: string(id)}, func(ctx context.Context) error {
		return w.rt.UpdateContainerResources(ctx, id, resources)
	})
}

// ReopenContainerLog implements cri.Runtime.
func (w *Wrapped) ReopenContainerLog(ctx context.Context, id model.ContainerID) error {
	return w.p.do(ctx, Call{Op: "ReopenContainerLog", ID: string(id)}, func(ctx context.Context) error { return w.rt.ReopenContainerLog(ctx, id) })
}

// CheckpointContainer implements cri.Runtime.
func (w *Wrapped) CheckpointContainer(ctx context.Context, id model.ContainerID, location string, timeout time.Duration) error {
	return w.p.do(ctx, Call{Op: "CheckpointContainer", ID: string(id)}, func(ctx context.Context) error {
		return w.rt.CheckpointContainer(ctx, id, location, timeout)
	})
}

// ExecSync implements cri.Runtime.
func (w *Wrapped) ExecSync(ctx context.Context, id model.ContainerID, command []string, timeout time.Duration) (cri.ExecResult, error) {
	return get(ctx, w, Call{Op: "ExecSync", ID: string(id)}, func(ctx context.Context) (cri.ExecResult, error) {
		return w.rt.ExecSync(ctx, id, command, timeout)
	})
}

// Exec implements cri.Runtime.
func (w *Wrapped) Exec(ctx context.Context, req *runtimeapi.ExecRequest) (string, error) {
	return get(ctx, w, Call{Op: "Exec", ID: req.GetContainerId()}, func(ctx context.Context) (string, error) { return w.rt.Exec(ctx, req) })
}

// Attach implements cri.Runtime.
func (w *Wrapped) Attach(ctx context.Context, req *runtimeapi.AttachRequest) (string, error) {
	return get(ctx, w, Call{Op: "Attach", ID: req.GetContainerId()}, func(ctx context.Context) (string, error) { return w.rt.Attach(ctx, req) })
}

// PortForward implements cri.Runtime.
func (w *Wrapped) PortForward(ctx context.Context, req *runtimeapi.PortForwardRequest) (string, error) {
	return get(ctx, w, Call{Op: "PortForward", ID: req.GetPodSandboxId()}, func(ctx context.Context) (string, error) { return w.rt.PortForward(ctx, req) })
}

// Events implements cri.Runtime. A fault acts on the opening of the stream.
func (w *Wrapped) Events(ctx context.Context, connected func(), handle func(model.RuntimeEvent)) error {
	return w.p.do(ctx, Call{Op: "GetContainerEvents"}, func(ctx context.Context) error { return w.rt.Events(ctx, connected, handle) })
}

// ImageStatus implements cri.Images.
func (w *Wrapped) ImageStatus(ctx context.Context, image string) (*model.ImageInfo, error) {
	return get(ctx, w, Call{Op: "ImageStatus", Container: image}, func(ctx context.Context) (*model.ImageInfo, error) { return w.images.ImageStatus(ctx, image) })
}

// ListImages implements cri.Images.
func (w *Wrapped) ListImages(ctx context.Context) ([]model.ImageInfo, error) {
	return get(ctx, w, Call{Op: "ListImages"}, w.images.ListImages)
}

// PullImage implements cri.Images. A rule selects pulls by pod, or by the image in place of a container's name.
func (w *Wrapped) PullImage(ctx context.Context, image string, auth *runtimeapi.AuthConfig, sandboxConfig *runtimeapi.PodSandboxConfig) (string, error) {
	m := sandboxConfig.GetMetadata()
	c := Call{Op: "PullImage", Container: image, UID: m.GetUid(), Namespace: m.GetNamespace(), Pod: m.GetName()}
	return get(ctx, w, c, func(ctx context.Context) (string, error) { return w.images.PullImage(ctx, image, auth, sandboxConfig) })
}

// RemoveImage implements cri.Images.
func (w *Wrapped) RemoveImage(ctx context.Context, image string) error {
	return w.p.do(ctx, Call{Op: "RemoveImage", Container: image}, func(ctx context.Context) error { return w.images.RemoveImage(ctx, image) })
}

// ImageFsInfo implements cri.Images.
func (w *Wrapped) ImageFsInfo(ctx context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	return get(ctx, w, Call{Op: "ImageFsInfo"}, w.images.ImageFsInfo)
}
