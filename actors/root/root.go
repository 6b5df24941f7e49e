// Package root composes the tree of actors of one agent and owns its start and its end. Siblings never import each other:
// what one needs of another is an address or a small port that is passed in here.
package root

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	mount "k8s.io/mount-utils"

	"github.com/troupe-dev/troupe/actors/cgroup"
	"github.com/troupe-dev/troupe/actors/garbage/garbageplan"
	"github.com/troupe-dev/troupe/actors/mirror"
	"github.com/troupe-dev/troupe/actors/node"
	"github.com/troupe-dev/troupe/actors/object"
	"github.com/troupe-dev/troupe/actors/pods"
	"github.com/troupe-dev/troupe/actors/runtime"
	"github.com/troupe-dev/troupe/actors/source/api"
	"github.com/troupe-dev/troupe/actors/source/catalog"
	"github.com/troupe-dev/troupe/actors/source/embedded"
	"github.com/troupe-dev/troupe/actors/source/file"
	"github.com/troupe-dev/troupe/actors/source/http"
	"github.com/troupe-dev/troupe/actors/status"
	"github.com/troupe-dev/troupe/actors/status/eventsink"
	"github.com/troupe-dev/troupe/actors/volume"
	"github.com/troupe-dev/troupe/actors/volume/mounts"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/observe"
	"github.com/troupe-dev/troupe/supervisor/registry"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Deps are the agent's connections to the world.
type Deps struct {
	Runtime cri.Runtime
	Images  cri.Images
	// Main, Events and Heartbeat are nil without an API server.
	Main, Events, Heartbeat kubernetes.Interface
	// Child is set when the runtime is a process of ours.
	Child  runtime.Child
	Logger klog.Logger
	// Applier writes cgroups; nil chooses it by the host and the driver.
	Applier cgroups.Applier
	// Changed is told of every change of an embedded pod's status. It must not block. May be nil.
	Changed func(pod *v1.Pod, gone bool)
	// Tap is told of every event. May be nil.
	Tap func(*v1.Event)
	// Observer is told figures; nil ignores them.
	Observer observe.Observer
	// Wrap is spawn.Config.Wrap, for tests.
	Wrap func(*spawn.Cell, spawn.Receiver) spawn.Receiver
	// Static objects that embedded pods refer to; used without an API server.
	Objects []any
}

// Config is everything that was decided before the start.
type Config struct {
	NodeName string
	// NodeIPs are from --node-ip; empty finds the address of the default route.
	NodeIPs []net.IP
	Kubelet *kubeletconfig.KubeletConfiguration
	// Version is what the node reports as its kubelet version; Major is what probes call themselves (1.36).
	Version, Major string
	RootDir        string
	// LinksDir holds the flat links to container logs; "" makes none.
	LinksDir string
	Labels   map[string]string
	// CloudProvider external taints a new node until a cloud controller has initialized it.
	CloudProvider    string
	SeccompDefault   bool
	IgnoreEviction   bool
	RegisterNode     bool
	RegisterTaints   []v1.Taint
	Unschedulable    bool
	ProviderID       string
	Embedded         bool // pods are given through Agent.Source
	WaitRuntime      time.Duration
	AllowAPIReferers bool
	// Garbage limits dead containers; nil for the kubelet's defaults (one of each container, no age, no total).
	Garbage *garbageplan.Policy
	// CredentialProviderConfig and -BinDir are --image-credential-provider-config and -bin-dir; "" for no plugins.
	CredentialProviderConfig, CredentialProviderBinDir string
}

// Agent is a running agent.
type Agent struct {
	// Source takes pods when Config.Embedded is set; nil otherwise.
	Source *embedded.Source
	Table  *pods.Table
	System *spawn.System
	Runner *runner.Runner
	Events *eventsink.Events
	Status *status.Actor
	Ground Ground

	cancel  context.CancelFunc
	running sync.WaitGroup
	synced  chan struct{}
	refs    refs
	again   again
	upkeep  upkeep
	save    func() error // what is kept on disk, once no actor runs
}

// refs are the addresses of the actors at the top of the tree.
type refs struct{ status, node, images, cgroups, volumes, pods, runtime, mirrors, userns late }

// Start builds the tree and returns when every actor has its address; the node becomes ready by itself. It fails for what
// cannot get better by waiting.
func Start(ctx context.Context, d Deps, cfg Config) (*Agent, error) {
	host, err := inspectHost(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if d.Observer == nil {
		d.Observer = observe.Nobody{}
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &Agent{Table: pods.NewTable(), cancel: cancel, synced: make(chan struct{})}
	a.Runner = runner.New(runner.Config{OnPanic: func(p runner.Panic) {
		d.Logger.Error(errors.New("panic"), "A call panicked", "op", p.Op, "owner", p.Owner, "value", fmt.Sprint(p.Value), "stack", string(p.Stack))
	}})
	a.System = spawn.NewSystem(spawn.Config{Logger: d.Logger, Registry: registry.New(), OnRootRestarted: a.rootRestarted, OnQuarantine: a.quarantined, Wrap: d.Wrap})
	driver, err := cgroupDriver(ctx, d, cfg)
	if err != nil {
		cancel()
		return nil, err
	}
	applier := d.Applier
	if applier == nil {
		applier = newApplier(host, driver)
	}
	a.Ground = newGround(cfg, host, driver)
	k := cfg.Kubelet
	var statusSink = &a.refs.status
	if cfg.Embedded {
		a.Source = embedded.New(embedded.Deps{Pods: &a.refs.pods, Status: statusSink, Changed: d.Changed}, embedded.Config{NodeName: cfg.NodeName})
	}
	sd := status.Deps{Client: d.Main, Runner: a.Runner, Logger: d.Logger}
	if a.Source != nil {
		sd.Local = a.Source
	}
	a.Status = status.New(sd, status.Config{})
	a.Events = eventsink.New(ctx, eventsink.Deps{Client: d.Events, Busy: a.Status.Busy, Tap: d.Tap, Logger: d.Logger},
		eventsink.Config{NodeName: cfg.NodeName, QPS: int(*k.EventRecordQPS), Burst: int(k.EventBurst)})
	recorder := a.Events.Recorder()

	a.refs.status.set(a.System.Root("status", status.Kind, a.Status.Producer))
	if d.Main != nil {
		m := mirror.New(mirror.Deps{Client: d.Main, Runner: a.Runner, Names: a.Table, Logger: d.Logger}, mirror.Config{NodeName: cfg.NodeName})
		a.refs.mirrors.set(a.System.Root("mirrors", mirror.Kind, m.Producer))
	}
	n, err := a.newNode(d, cfg, host)
	if err != nil {
		cancel()
		return nil, err
	}
	a.refs.node.set(listening{host, a.System.Root("node", node.Kind, n.Producer)})
	if err := a.newUserns(ctx, d, cfg); err != nil {
		cancel()
		return nil, err
	}
	objects, tokens := objectStores(d, k)
	if err := a.startImages(d, cfg, objects, tokens, recorder); err != nil {
		cancel()
		return nil, err
	}
	a.refs.cgroups.set(freeing{userns: &a.refs.userns, next: a.System.Root("cgroups", "cgroups", cgroup.New(
		cgroup.Deps{Applier: applier, Runner: a.Runner, Logger: d.Logger, Event: func(kind, reason, message string) {
			recorder.Event(a.Events.Node(), kind, reason, message)
		}}, cgroupConfig(cfg, host, driver)))})
	mounter := mounts.New(mount.New(""))
	vd := volume.Deps{Runner: a.Runner, Objects: objects, Tokens: tokens, Mounts: mounter, Allocatable: host.allocatable, Events: recorder, Logger: d.Logger}
	a.refs.volumes.set(a.System.Root("volumes", "volumes", volume.New(vd, volume.Config{RootDir: cfg.RootDir, Resync: resync(k)})))

	var services *catalog.Services
	if d.Main != nil {
		services = catalog.NewServices(d.Main)
	}
	podDeps, podConfig := podParts(a, d, cfg, host, objects, services, mounter, recorder)
	podDeps.Memory = memoryUse{host.Cgroups, cgroupConfig(cfg, host, driver).Pod.Layout, driver}
	a.save = n.Save
	a.refs.pods.set(a.System.Root("pods", "pods", a.podsProducer(cfg, d, podDeps, podConfig)))
	a.refs.runtime.set(a.System.Root("runtime", runtime.Kind, runtime.New(runtime.Deps{
		Runtime: d.Runtime, Runner: a.Runner, Pods: &a.refs.pods, Node: &a.refs.node, Child: d.Child, Log: d.Logger,
	}, runtime.Config{})))
	if err := a.startUpkeep(d, cfg); err != nil {
		cancel()
		return nil, err
	}
	a.sources(ctx, d, cfg, services)
	return a, nil
}

// sources starts what delivers pods.
func (a *Agent) sources(ctx context.Context, d Deps, cfg Config, services *catalog.Services) {
	if services != nil {
		a.running.Go(func() { services.Run(ctx) })
	}
	if d.Main != nil {
		s := api.New(api.Deps{Client: d.Main, Pods: &a.refs.pods, Status: &a.refs.status, Mirrors: &a.refs.mirrors, Logger: d.Logger}, api.Config{NodeName: cfg.NodeName})
		a.again.add(s.Resend)
		a.running.Go(func() { s.Run(ctx) })
	}
	if a.Source != nil {
		a.again.add(a.Source.Resend)
	}
	if k := cfg.Kubelet; k.StaticPodURL != "" {
		s := http.New(http.Deps{Pods: &a.refs.pods, Logger: d.Logger}, http.Config{
			URL: k.StaticPodURL, Header: k.StaticPodURLHeader, NodeName: cfg.NodeName, Period: k.HTTPCheckFrequency.Duration, AllowAPIReferences: cfg.AllowAPIReferers,
		})
		a.again.add(s.Resend)
		a.running.Go(func() { s.Run(ctx) })
	}
	if cfg.Kubelet.StaticPodPath != "" {
		s := file.New(file.Deps{Pods: &a.refs.pods, Logger: d.Logger}, file.Config{
			Path: cfg.Kubelet.StaticPodPath, NodeName: cfg.NodeName, Rescan: cfg.Kubelet.FileCheckFrequency.Duration, AllowAPIReferences: cfg.AllowAPIReferers,
		})
		a.again.add(s.Resend)
		a.running.Go(func() { s.Run(ctx) })
	}
}

// sourceNames are the sources that have to deliver once.
func sourceNames(d Deps, cfg Config) []string {
	var out []string
	if d.Main != nil {
		out = append(out, api.Name)
	}
	if cfg.Kubelet.StaticPodPath != "" {
		out = append(out, file.Name)
	}
	if cfg.Kubelet.StaticPodURL != "" {
		out = append(out, http.Name)
	}
	if cfg.Embedded {
		out = append(out, embedded.Name)
	}
	return out
}

// Synced is closed when the runtime was listed and every source has delivered once.
func (a *Agent) Synced() <-chan struct{} { return a.synced }

// Recorder records events.
func (a *Agent) Recorder() record.EventRecorder { return a.Events.Recorder() }

// Stop ends the actors and waits for them until ctx ends. Pods run on.
func (a *Agent) Stop(ctx context.Context) error {
	a.cancel()
	err := errors.Join(a.System.Stop(ctx), a.save())
	done := make(chan struct{})
	go func() {
		a.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	return err
}

func objectStores(d Deps, k *kubeletconfig.KubeletConfiguration) (volume.Objects, volume.Tokens) {
	if d.Main == nil {
		s := object.NewStatic()
		for _, o := range d.Objects {
			s.Set(o)
		}
		return s, object.NewTokens(object.NoAPI, d.Logger)
	}
	tokens := object.NewTokens(object.FromAPI(d.Main), d.Logger)
	switch k.ConfigMapAndSecretChangeDetectionStrategy {
	case kubeletconfig.GetChangeDetectionStrategy:
		return object.NewPolled(d.Main, nil), tokens
	case kubeletconfig.TTLCacheChangeDetectionStrategy:
		return object.NewPolled(d.Main, func() time.Duration { return time.Minute }), tokens
	case kubeletconfig.WatchChangeDetectionStrategy:
	}
	return object.NewWatched(d.Main, d.Logger), tokens
}

// resync is how often volumes of API objects are looked at when no watch tells of changes.
func resync(k *kubeletconfig.KubeletConfiguration) time.Duration {
	if k.ConfigMapAndSecretChangeDetectionStrategy == kubeletconfig.WatchChangeDetectionStrategy {
		return 0
	}
	return k.SyncFrequency.Duration
}
