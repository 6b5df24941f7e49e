package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
)

// RunPodSandbox implements the CRI.
func (s service) RunPodSandbox(ctx context.Context, req *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	r, cfg := s.r, req.GetConfig()
	m := cfg.GetMetadata()
	if m == nil {
		return nil, toStatus(errors.New("sandbox config must include metadata"))
	}
	name := fmt.Sprintf("%s_%s_%s_%d", m.GetName(), m.GetNamespace(), m.GetUid(), m.GetAttempt())
	sb := &sandbox{name: name, uid: uidOf(cfg.GetLabels(), m.GetUid()), config: cfg, handler: req.GetRuntimeHandler(), ready: true, containers: map[string]*container{}}
	return run(ctx, r, sandboxCall("RunPodSandbox", sb), steps[*runtimeapi.RunPodSandboxResponse]{
		prepare: func() error {
			sb.id = r.newID(name)
			if err := r.checkHandler(sb.handler); err != nil {
				return err
			}
			hostNetwork := cfg.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE
			if !hostNetwork && !r.conditions.networkReady() {
				return errors.New("failed to setup network for sandbox: cni config not initialized")
			}
			if err := r.reserve("sandbox", name, sb.id); err != nil {
				return err
			}
			if !hostNetwork {
				sb.ip = r.newIP()
			}
			return nil
		},
		commit: func(context.Context) (*runtimeapi.RunPodSandboxResponse, error) {
			sb.createdAt = time.Now()
			r.addSandbox(sb)
			r.announce(sb, sb.id, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT)
			r.announce(sb, sb.id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
			return &runtimeapi.RunPodSandboxResponse{PodSandboxId: sb.id}, nil
		},
		abort: func(error) { r.names.delete(name) },
	})
}

// newIP returns the next address of 10.128.0.0/10.
func (r *Runtime) newIP() string {
	n := r.ips.Add(1)
	return fmt.Sprintf("10.%d.%d.%d", 128+(n>>16)&63, n>>8&255, n&255)
}

// StopPodSandbox implements the CRI: what runs is killed, without grace.
func (s service) StopPodSandbox(ctx context.Context, req *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	sb, ok := s.r.sandboxes.get(req.GetPodSandboxId())
	if !ok {
		return run(ctx, s.r, call{op: "StopPodSandbox"}, nothing(&runtimeapi.StopPodSandboxResponse{}))
	}
	return run(ctx, s.r, sandboxCall("StopPodSandbox", sb), steps[*runtimeapi.StopPodSandboxResponse]{
		commit: func(context.Context) (*runtimeapi.StopPodSandboxResponse, error) {
			s.r.stopSandbox(sb)
			return &runtimeapi.StopPodSandboxResponse{}, nil
		},
	})
}

// nothing is an operation on what does not exist, which succeeds.
func nothing[T any](res T) steps[T] {
	return steps[T]{commit: func(context.Context) (T, error) { return res, nil }}
}

func (r *Runtime) stopSandbox(sb *sandbox) {
	for _, c := range sb.list() {
		r.exit(c, exitKilled, "")
	}
	r.sandboxExit(sb)
}

// sandboxExit makes a sandbox NotReady.
func (r *Runtime) sandboxExit(sb *sandbox) {
	sb.mu.Lock()
	was := sb.ready
	sb.ready = false
	sb.mu.Unlock()
	if was {
		r.announce(sb, sb.id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
	}
}

// RemovePodSandbox implements the CRI.
func (s service) RemovePodSandbox(ctx context.Context, req *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	r := s.r
	sb, ok := r.sandboxes.get(req.GetPodSandboxId())
	if !ok {
		return run(ctx, r, call{op: "RemovePodSandbox"}, nothing(&runtimeapi.RemovePodSandboxResponse{}))
	}
	return run(ctx, r, sandboxCall("RemovePodSandbox", sb), steps[*runtimeapi.RemovePodSandboxResponse]{
		commit: func(context.Context) (*runtimeapi.RemovePodSandboxResponse, error) {
			r.stopSandbox(sb)
			for _, c := range sb.list() {
				if err := c.beginRemoval(); err != nil {
					return nil, fmt.Errorf("failed to remove container %q: %w", c.id, err)
				}
				r.dropContainer(c)
			}
			if _, ok := r.sandboxes.get(sb.id); ok {
				r.announce(sb, sb.id, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT)
				r.dropSandbox(sb)
				r.names.delete(sb.name)
			}
			return &runtimeapi.RemovePodSandboxResponse{}, nil
		},
	})
}

func (sb *sandbox) state() runtimeapi.PodSandboxState {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	if sb.ready {
		return runtimeapi.PodSandboxState_SANDBOX_READY
	}
	return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
}

func (sb *sandbox) status() *runtimeapi.PodSandboxStatus {
	st := &runtimeapi.PodSandboxStatus{
		Id: sb.id, Metadata: sb.config.GetMetadata(), State: sb.state(), CreatedAt: sb.createdAt.UnixNano(),
		Labels: sb.config.GetLabels(), Annotations: sb.config.GetAnnotations(), RuntimeHandler: sb.handler,
		Network: &runtimeapi.PodSandboxNetworkStatus{},
		Linux:   &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{Options: sb.config.GetLinux().GetSecurityContext().GetNamespaceOptions()}},
	}
	if st.State == runtimeapi.PodSandboxState_SANDBOX_READY {
		st.Network.Ip = sb.ip
	}
	return st
}

// PodSandboxStatus implements the CRI.
func (s service) PodSandboxStatus(ctx context.Context, req *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	sb, ok := s.r.sandboxes.get(req.GetPodSandboxId())
	c := call{op: "PodSandboxStatus"}
	if ok {
		c = sandboxCall(c.op, sb)
	}
	return run(ctx, s.r, c, steps[*runtimeapi.PodSandboxStatusResponse]{
		commit: func(context.Context) (*runtimeapi.PodSandboxStatusResponse, error) {
			if sb, ok = s.r.sandboxes.get(req.GetPodSandboxId()); !ok {
				return nil, notFound("sandbox", req.GetPodSandboxId())
			}
			return &runtimeapi.PodSandboxStatusResponse{Status: sb.status()}, nil
		},
	})
}

// ListPodSandbox implements the CRI. A filter by id or by pod looks at nothing else.
func (s service) ListPodSandbox(ctx context.Context, req *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	f := req.GetFilter()
	uid := f.GetLabelSelector()[cri.LabelPodUID]
	return run(ctx, s.r, call{op: "ListPodSandbox", Match: Match{UID: uid}}, steps[*runtimeapi.ListPodSandboxResponse]{
		commit: func(context.Context) (*runtimeapi.ListPodSandboxResponse, error) {
			var found []*sandbox
			switch {
			case f.GetId() != "":
				if sb, ok := s.r.sandboxes.get(f.GetId()); ok {
					found = append(found, sb)
				}
			case uid != "":
				found = s.r.sandboxesOf(uid)
			default:
				found = s.r.sandboxes.all()
			}
			sortSandboxes(found)
			res := &runtimeapi.ListPodSandboxResponse{}
			for _, sb := range found {
				state := sb.state()
				if !matchLabels(sb.config.GetLabels(), f.GetLabelSelector()) || (f.GetState() != nil && f.GetState().GetState() != state) {
					continue
				}
				res.Items = append(res.Items, &runtimeapi.PodSandbox{
					Id: sb.id, Metadata: sb.config.GetMetadata(), State: state, CreatedAt: sb.createdAt.UnixNano(),
					Labels: sb.config.GetLabels(), Annotations: sb.config.GetAnnotations(), RuntimeHandler: sb.handler,
				})
			}
			return res, nil
		},
	})
}

// UpdatePodSandboxResources implements the CRI; the simulation has no use for the values.
func (s service) UpdatePodSandboxResources(ctx context.Context, req *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	c := call{op: "UpdatePodSandboxResources"}
	sb, ok := s.r.sandboxes.get(req.GetPodSandboxId())
	if ok {
		c = sandboxCall(c.op, sb)
	}
	return run(ctx, s.r, c, steps[*runtimeapi.UpdatePodSandboxResourcesResponse]{
		commit: func(context.Context) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
			if !ok {
				return nil, notFound("sandbox", req.GetPodSandboxId())
			}
			return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
		},
	})
}

// KillSandbox ends a sandbox as if its process had died: NotReady, its containers running on.
func (r *Runtime) KillSandbox(id string) bool {
	sb, ok := r.sandboxes.get(id)
	if ok {
		r.sandboxExit(sb)
	}
	return ok
}
