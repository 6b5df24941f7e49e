package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// openLog opens the container's log for appending, if it has one and logs are wanted.
func (r *Runtime) openLog(c *container) error {
	if !r.cfg.WriteLogs || c.logPath == "" {
		return nil
	}
	f, err := os.OpenFile(c.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("failed to create container loggers: failed to create and open log file: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeLog()
	c.log = f
	return nil
}

// write appends one full line in CRI's log format. The caller holds the container's lock.
func (c *container) write(l line) {
	if c.log == nil {
		return
	}
	stream := "stdout"
	if l.stderr {
		stream = "stderr"
	}
	fmt.Fprintf(c.log, "%s %s F %s\n", time.Now().UTC().Format(time.RFC3339Nano), stream, l.text)
}

// closeLog closes the log. The caller holds the container's lock.
func (c *container) closeLog() {
	if c.log != nil {
		c.log.Close()
		c.log = nil
	}
}

// ReopenContainerLog implements the CRI.
func (s service) ReopenContainerLog(ctx context.Context, req *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	return onContainer(ctx, s.r, "ReopenContainerLog", req.GetContainerId(), func(_ context.Context, c *container) (*runtimeapi.ReopenContainerLogResponse, error) {
		c.mu.Lock()
		running := c.state == runtimeapi.ContainerState_CONTAINER_RUNNING
		c.mu.Unlock()
		if !running {
			return nil, errors.New("container is not running")
		}
		return &runtimeapi.ReopenContainerLogResponse{}, s.r.openLog(c)
	})
}
