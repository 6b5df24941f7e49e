package probe

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/troupe-dev/troupe/actors/container/probeplan"
)

// grpcCheck asks the standard health service.
func (r *Runner) grpcCheck(ctx context.Context, address, service string, timeout time.Duration) (probeplan.Result, string) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithUserAgent("kube-probe/"+r.Version),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{Control: linger}).DialContext(ctx, "tcp", addr)
		}))
	if err != nil {
		return probeplan.Failure, "gRPC probe failed to dial: " + err.Error()
	}
	defer conn.Close()
	resp, err := health.NewHealthClient(conn).Check(ctx, &health.HealthCheckRequest{Service: service}, grpc.WaitForReady(false))
	if err != nil {
		switch status.Code(err) {
		case codes.Unimplemented:
			return probeplan.Failure, fmt.Sprintf("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", status.Convert(err).Message())
		case codes.DeadlineExceeded:
			return probeplan.Failure, fmt.Sprintf("timeout: health rpc did not complete within %v", timeout)
		default:
			return probeplan.Failure, "error: health rpc probe failed: " + err.Error()
		}
	}
	if resp.GetStatus() != health.HealthCheckResponse_SERVING {
		return probeplan.Failure, fmt.Sprintf("service unhealthy (responded with %q)", resp.GetStatus().String())
	}
	return probeplan.Success, "service healthy"
}
