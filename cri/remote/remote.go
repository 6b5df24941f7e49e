// Package remote is the cri port over gRPC: the plain generated client of k8s.io/cri-api. It adds what the agent needs
// and nothing else: deadlines that come from the caller's context alone, a connection that is back within a second of
// the runtime's return, errors that wrap operation and id and are sorted by cri.ClassOf, and the model's types.
package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/cri"
)

// Connection parameters. A dial of a unix socket costs next to nothing, so the back-off is short: the pause after an
// outage is a complaint about agents that wait longer.
const (
	// maxMessage is the size limit of one message, the one that the kubelet uses and runtimes are built for.
	maxMessage = 16 << 20
	// baseBackoff and maxBackoff bound the pause between two attempts to connect.
	baseBackoff = 50 * time.Millisecond
	maxBackoff  = time.Second
	// connectTimeout is for a socket that accepts but does not speak (a stopped runtime).
	connectTimeout = 3 * time.Second
	// resetEvery is how often calls during an outage may cut the back-off short.
	resetEvery = 100 * time.Millisecond
)

// Options change how Dial connects; the zero value is what the agent uses.
type Options struct {
	// ImageEndpoint is the endpoint of the image service where it differs from the runtime's.
	ImageEndpoint string
	// OnCall is told of every finished call: the CRI method's name, its duration and its error. It must not block.
	OnCall func(op string, d time.Duration, err error)
	// Dialer replaces the dialing of the endpoint, which is then only a name. For tests over a pipe.
	Dialer func(ctx context.Context, endpoint string) (net.Conn, error)
	// Unary are interceptors around every unary call (fault injection, tracing), outermost first.
	Unary []grpc.UnaryClientInterceptor
}

// Client is a connection to a runtime. It implements cri.Runtime and cri.Images and is safe for concurrent use.
//
// A call while the runtime is away fails at once with codes.Unavailable (class unknown) and hurries the next attempt to
// connect; it never waits for the runtime to come back. Ready does that.
type Client struct {
	runtime runtimeapi.RuntimeServiceClient
	images  runtimeapi.ImageServiceClient
	conns   []*conn
}

var (
	_ cri.Runtime = (*Client)(nil)
	_ cri.Images  = (*Client)(nil)
)

// Dial makes a client for the endpoint. It does not wait for the runtime to be there, nor ask anything of it: see
// Ready and CheckVersion. A wrong endpoint is an error, a bare path a warning.
func Dial(ctx context.Context, endpoint string, opts Options) (*Client, error) {
	c := &Client{}
	rt, err := open(ctx, endpoint, opts)
	if err != nil {
		return nil, err
	}
	c.conns = append(c.conns, rt)
	im := rt
	if opts.ImageEndpoint != "" && opts.ImageEndpoint != endpoint {
		if im, err = open(ctx, opts.ImageEndpoint, opts); err != nil {
			rt.ClientConn.Close()
			return nil, err
		}
		c.conns = append(c.conns, im)
	}
	c.runtime, c.images = runtimeapi.NewRuntimeServiceClient(rt), runtimeapi.NewImageServiceClient(im)
	return c, nil
}

// Close ends the connection; calls in flight fail.
func (c *Client) Close() error {
	var errs []error
	for _, cc := range c.conns {
		errs = append(errs, cc.ClientConn.Close())
	}
	return errors.Join(errs...)
}

// Ready waits until the connections stand or ctx ends. It hurries the connecting.
func (c *Client) Ready(ctx context.Context) error {
	for _, cc := range c.conns {
		if err := cc.ready(ctx); err != nil {
			return fmt.Errorf("connect to the runtime at %s: %w", cc.endpoint, err)
		}
	}
	return nil
}

// CheckVersion waits until the runtime answers or ctx ends, and makes sure that it serves CRI v1: an error that wraps
// cri.ErrNoCRIv1 will not get better by trying again.
func (c *Client) CheckVersion(ctx context.Context) (*runtimeapi.VersionResponse, error) {
	for {
		if err := c.Ready(ctx); err != nil {
			return nil, err
		}
		v, err := c.Version(ctx)
		if err == nil || errors.Is(err, cri.ErrNoCRIv1) || ctx.Err() != nil {
			return v, err
		}
		if cri.CodeOf(err) != codes.Unavailable { // answers, and refuses
			return nil, err
		}
		// Connected, but the runtime's services are not up yet.
		select {
		case <-ctx.Done():
		case <-time.After(resetEvery):
		}
	}
}

func open(ctx context.Context, endpoint string, opts Options) (*conn, error) {
	name, dialer := endpoint, opts.Dialer
	if dialer == nil {
		path, bare, err := SocketPath(endpoint)
		if err != nil {
			return nil, err
		}
		if bare {
			klog.FromContext(ctx).Info("Warning: a bare path as runtime endpoint is deprecated, use the URL form", "endpoint", endpoint, "use", "unix://"+path)
		}
		name = path
		dialer = func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", addr)
		}
	}
	bo := backoff.DefaultConfig
	bo.BaseDelay, bo.MaxDelay = baseBackoff, maxBackoff
	c := &conn{endpoint: endpoint, onCall: opts.OnCall}
	cc, err := grpc.NewClient("passthrough:///"+name,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(dialer),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: bo, MinConnectTimeout: connectTimeout}),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent("troupe"),
		grpc.WithChainUnaryInterceptor(opts.Unary...),
	)
	if err != nil {
		return nil, fmt.Errorf("runtime endpoint %s: %w", endpoint, err)
	}
	c.ClientConn = cc
	return c, nil
}

// conn is a grpc connection that is measured and that calls hurry while it is down.
type conn struct {
	*grpc.ClientConn
	endpoint  string
	onCall    func(string, time.Duration, error)
	lastReset atomic.Int64
}

// Invoke makes one unary call.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	start := time.Now()
	c.hurry(start)
	err := c.ClientConn.Invoke(ctx, method, args, reply, opts...)
	if c.onCall != nil {
		c.onCall(opOf(method), time.Since(start), err)
	}
	return err
}

// NewStream opens a stream.
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c.hurry(time.Now())
	return c.ClientConn.NewStream(ctx, desc, method, opts...)
}

// hurry cuts the back-off of a broken connection short, at most once in resetEvery however many calls come.
func (c *conn) hurry(now time.Time) {
	if c.GetState() != connectivity.TransientFailure {
		return
	}
	last := c.lastReset.Load()
	if now.UnixNano()-last < int64(resetEvery) || !c.lastReset.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	c.ResetConnectBackoff()
}

func (c *conn) ready(ctx context.Context) error {
	for {
		s := c.GetState()
		switch s {
		case connectivity.Ready:
			return nil
		case connectivity.Shutdown:
			return errors.New("the connection is closed")
		case connectivity.Idle:
			c.Connect()
		case connectivity.TransientFailure:
			c.hurry(time.Now())
		case connectivity.Connecting:
		}
		wait, cancel := context.WithTimeout(ctx, resetEvery)
		c.WaitForStateChange(wait, s)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// opOf returns the CRI method's name of a full gRPC method.
func opOf(method string) string {
	for i := len(method) - 1; i >= 0; i-- {
		if method[i] == '/' {
			return method[i+1:]
		}
	}
	return method
}
