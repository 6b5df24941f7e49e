package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// StartContainer implements the CRI. As with containerd, a start that fails ends the container.
func (s service) StartContainer(ctx context.Context, req *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	r := s.r
	c, ok := r.containers.get(req.GetContainerId())
	if !ok {
		return run(ctx, r, call{op: "StartContainer"}, steps[*runtimeapi.StartContainerResponse]{
			commit: func(context.Context) (*runtimeapi.StartContainerResponse, error) {
				return nil, notFound("container", req.GetContainerId())
			},
		})
	}
	return run(ctx, r, containerCall("StartContainer", c), steps[*runtimeapi.StartContainerResponse]{
		prepare: func() error {
			if err := c.beginStart(); err != nil {
				return fmt.Errorf("failed to set starting state for container %q: %w", c.id, err)
			}
			return nil
		},
		commit: func(context.Context) (*runtimeapi.StartContainerResponse, error) {
			var err error
			switch {
			case c.sandbox.state() != runtimeapi.PodSandboxState_SANDBOX_READY:
				err = fmt.Errorf("sandbox container %q is not running", c.sandbox.id)
			case c.program.missing:
				err = errors.New("failed to create containerd task: failed to create shim task: OCI runtime create failed: exec: no such file or directory")
			default:
				err = r.openLog(c)
			}
			if err != nil {
				c.startFailed(err)
				return nil, err
			}
			r.begin(c)
			return &runtimeapi.StartContainerResponse{}, nil
		},
		abort: c.startFailed,
	})
}

func (c *container) beginStart() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state != runtimeapi.ContainerState_CONTAINER_CREATED:
		return fmt.Errorf("container is in %s state", c.state)
	case c.removing:
		return errors.New("container is in removing state, can't be started")
	case c.starting:
		return errors.New("container is already in starting state")
	}
	c.starting = true
	return nil
}

func (c *container) startFailed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.starting = false
	c.state, c.finished = runtimeapi.ContainerState_CONTAINER_EXITED, time.Now()
	c.exitCode, c.reason, c.message = exitNotStarted, reasonStartError, err.Error()
	close(c.stopped)
}

// begin makes the container run its program.
func (r *Runtime) begin(c *container) {
	c.mu.Lock()
	c.starting = false
	c.state, c.started = runtimeapi.ContainerState_CONTAINER_RUNNING, time.Now()
	p := c.program
	for _, l := range p.out {
		if l.at == 0 {
			c.write(l)
			continue
		}
		c.timers = append(c.timers, time.AfterFunc(l.at, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.write(l)
		}))
	}
	if !p.forever {
		c.timers = append(c.timers, time.AfterFunc(p.run, func() {
			if p.oom {
				r.exit(c, exitKilled, reasonOOM)
				return
			}
			r.exit(c, p.exit, "")
		}))
	}
	c.mu.Unlock()
	r.announce(c.sandbox, c.id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
}

// exit ends a running container; it says whether it was running.
func (r *Runtime) exit(c *container, code int32, reason string) bool {
	c.mu.Lock()
	if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		c.mu.Unlock()
		return false
	}
	c.state, c.finished = runtimeapi.ContainerState_CONTAINER_EXITED, time.Now()
	c.exitCode, c.reason = code, reason
	for _, t := range c.timers {
		t.Stop()
	}
	c.timers = nil
	c.closeLog()
	close(c.stopped)
	c.mu.Unlock()
	r.announce(c.sandbox, c.id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
	return true
}

// StopContainer implements the CRI. The signal is sent once however many calls there are.
func (s service) StopContainer(ctx context.Context, req *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	r := s.r
	c, ok := r.containers.get(req.GetContainerId())
	if !ok {
		return run(ctx, r, call{op: "StopContainer"}, nothing(&runtimeapi.StopContainerResponse{}))
	}
	return run(ctx, r, containerCall("StopContainer", c), steps[*runtimeapi.StopContainerResponse]{
		commit: func(ctx context.Context) (*runtimeapi.StopContainerResponse, error) {
			return &runtimeapi.StopContainerResponse{}, r.stop(ctx, c, time.Duration(req.GetTimeout())*time.Second)
		},
	})
}

func (r *Runtime) stop(ctx context.Context, c *container, grace time.Duration) error {
	c.mu.Lock()
	running, first := c.state == runtimeapi.ContainerState_CONTAINER_RUNNING, !c.signalled
	if grace > 0 {
		c.signalled = true
	}
	c.mu.Unlock()
	if !running {
		return nil
	}
	if grace > 0 {
		if first && !c.program.ignoreTerm {
			r.exit(c, c.program.termExit, "")
		}
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-c.stopped:
			return nil
		case <-ctx.Done():
			return ctxStatus(ctx)
		case <-t.C:
		}
	}
	r.exit(c, exitKilled, "")
	return nil
}

// Exit ends a running container from outside with a code and a reason ("" for the usual one); false says that no
// container of this id was running.
func (r *Runtime) Exit(id string, code int32, reason string) bool {
	c, ok := r.containers.get(id)
	return ok && r.exit(c, code, reason)
}

// ExitMatching ends every running container that matches and returns how many there were.
func (r *Runtime) ExitMatching(m Match, code int32, reason string) int {
	n := 0
	for _, c := range r.containers.all() {
		if m.matches(containerCall("", c)) && r.exit(c, code, reason) {
			n++
		}
	}
	return n
}
