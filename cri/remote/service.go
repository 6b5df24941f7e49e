package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// apiVersion is the version of the kubelet's side that Version announces; runtimes ignore it today.
const apiVersion = "0.1.0"

// Version implements cri.Runtime. A runtime without CRI v1 is an error that wraps cri.ErrNoCRIv1.
func (c *Client) Version(ctx context.Context) (*runtimeapi.VersionResponse, error) {
	resp, err := c.runtime.Version(ctx, &runtimeapi.VersionRequest{Version: apiVersion})
	if err != nil {
		err = fail("version of the runtime", "", err)
		if errors.Is(err, cri.ErrUnimplemented) {
			err = fmt.Errorf("%w at %s (containerd before 1.6 and a disabled CRI plugin do not): %w", cri.ErrNoCRIv1, c.conns[0].endpoint, err)
		}
		return nil, err
	}
	if resp.GetRuntimeName() == "" || resp.GetRuntimeVersion() == "" {
		return nil, fmt.Errorf("version of the runtime at %s: the answer lacks name or version", c.conns[0].endpoint)
	}
	return resp, nil
}

// Status implements cri.Runtime.
func (c *Client) Status(ctx context.Context, verbose bool) (*runtimeapi.StatusResponse, error) {
	resp, err := c.runtime.Status(ctx, &runtimeapi.StatusRequest{Verbose: verbose})
	if err != nil {
		return nil, fail("status of the runtime", "", err)
	}
	if len(resp.GetStatus().GetConditions()) < 2 {
		return nil, fmt.Errorf("status of the runtime: it lacks the conditions %s and %s", runtimeapi.RuntimeReady, runtimeapi.NetworkReady)
	}
	return resp, nil
}

// RuntimeConfig implements cri.Runtime.
func (c *Client) RuntimeConfig(ctx context.Context) (*runtimeapi.RuntimeConfigResponse, error) {
	resp, err := c.runtime.RuntimeConfig(ctx, &runtimeapi.RuntimeConfigRequest{})
	if err != nil {
		return nil, fail("configuration of the runtime", "", err)
	}
	return resp, nil
}

// UpdateRuntimeConfig implements cri.Runtime.
func (c *Client) UpdateRuntimeConfig(ctx context.Context, podCIDR string) error {
	_, err := c.runtime.UpdateRuntimeConfig(ctx, &runtimeapi.UpdateRuntimeConfigRequest{
		RuntimeConfig: &runtimeapi.RuntimeConfig{NetworkConfig: &runtimeapi.NetworkConfig{PodCidr: podCIDR}},
	})
	return fail("set pod CIDR", podCIDR, err)
}

// Events implements cri.Runtime.
//
// Runtimes send no header before the first event, so the stream itself does not tell when it stands. A call that is
// answered after the stream was opened does: both go down one connection in order. What is left is the moment between
// the runtime's accepting the stream and its subscribing; containerd holds events back while nobody subscribes, so
// even then they are delivered, unless there is a second subscriber.
func (c *Client) Events(ctx context.Context, connected func(), handle func(model.RuntimeEvent)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.runtime.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		return fail("open event stream", "", err)
	}
	// Receiving starts at once: a replay of held events may come before the proof, and must not stall the runtime.
	proof := make(chan error, 1)
	go func() {
		_, err := c.runtime.Version(ctx, &runtimeapi.VersionRequest{Version: apiVersion})
		if err != nil {
			cancel()
		} else if ctx.Err() == nil {
			connected()
		}
		proof <- err
	}()
	err = receive(stream, handle)
	cancel()
	if perr := <-proof; perr != nil && cri.CodeOf(err) == codes.Canceled {
		err = perr // it was the proof that failed, and ended the stream
	}
	return fail("event stream", "", err)
}

// receive hands events on until the stream ends; it never returns nil.
func receive(stream runtimeapi.RuntimeService_GetContainerEventsClient, handle func(model.RuntimeEvent)) error {
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the runtime ended the stream")
		}
		if err != nil {
			return err
		}
		if ev, ok := eventOf(e); ok {
			handle(ev)
		}
	}
}
