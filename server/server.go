// Package server is the node API: what the kubelet serves on port 10250 to the API server, to kubectl and to
// Prometheus, the health port, the read-only port where configured, and on a root-only socket the inspection that the
// command line uses. It reads snapshots through small ports and never sends a message to an actor.
package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/server/auth"
	"github.com/troupe-dev/troupe/server/certs"
	"github.com/troupe-dev/troupe/server/health"
	"github.com/troupe-dev/troupe/server/inspect"
	"github.com/troupe-dev/troupe/server/logs"
	"github.com/troupe-dev/troupe/server/metrics"
	"github.com/troupe-dev/troupe/server/stream"
)

// Pods finds pods with the newest status that this agent built. Objects are shared and must not be changed. Safe for
// concurrent use.
type Pods interface {
	List() []*v1.Pod
	Get(namespace, name string) (*v1.Pod, bool)
	// ByUID also finds a static pod by the UID of its mirror.
	ByUID(uid types.UID) (*v1.Pod, bool)
}

// Deps are what the server reads from; all but Stats, Configz and Local are needed.
type Deps struct {
	Log     klog.Logger
	Pods    Pods
	Runtime cri.Runtime
	Actors  inspect.Actors
	Effects inspect.Effects
	Metrics *metrics.Recorder
	// Health are the checks besides ping and log; syncloop says whether the actors make progress.
	Health []health.Check
	// Reviews are the API clients for authentication and authorization.
	Reviews auth.Deps
	// Stats measures on request; nil answers 501.
	Stats Stats
	// Configz returns the configuration in effect (kubelet.config.k8s.io/v1beta1); nil serves no /configz.
	Configz func() any
	// Local adds routes to the root-only socket; may be nil.
	Local func(*http.ServeMux)
}

// Config says where to listen and what to serve. An empty address opens nothing.
type Config struct {
	// Secure is where HTTPS listens ("0.0.0.0:10250"); Auth and TLS belong to it.
	Secure string
	Auth   auth.Config
	TLS    certs.Config
	// ReadOnly is where plain HTTP without authentication listens (":10255").
	ReadOnly string
	// Healthz is where only /healthz is served ("127.0.0.1:10248").
	Healthz string
	// Socket is the path of the root-only socket; its folder must belong to it alone.
	Socket string
	// Inspect is a loopback address where the inspection page is served to whoever shows InspectToken ("127.0.0.1:0").
	Inspect      string
	InspectToken string

	// The switches of KubeletConfiguration.
	EnableDebuggingHandlers, EnableProfilingHandler, EnableDebugFlagsHandler, EnableSystemLogHandler, EnableContentionProfiling bool

	// SystemLogDir is what /logs/ shows (/var/log). CheckpointDir is where checkpoints go (<root-dir>/checkpoints).
	SystemLogDir, CheckpointDir string
	// CallTimeout bounds short calls to the runtime (runtimeRequestTimeout, 2 min by default).
	CallTimeout time.Duration
}

// Server is the node API. New builds it, Run serves until its context ends.
type Server struct {
	deps    Deps
	cfg     Config
	auth    *auth.Auth
	certs   *certs.Serving
	logs    *logs.Handler
	stream  *stream.Server
	inspect *inspect.Handler
	checks  []health.Check

	mu    sync.Mutex
	ports []*port
}

// New checks the configuration, reads the certificates, and opens nothing yet.
func New(d Deps, c Config) (*Server, error) {
	if d.Pods == nil || d.Runtime == nil || d.Actors == nil || d.Effects == nil || d.Metrics == nil {
		return nil, errors.New("node API: Pods, Runtime, Actors, Effects and Metrics are needed")
	}
	if c.CallTimeout <= 0 {
		c.CallTimeout = 2 * time.Minute
	}
	s := &Server{deps: d, cfg: c}
	if c.Secure != "" {
		var err error
		if s.auth, err = auth.New(d.Reviews, c.Auth); err != nil {
			return nil, fmt.Errorf("node API: %w", err)
		}
		tc := c.TLS
		if ca := s.auth.ClientCA(); ca != nil {
			tc.ClientCA = ca
		}
		if s.certs, err = certs.New(d.Log, tc); err != nil {
			return nil, fmt.Errorf("node API: %w", err)
		}
	}
	if c.Inspect != "" && len(c.InspectToken) < 16 {
		return nil, errors.New("node API: the inspection address needs a token of at least 16 characters")
	}
	s.checks = append([]health.Check{health.Ping(), health.Log()}, d.Health...)
	s.logs = &logs.Handler{Pods: d.Pods, Runtime: d.Runtime, Reader: &logs.Reader{Hints: logs.NewHints()}, CallTimeout: c.CallTimeout}
	s.stream = &stream.Server{Pods: d.Pods, Runtime: d.Runtime, CallTimeout: c.CallTimeout, CheckpointDir: c.CheckpointDir, WebSocket: d.Metrics.WebSocket}
	s.inspect = inspect.New(d.Pods, d.Actors, d.Effects)
	d.Metrics.Register(metrics.PodState(d.Pods))
	d.Metrics.Register(metrics.EffectState(d.Effects))
	d.Metrics.Register(metrics.ActorState(d.Actors))
	return s, nil
}

// Timeouts of the kubelet's servers. Reading the header has a bound of its own, because a client that only dribbles
// would hold a connection for the four hours that a stream may last.
const (
	idleTimeout   = 90 * time.Second
	streamTimeout = 4 * time.Hour
	headerTimeout = 30 * time.Second
	maxHeader     = 1 << 20
)

// leave is how long requests in progress may take to notice that the server ends.
const leave = 2 * time.Second

// Run serves until the context ends, which is no error, or until a listener fails. It returns when everything it opened is
// closed. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var background sync.WaitGroup
	if s.auth != nil {
		background.Go(func() { s.auth.Run(ctx) })
		background.Go(func() { s.certs.Run(ctx) })
	}
	s.mu.Lock()
	ports := s.ports
	s.mu.Unlock()
	failed := make(chan error, len(ports))
	for _, p := range ports {
		background.Go(func() {
			if err := p.serve(ctx, s.deps.Log); err != nil {
				failed <- err
			}
		})
		s.deps.Log.V(1).Info("Serving", "port", p.name, "address", p.listener.Addr().String())
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	var closing sync.WaitGroup
	for _, p := range ports {
		closing.Go(func() { p.close(s.deps.Log) })
	}
	closing.Wait()
	background.Wait()
	return err
}
