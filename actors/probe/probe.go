// Package probe runs probes and lifecycle hooks: a command in the container, an HTTP request, a TCP connection, a gRPC
// health check, a pause. Every run is bounded by its context and leaves nothing behind.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/troupe-dev/troupe/actors/container"
	"github.com/troupe-dev/troupe/actors/container/probeplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// Constants of the kubelet's probes: what is kept of an output, and how often a probe that could not be run is tried.
const (
	maxOutput = 10 << 10
	tries     = 3
)

// Runner carries probes and hooks out. It is safe for concurrent use.
type Runner struct {
	Runtime cri.Runtime
	// Version is what the User-Agent says after kube-probe/, e.g. 1.36.
	Version string
	// Fallback is told when an https hook was answered in http and worked that way.
	Fallback func(pod *v1.Pod, host string)
}

var _ container.Prober = (*Runner)(nil)
var _ container.Hooks = (*Runner)(nil)

// Probe runs a probe once; it tries again when the probe could not be run at all.
func (r *Runner) Probe(ctx context.Context, t container.ProbeTarget, spec *v1.Probe) (probeplan.Result, string) {
	var result probeplan.Result
	var output string
	for range tries {
		result, output = r.once(ctx, t, spec)
		if result != probeplan.Unknown || ctx.Err() != nil {
			break
		}
	}
	return result, output
}

func (r *Runner) once(ctx context.Context, t container.ProbeTarget, spec *v1.Probe) (probeplan.Result, string) {
	ip := ""
	if len(t.IPs) > 0 {
		ip = t.IPs[0]
	}
	switch {
	case spec.Exec != nil:
		return r.exec(ctx, t.ID, spec.Exec.Command, t.Timeout)
	case spec.HTTPGet != nil:
		return r.httpGet(ctx, t, spec.HTTPGet, ip)
	case spec.TCPSocket != nil:
		port, err := portOf(spec.TCPSocket.Port, t.Container)
		if err != nil {
			return probeplan.Unknown, err.Error()
		}
		host := spec.TCPSocket.Host
		if host == "" {
			host = ip
		}
		return dial(ctx, net.JoinHostPort(host, strconv.Itoa(port)), t.Timeout)
	case spec.GRPC != nil:
		service := ""
		if spec.GRPC.Service != nil {
			service = *spec.GRPC.Service
		}
		return r.grpcCheck(ctx, net.JoinHostPort(ip, strconv.Itoa(int(spec.GRPC.Port))), service, t.Timeout)
	}
	return probeplan.Unknown, "missing probe handler for " + t.Pod.Namespace + "/" + t.Pod.Name + ":" + t.Container.Name
}

func (r *Runner) exec(ctx context.Context, id model.ContainerID, command []string, timeout time.Duration) (probeplan.Result, string) {
	res, err := r.Runtime.ExecSync(ctx, id, command, timeout)
	output := cut(append(res.Stdout, res.Stderr...))
	switch {
	case err != nil && timedOut(err):
		return probeplan.Failure, fmt.Sprintf("command timed out: %q timed out after %s", command, timeout)
	case err != nil:
		return probeplan.Unknown, err.Error()
	case res.ExitCode != 0:
		return probeplan.Failure, output
	}
	return probeplan.Success, output
}

// timedOut says that the command took too long. A call that took too long says nothing of the command: the runtime or this
// agent was late, and a late agent is no failed probe.
func timedOut(err error) bool { return errors.Is(err, cri.ErrExecTimeout) }

func dial(ctx context.Context, address string, timeout time.Duration) (probeplan.Result, string) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{Control: linger}).DialContext(ctx, "tcp", address)
	if err != nil {
		return probeplan.Failure, err.Error()
	}
	_ = conn.Close()
	return probeplan.Success, ""
}

// portOf resolves a port by number or by the name that the container gives it.
func portOf(p intstr.IntOrString, c *v1.Container) (int, error) {
	port := p.IntValue()
	if p.Type == intstr.String {
		port = 0
		for i := range c.Ports {
			if c.Ports[i].Name == p.StrVal {
				port = int(c.Ports[i].ContainerPort)
			}
		}
		if port == 0 {
			n, err := strconv.Atoi(p.StrVal)
			if err != nil {
				return 0, fmt.Errorf("couldn't find port: %s in container %s", p.StrVal, c.Name)
			}
			port = n
		}
	}
	if port <= 0 || port > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", port)
	}
	return port, nil
}

func cut(b []byte) string {
	if len(b) > maxOutput {
		b = b[:maxOutput]
	}
	return string(b)
}

func readBody(r io.Reader) string {
	b, _ := io.ReadAll(io.LimitReader(r, maxOutput)) // what was read counts, whatever ended it
	return string(b)
}
