package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// conditions are what Status reports.
type conditions struct {
	mu   sync.RWMutex
	list []*runtimeapi.RuntimeCondition // replaced, never changed
	cidr string
}

func (c *conditions) init() {
	c.list = []*runtimeapi.RuntimeCondition{{Type: runtimeapi.RuntimeReady, Status: true}, {Type: runtimeapi.NetworkReady, Status: true}}
}

func (c *conditions) networkReady() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, k := range c.list {
		if k.Type == runtimeapi.NetworkReady && !k.Status {
			return false
		}
	}
	return true
}

// SetCondition sets a condition of the runtime. Without NetworkReady, sandboxes with a network of their own are refused.
func (r *Runtime) SetCondition(kind string, ok bool, reason, message string) {
	r.conditions.mu.Lock()
	defer r.conditions.mu.Unlock()
	next := &runtimeapi.RuntimeCondition{Type: kind, Status: ok, Reason: reason, Message: message}
	list := slices.Clone(r.conditions.list)
	for i, k := range list {
		if k.Type == kind {
			list[i] = next
			r.conditions.list = list
			return
		}
	}
	r.conditions.list = append(list, next)
}

// PodCIDR is the last range that UpdateRuntimeConfig was given.
func (r *Runtime) PodCIDR() string {
	r.conditions.mu.RLock()
	defer r.conditions.mu.RUnlock()
	return r.conditions.cidr
}

func (r *Runtime) checkHandler(name string) error {
	if name == "" || slices.Contains(r.cfg.Handlers, name) {
		return nil
	}
	return fmt.Errorf("unable to get OCI runtime for sandbox: no runtime for %q is configured", name)
}

// Version implements the CRI.
func (s service) Version(ctx context.Context, _ *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return run(ctx, s.r, call{op: "Version"}, steps[*runtimeapi.VersionResponse]{
		commit: func(context.Context) (*runtimeapi.VersionResponse, error) {
			return &runtimeapi.VersionResponse{Version: "0.1.0", RuntimeName: "troupe-sim", RuntimeVersion: "1.0.0", RuntimeApiVersion: "v1"}, nil
		},
	})
}

// Status implements the CRI.
func (s service) Status(ctx context.Context, _ *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return run(ctx, s.r, call{op: "Status"}, steps[*runtimeapi.StatusResponse]{
		commit: func(context.Context) (*runtimeapi.StatusResponse, error) {
			s.r.conditions.mu.RLock()
			list := s.r.conditions.list
			s.r.conditions.mu.RUnlock()
			res := &runtimeapi.StatusResponse{
				Status:   &runtimeapi.RuntimeStatus{Conditions: list},
				Features: &runtimeapi.RuntimeFeatures{SupplementalGroupsPolicy: true},
			}
			for _, h := range append([]string{""}, s.r.cfg.Handlers...) {
				res.RuntimeHandlers = append(res.RuntimeHandlers, &runtimeapi.RuntimeHandler{
					Name: h, Features: &runtimeapi.RuntimeHandlerFeatures{RecursiveReadOnlyMounts: true, UserNamespaces: true},
				})
			}
			return res, nil
		},
	})
}

// RuntimeConfig implements the CRI.
func (s service) RuntimeConfig(ctx context.Context, _ *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error) {
	return run(ctx, s.r, call{op: "RuntimeConfig"}, steps[*runtimeapi.RuntimeConfigResponse]{
		commit: func(context.Context) (*runtimeapi.RuntimeConfigResponse, error) {
			return &runtimeapi.RuntimeConfigResponse{Linux: &runtimeapi.LinuxRuntimeConfiguration{CgroupDriver: s.r.cfg.CgroupDriver}}, nil
		},
	})
}

// UpdateRuntimeConfig implements the CRI.
func (s service) UpdateRuntimeConfig(ctx context.Context, req *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	return run(ctx, s.r, call{op: "UpdateRuntimeConfig"}, steps[*runtimeapi.UpdateRuntimeConfigResponse]{
		commit: func(context.Context) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
			s.r.conditions.mu.Lock()
			defer s.r.conditions.mu.Unlock()
			s.r.conditions.cidr = req.GetRuntimeConfig().GetNetworkConfig().GetPodCidr()
			return &runtimeapi.UpdateRuntimeConfigResponse{}, nil
		},
	})
}
