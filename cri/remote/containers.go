package remote

import (
	"context"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// seconds rounds up: CRI counts in whole seconds, and a grace or timeout must not become shorter, least of all 0.
func seconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d + time.Second - 1) / time.Second)
}

// CreateContainer implements cri.Runtime.
func (c *Client) CreateContainer(ctx context.Context, sandbox model.SandboxID, config *runtimeapi.ContainerConfig, sandboxConfig *runtimeapi.PodSandboxConfig) (model.ContainerID, error) {
	resp, err := c.runtime.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: string(sandbox), Config: config, SandboxConfig: sandboxConfig})
	if err != nil {
		return "", fail("create container", config.GetMetadata().GetName()+" in "+string(sandbox), err)
	}
	return model.ContainerID(resp.GetContainerId()), nil
}

// StartContainer implements cri.Runtime.
func (c *Client) StartContainer(ctx context.Context, id model.ContainerID) error {
	_, err := c.runtime.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: string(id)})
	return fail("start container", string(id), err)
}

// StopContainer implements cri.Runtime. The grace is rounded up to whole seconds; 0 kills at once. The context must
// outlive the grace.
func (c *Client) StopContainer(ctx context.Context, id model.ContainerID, grace time.Duration) error {
	_, err := c.runtime.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: string(id), Timeout: seconds(grace)})
	return fail("stop container", string(id), err)
}

// RemoveContainer implements cri.Runtime.
func (c *Client) RemoveContainer(ctx context.Context, id model.ContainerID) error {
	_, err := c.runtime.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: string(id)})
	return fail("remove container", string(id), err)
}

// ContainerStatus implements cri.Runtime. CRI's answer does not name the sandbox: Sandbox is empty.
func (c *Client) ContainerStatus(ctx context.Context, id model.ContainerID) (model.Container, error) {
	resp, err := c.runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: string(id)})
	if err != nil {
		return model.Container{}, fail("status of container", string(id), err)
	}
	return containerStatusOf(resp.GetStatus()), nil
}

// ListContainers implements cri.Runtime.
func (c *Client) ListContainers(ctx context.Context, filter cri.ContainerFilter) ([]model.Container, error) {
	req := &runtimeapi.ListContainersRequest{}
	if filter.UID != "" || filter.Sandbox != "" {
		req.Filter = &runtimeapi.ContainerFilter{PodSandboxId: string(filter.Sandbox)}
	}
	if filter.UID != "" {
		req.Filter.LabelSelector = map[string]string{cri.LabelPodUID: string(filter.UID)}
	}
	resp, err := c.runtime.ListContainers(ctx, req)
	if err != nil {
		return nil, fail("list containers", or(string(filter.UID), string(filter.Sandbox)), err)
	}
	out := make([]model.Container, 0, len(resp.GetContainers()))
	for _, ct := range resp.GetContainers() {
		out = append(out, containerOf(ct))
	}
	return out, nil
}

// UpdateContainerResources implements cri.Runtime.
func (c *Client) UpdateContainerResources(ctx context.Context, id model.ContainerID, resources *runtimeapi.LinuxContainerResources) error {
	_, err := c.runtime.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{ContainerId: string(id), Linux: resources})
	return fail("update resources of container", string(id), err)
}

// ReopenContainerLog implements cri.Runtime.
func (c *Client) ReopenContainerLog(ctx context.Context, id model.ContainerID) error {
	_, err := c.runtime.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: string(id)})
	return fail("reopen log of container", string(id), err)
}

// CheckpointContainer implements cri.Runtime.
func (c *Client) CheckpointContainer(ctx context.Context, id model.ContainerID, location string, timeout time.Duration) error {
	_, err := c.runtime.CheckpointContainer(ctx, &runtimeapi.CheckpointContainerRequest{ContainerId: string(id), Location: location, Timeout: seconds(timeout)})
	return fail("checkpoint container", string(id), err)
}

// ExecSync implements cri.Runtime. A command that outlived its timeout is an error that wraps cri.ErrExecTimeout. The
// timeout is rounded up to whole seconds; 0 means none. The context must outlive it.
func (c *Client) ExecSync(ctx context.Context, id model.ContainerID, command []string, timeout time.Duration) (cri.ExecResult, error) {
	resp, err := c.runtime.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: string(id), Cmd: command, Timeout: seconds(timeout)})
	if err != nil {
		return cri.ExecResult{}, failExec(ctx, string(id), err)
	}
	return cri.ExecResult{Stdout: resp.GetStdout(), Stderr: resp.GetStderr(), ExitCode: resp.GetExitCode()}, nil
}

// Exec implements cri.Runtime.
func (c *Client) Exec(ctx context.Context, req *runtimeapi.ExecRequest) (string, error) {
	resp, err := c.runtime.Exec(ctx, req)
	return resp.GetUrl(), fail("exec in container", req.GetContainerId(), err)
}

// Attach implements cri.Runtime.
func (c *Client) Attach(ctx context.Context, req *runtimeapi.AttachRequest) (string, error) {
	resp, err := c.runtime.Attach(ctx, req)
	return resp.GetUrl(), fail("attach to container", req.GetContainerId(), err)
}

// PortForward implements cri.Runtime.
func (c *Client) PortForward(ctx context.Context, req *runtimeapi.PortForwardRequest) (string, error) {
	resp, err := c.runtime.PortForward(ctx, req)
	return resp.GetUrl(), fail("forward ports of sandbox", req.GetPodSandboxId(), err)
}
