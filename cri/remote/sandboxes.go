package remote

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// RunPodSandbox implements cri.Runtime.
func (c *Client) RunPodSandbox(ctx context.Context, config *runtimeapi.PodSandboxConfig, handler string) (model.SandboxID, error) {
	m := config.GetMetadata()
	resp, err := c.runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err != nil {
		return "", fail("run sandbox", m.GetNamespace()+"/"+m.GetName(), err)
	}
	return model.SandboxID(resp.GetPodSandboxId()), nil
}

// StopPodSandbox implements cri.Runtime.
func (c *Client) StopPodSandbox(ctx context.Context, id model.SandboxID) error {
	_, err := c.runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: string(id)})
	return fail("stop sandbox", string(id), err)
}

// RemovePodSandbox implements cri.Runtime.
func (c *Client) RemovePodSandbox(ctx context.Context, id model.SandboxID) error {
	_, err := c.runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: string(id)})
	return fail("remove sandbox", string(id), err)
}

// PodSandboxStatus implements cri.Runtime.
func (c *Client) PodSandboxStatus(ctx context.Context, id model.SandboxID) (model.Sandbox, error) {
	resp, err := c.runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: string(id)})
	if err != nil {
		return model.Sandbox{}, fail("status of sandbox", string(id), err)
	}
	return sandboxStatusOf(resp.GetStatus()), nil
}

// ListPodSandbox implements cri.Runtime.
func (c *Client) ListPodSandbox(ctx context.Context, filter cri.SandboxFilter) ([]model.Sandbox, error) {
	req := &runtimeapi.ListPodSandboxRequest{}
	if filter.UID != "" {
		req.Filter = &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{cri.LabelPodUID: string(filter.UID)}}
	}
	resp, err := c.runtime.ListPodSandbox(ctx, req)
	if err != nil {
		return nil, fail("list sandboxes", string(filter.UID), err)
	}
	out := make([]model.Sandbox, 0, len(resp.GetItems()))
	for _, s := range resp.GetItems() {
		out = append(out, sandboxOf(s))
	}
	return out, nil
}
