package sim

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ExecResult is the end of a command in a container; Takes is how long it runs. Held is how long something that the command
// left behind holds its output open: the answer waits for that, whatever the timeout.
type ExecResult struct {
	Stdout, Stderr string
	ExitCode       int32
	Takes, Held    time.Duration
}

type execHandler struct {
	match Match
	f     func(command []string) ExecResult
}

type execs struct {
	mu       sync.RWMutex
	handlers []execHandler
}

// HandleExec answers ExecSync in the containers that match; the newest handler that matches is asked. Without one,
// commands mean what they mean to the small shell of programs: echo, sleep, exit, true, false; all others succeed.
func (r *Runtime) HandleExec(m Match, f func(command []string) ExecResult) {
	r.execs.mu.Lock()
	defer r.execs.mu.Unlock()
	r.execs.handlers = append(r.execs.handlers, execHandler{m, f})
}

func (e *execs) result(k call, command []string) ExecResult {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for i := len(e.handlers) - 1; i >= 0; i-- {
		if e.handlers[i].match.matches(k) {
			return e.handlers[i].f(command)
		}
	}
	p := shell(command)
	res := ExecResult{ExitCode: p.exit, Takes: p.run}
	var out, err bytes.Buffer
	for _, l := range p.out {
		if l.stderr {
			err.WriteString(l.text + "\n")
		} else {
			out.WriteString(l.text + "\n")
		}
	}
	res.Stdout, res.Stderr = out.String(), err.String()
	return res
}

// ExecSync implements the CRI.
func (s service) ExecSync(ctx context.Context, req *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	return onContainer(ctx, s.r, "ExecSync", req.GetContainerId(), func(ctx context.Context, c *container) (*runtimeapi.ExecSyncResponse, error) {
		c.mu.Lock()
		running := c.state == runtimeapi.ContainerState_CONTAINER_RUNNING
		c.mu.Unlock()
		if !running {
			return nil, errors.New("failed to exec in container: container is not running")
		}
		res := s.r.execs.result(containerCall("ExecSync", c), req.GetCmd())
		takes, timeout := res.Takes, time.Duration(req.GetTimeout())*time.Second
		late := timeout > 0 && takes > timeout
		if late {
			takes = timeout
		}
		takes += res.Held
		t := time.NewTimer(takes)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.stopped: // the command dies with its container
			return &runtimeapi.ExecSyncResponse{ExitCode: exitKilled}, nil
		case <-ctx.Done():
			return nil, ctxStatus(ctx)
		}
		if late {
			return nil, status.Errorf(codes.DeadlineExceeded, "failed to exec in container: timeout %s exceeded: context deadline exceeded", timeout)
		}
		return &runtimeapi.ExecSyncResponse{Stdout: []byte(res.Stdout), Stderr: []byte(res.Stderr), ExitCode: res.ExitCode}, nil
	})
}
