// Package compose joins what sits side by side: the actors of an agent and the node API. The daemon, a run from files and
// the bench build their agents here.
package compose

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/root"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/server"
	"github.com/troupe-dev/troupe/server/health"
	"github.com/troupe-dev/troupe/server/metrics"
	"github.com/troupe-dev/troupe/server/nodestats"
)

// Options are an agent and its node API.
type Options struct {
	Root   root.Config
	Deps   root.Deps
	Server server.Config
	// Runtime is the connection; its calls are counted before the agent gets it.
	Runtime *remote.Client
	// Reviews is the client for authentication and authorization; nil without an API server.
	Reviews kubernetes.Interface
	// Configz is what /configz shows.
	Configz func() any
	Logger  klog.Logger
}

// Agent is a running agent with its node API.
type Agent struct {
	*root.Agent
	Server *server.Server
	served chan error
	cancel context.CancelFunc
}

// stuckAfter is how long an actor may hold a message before /healthz/syncloop fails: Receive never waits, so even a second
// would be odd; the kubelet allows its loop several minutes.
const stuckAfter = 2 * time.Minute

// Start starts the agent and its node API. Stop ends both.
func Start(ctx context.Context, o Options) (*Agent, error) {
	rec := metrics.New(o.Root.NodeName, 0)
	o.Deps.Runtime, o.Deps.Images = rec.Runtime(o.Runtime), rec.Images(o.Runtime)
	o.Deps.Logger, o.Deps.Observer = o.Logger, observer{rec}
	inner, err := root.Start(ctx, o.Deps, o.Root)
	if err != nil {
		return nil, err
	}
	a := &Agent{Agent: inner, served: make(chan error, 1)}
	reg := inner.System.Registry()
	sd := server.Deps{
		Log: o.Logger, Pods: inner.Table, Runtime: o.Deps.Runtime, Actors: reg, Effects: inner.Runner, Metrics: rec, Configz: o.Configz,
		Health: []health.Check{{Name: "syncloop", Check: func() error {
			if stuck := reg.Stuck(time.Now(), stuckAfter); len(stuck) > 0 {
				return fmt.Errorf("actor %s has been busy with one message for more than %s", stuck[0].Path, stuckAfter)
			}
			return nil
		}}},
	}
	g := inner.Ground
	sd.Stats = nodestats.New(nodestats.Deps{Pods: inner.Table, Images: o.Deps.Images, Cgroups: g.Cgroups, PodCgroup: g.PodCgroup, Log: o.Logger},
		nodestats.Config{NodeName: o.Root.NodeName, Kubepods: g.Kubepods, MemoryCapacity: g.MemoryCapacity, RootDir: o.Root.RootDir, LogsRoot: o.Root.Kubelet.PodLogsDir})
	if o.Reviews != nil {
		sd.Reviews.Tokens, sd.Reviews.Access = o.Reviews.AuthenticationV1(), o.Reviews.AuthorizationV1()
	}
	if a.Server, err = server.New(sd, o.Server); err != nil {
		_ = inner.Stop(context.WithoutCancel(ctx))
		return nil, err
	}
	ctx, a.cancel = context.WithCancel(ctx)
	go trim(ctx)
	go func() { a.served <- a.Server.Run(ctx) }()
	return a, nil
}

// Wait blocks until ctx ends or the node API fails.
func (a *Agent) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.served:
		a.served <- err // Stop wants to see it too
		if err == nil {
			err = errors.New("the node API ended")
		}
		return err
	}
}

// Stop ends the node API and the actors, and waits for them until ctx ends. Pods run on.
func (a *Agent) Stop(ctx context.Context) error {
	a.cancel()
	err := a.Agent.Stop(ctx)
	select {
	case e := <-a.served:
		return errors.Join(err, e)
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// observer puts what actors tell into metrics.
type observer struct{ *metrics.Recorder }

// Probed implements observe.Observer.
func (o observer) Probed(probe, container, pod, namespace, uid, result string, took time.Duration) {
	o.Recorder.Probed(metrics.Probe{Type: probe, Container: container, Pod: pod, Namespace: namespace, UID: uid}, result, took)
}
