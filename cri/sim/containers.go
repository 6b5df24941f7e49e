package sim

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
)

// CreateContainer implements the CRI.
func (s service) CreateContainer(ctx context.Context, req *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	r, cfg := s.r, req.GetConfig()
	c := &container{config: cfg, stopped: make(chan struct{}), state: runtimeapi.ContainerState_CONTAINER_CREATED}
	k := call{op: "CreateContainer", Match: Match{Container: cfg.GetMetadata().GetName()}}
	sb, ok := r.sandboxes.get(req.GetPodSandboxId())
	if ok {
		m, pm := cfg.GetMetadata(), req.GetSandboxConfig().GetMetadata()
		c.sandbox = sb
		c.name = fmt.Sprintf("%s_%s_%s_%s_%d", m.GetName(), pm.GetName(), pm.GetNamespace(), pm.GetUid(), m.GetAttempt())
		k = containerCall(k.op, c)
	}
	return run(ctx, r, k, steps[*runtimeapi.CreateContainerResponse]{
		prepare: func() error {
			switch {
			case !ok:
				return notFound("sandbox", req.GetPodSandboxId())
			case cfg.GetMetadata() == nil:
				return errors.New("container config must include metadata")
			case req.GetSandboxConfig().GetMetadata() == nil:
				return errors.New("pod sandbox config must include metadata")
			case sb.state() != runtimeapi.PodSandboxState_SANDBOX_READY:
				return fmt.Errorf("sandbox container %q is not running", sb.id)
			}
			var have bool
			if c.image, have = r.images.resolve(cfg.GetImage().GetImage()); !have {
				return notFound("image", cfg.GetImage().GetImage())
			}
			c.id = r.newID(c.name)
			c.program = programOf(cfg, sb.config)
			if r := cfg.GetLinux().GetResources(); r != nil {
				c.resources = proto.Clone(r).(*runtimeapi.LinuxContainerResources)
			}
			if cfg.GetLogPath() != "" && req.GetSandboxConfig().GetLogDirectory() != "" {
				c.logPath = filepath.Join(req.GetSandboxConfig().GetLogDirectory(), cfg.GetLogPath())
			}
			return r.reserve("container", c.name, c.id)
		},
		commit: func(context.Context) (*runtimeapi.CreateContainerResponse, error) {
			if _, ok := r.sandboxes.get(sb.id); !ok {
				r.names.delete(c.name)
				return nil, notFound("sandbox", sb.id)
			}
			c.created = time.Now()
			sb.mu.Lock()
			sb.containers[c.id] = c
			sb.mu.Unlock()
			r.containers.put(c.id, c)
			r.announce(sb, c.id, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT)
			return &runtimeapi.CreateContainerResponse{ContainerId: c.id}, nil
		},
		abort: func(error) { r.names.delete(c.name) },
	})
}

// RemoveContainer implements the CRI: what runs is killed first.
func (s service) RemoveContainer(ctx context.Context, req *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	r := s.r
	c, ok := r.containers.get(req.GetContainerId())
	if !ok {
		return run(ctx, r, call{op: "RemoveContainer"}, nothing(&runtimeapi.RemoveContainerResponse{}))
	}
	return run(ctx, r, containerCall("RemoveContainer", c), steps[*runtimeapi.RemoveContainerResponse]{
		prepare: func() error {
			r.exit(c, exitKilled, "")
			if err := c.beginRemoval(); err != nil {
				return fmt.Errorf("failed to set removing state for container %q: %w", c.id, err)
			}
			return nil
		},
		commit: func(context.Context) (*runtimeapi.RemoveContainerResponse, error) {
			r.dropContainer(c)
			return &runtimeapi.RemoveContainerResponse{}, nil
		},
		abort: func(error) {
			c.mu.Lock()
			c.removing = false
			c.mu.Unlock()
		},
	})
}

// beginRemoval keeps others from starting or removing the container.
func (c *container) beginRemoval() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == runtimeapi.ContainerState_CONTAINER_RUNNING:
		return errors.New("container is still running, to stop first")
	case c.starting:
		return errors.New("container is in starting state, can't be removed")
	case c.removing:
		return errors.New("container is already in removing state")
	}
	c.removing = true
	return nil
}

func (r *Runtime) dropContainer(c *container) {
	c.sandbox.mu.Lock()
	delete(c.sandbox.containers, c.id)
	c.sandbox.mu.Unlock()
	r.containers.delete(c.id)
	r.names.delete(c.name)
	r.announce(c.sandbox, c.id, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT)
}

// ContainerStatus implements the CRI.
func (s service) ContainerStatus(ctx context.Context, req *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	return onContainer(ctx, s.r, "ContainerStatus", req.GetContainerId(), func(_ context.Context, c *container) (*runtimeapi.ContainerStatusResponse, error) {
		return &runtimeapi.ContainerStatusResponse{Status: s.r.statusOf(c)}, nil
	})
}

// onContainer is an operation on a container that must exist when the call has taken its time.
func onContainer[T any](ctx context.Context, r *Runtime, op, id string, f func(context.Context, *container) (T, error)) (T, error) {
	k := call{op: op}
	c, ok := r.containers.get(id)
	if ok {
		k = containerCall(op, c)
	}
	return run(ctx, r, k, steps[T]{commit: func(ctx context.Context) (T, error) {
		c, ok := r.containers.get(id)
		if !ok {
			var none T
			return none, notFound("container", id)
		}
		return f(ctx, c)
	}})
}

func (r *Runtime) statusOf(c *container) *runtimeapi.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := &runtimeapi.ContainerStatus{
		Id: c.id, Metadata: c.config.GetMetadata(), State: c.state, CreatedAt: c.created.UnixNano(),
		Image: &runtimeapi.ImageSpec{Image: c.image.spec()}, ImageRef: c.image.digest(), ImageId: c.image.id,
		Reason: c.reason, Message: c.message, ExitCode: c.exitCode,
		Labels: c.config.GetLabels(), Annotations: c.config.GetAnnotations(), Mounts: c.config.GetMounts(), LogPath: c.logPath,
		User: userOf(c.config),
	}
	if c.state == runtimeapi.ContainerState_CONTAINER_RUNNING || c.state == runtimeapi.ContainerState_CONTAINER_EXITED {
		st.StartedAt = nanos(c.started)
	}
	if c.state == runtimeapi.ContainerState_CONTAINER_EXITED {
		st.FinishedAt = nanos(c.finished)
		if st.Reason == "" {
			if st.Reason = reasonError; st.ExitCode == 0 {
				st.Reason = reasonCompleted
			}
		}
	}
	if c.resources != nil {
		st.Resources = &runtimeapi.ContainerResources{Linux: proto.Clone(c.resources).(*runtimeapi.LinuxContainerResources)}
	}
	return st
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func userOf(cfg *runtimeapi.ContainerConfig) *runtimeapi.ContainerUser {
	sc := cfg.GetLinux().GetSecurityContext()
	return &runtimeapi.ContainerUser{Linux: &runtimeapi.LinuxContainerUser{
		Uid: sc.GetRunAsUser().GetValue(), Gid: sc.GetRunAsGroup().GetValue(), SupplementalGroups: sc.GetSupplementalGroups(),
	}}
}

// ListContainers implements the CRI. A filter by id, sandbox or pod looks at nothing else.
func (s service) ListContainers(ctx context.Context, req *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	f := req.GetFilter()
	return run(ctx, s.r, call{op: "ListContainers", Match: Match{UID: f.GetLabelSelector()[cri.LabelPodUID]}}, steps[*runtimeapi.ListContainersResponse]{
		commit: func(context.Context) (*runtimeapi.ListContainersResponse, error) {
			res := &runtimeapi.ListContainersResponse{}
			for _, c := range s.r.candidates(f) {
				c.mu.Lock()
				state := c.state
				c.mu.Unlock()
				if (f.GetPodSandboxId() != "" && f.GetPodSandboxId() != c.sandbox.id) || !matchLabels(c.config.GetLabels(), f.GetLabelSelector()) ||
					(f.GetState() != nil && f.GetState().GetState() != state) {
					continue
				}
				res.Containers = append(res.Containers, &runtimeapi.Container{
					Id: c.id, PodSandboxId: c.sandbox.id, Metadata: c.config.GetMetadata(), Image: c.config.GetImage(),
					ImageRef: c.image.id, ImageId: c.image.id, State: state, CreatedAt: c.created.UnixNano(),
					Labels: c.config.GetLabels(), Annotations: c.config.GetAnnotations(),
				})
			}
			return res, nil
		},
	})
}

// candidates returns the containers that a filter may select, by the narrowest index there is.
func (r *Runtime) candidates(f *runtimeapi.ContainerFilter) []*container {
	var out []*container
	switch uid := f.GetLabelSelector()[cri.LabelPodUID]; {
	case f.GetId() != "":
		if c, ok := r.containers.get(f.GetId()); ok {
			out = append(out, c)
		}
	case f.GetPodSandboxId() != "":
		if sb, ok := r.sandboxes.get(f.GetPodSandboxId()); ok {
			out = sb.list()
		}
	case uid != "":
		for _, sb := range r.sandboxesOf(uid) {
			out = append(out, sb.list()...)
		}
	default:
		out = r.containers.all()
	}
	sortContainers(out)
	return out
}

// UpdateContainerResources implements the CRI: what is not zero is set.
func (s service) UpdateContainerResources(ctx context.Context, req *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	return onContainer(ctx, s.r, "UpdateContainerResources", req.GetContainerId(), func(_ context.Context, c *container) (*runtimeapi.UpdateContainerResourcesResponse, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.removing {
			return nil, fmt.Errorf("failed to update resources: container %q is in removing state", c.id)
		}
		if c.resources == nil {
			c.resources = &runtimeapi.LinuxContainerResources{}
		}
		if len(req.GetLinux().GetHugepageLimits()) > 0 {
			c.resources.HugepageLimits = nil // a merge would append
		}
		proto.Merge(c.resources, req.GetLinux())
		return &runtimeapi.UpdateContainerResourcesResponse{}, nil
	})
}
