package standalone

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/runtime/child"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cri/remote"
)

// Options of a run.
type Options struct {
	Manifests []string
	StateDir  string
	// Endpoint is an existing runtime; "" makes a private one from RuntimeDir.
	Endpoint, RuntimeDir string
	// Images are archives, or folders of archives (*.tar), to import into a private runtime.
	Images     []string
	Subnet     string
	CgroupRoot string
	Timeout    time.Duration // for all pods to become ready; 0 waits for ever
	Detached   bool

	In       io.Reader
	Out      io.Writer
	Terminal int // columns; 0 when Out is no terminal
	Log      klog.Logger
	// Start starts the agent.
	Start func(ctx context.Context, cfg AgentConfig) (Agent, error)
}

// errTimeout ends a run whose pods did not become ready in time.
var errTimeout = errors.New("the pods did not become ready in time")

// run is one run, from the manifests to the end of everything that it started.
type run struct {
	o       Options
	l       Layout
	view    *View
	objects Objects
	record  Record
	private *PrivateRuntime
	child   *child.Launcher
	client  *remote.Client
	agent   Agent
	control *control
	ours    ours // used on an existing runtime

	changed chan struct{} // has room for one: a pod's status changed
	stop    chan *int64   // grace of each request to end

	// doing is what plain output said of a pod, and since when it is so.
	doing map[types.UID]string
	since map[types.UID]time.Time

	mu    sync.Mutex
	phase string
	fault error
}

// Run runs the pods of the manifests until they have ended, ctx ends or somebody asks to stop, and then ends everything
// that it started. interrupts tells of further Ctrl-C: the first shortens the grace of pods to a second.
func Run(ctx context.Context, o Options, interrupts <-chan os.Signal) error {
	r := &run{o: o, changed: make(chan struct{}, 1), stop: make(chan *int64, 4), phase: "starting", doing: map[types.UID]string{}, since: map[types.UID]time.Time{}}
	var err error
	if r.objects, err = LoadManifests(o.Manifests, o.In); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("troupe run needs root: it makes network namespaces, mounts and cgroups")
	}
	if r.l, err = NewLayout(o.StateDir); err != nil {
		return err
	}
	lock, ok, err := TryLock(r.l)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("a run is going on in %s already: see `troupe ps`, end it with `troupe stop`, or give this one a --state-dir of its own", r.l.Dir)
	}
	defer lock.Release()
	r.view = NewView(o.Out, o.Terminal)

	err = r.begin(ctx)
	if err == nil {
		err = r.watch(ctx)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = nil // asked to end
	}
	return errors.Join(err, r.end(err, interrupts))
}

// begin brings the pods to the agent.
func (r *run) begin(ctx context.Context) error {
	if err := r.runtime(ctx); err != nil {
		return err
	}
	var err error
	cfg := AgentConfig{
		NodeName: nodeName(), RootDir: r.l.AgentRoot(), PodLogsDir: r.l.PodLogs(), Cgroups: r.record.Cgroups,
		Runtime: r.client, InspectSocket: r.l.InspectSocket(), ConfigMaps: r.objects.ConfigMaps, Secrets: r.objects.Secrets, Changed: r.poke, Log: r.o.Log,
	}
	if r.child != nil {
		cfg.Child = r.child
	}
	if r.agent, err = r.o.Start(ctx, cfg); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	r.control = &control{record: r.record, agent: r.agent, stop: func(g *int64) { r.stop <- g }}
	if err := serveControl(r.l.ControlSocket(), r.control, r.standing); err != nil {
		return err
	}
	if err := r.await(ctx); err != nil {
		return err
	}
	for _, p := range r.objects.Pods {
		if _, err := r.agent.Add(p); err != nil {
			return err
		}
	}
	r.agent.Synced()
	return nil
}

// podUID is the same for the same pod in the same run, also after the run was killed and is continued.
func podUID(run types.UID, p *v1.Pod) types.UID {
	spec, _ := p.Spec.Marshal()
	h := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s", run, p.Namespace, p.Name, spec))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80 // RFC 9562: version 8, made from own data
	return types.UID(fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16]))
}

// runtime decides which runtime is used and writes down what the end of the run has to know. Nothing is started yet.
func (r *run) runtime(ctx context.Context) (err error) {
	fresh := Record{
		PID: os.Getpid(), Started: time.Now(), Manifests: r.o.Manifests, Detached: r.o.Detached,
		Endpoint: r.o.Endpoint, Cgroups: CgroupRoot{Path: r.o.CgroupRoot, Driver: cgroups.Cgroupfs}, Subnet: r.o.Subnet, Before: SeeFilter(ctx),
	}
	if r.o.Endpoint != "" {
		if fresh.Cgroups, err = r.existing(ctx); err != nil {
			return err
		}
	} else {
		tools, err := FindRuntime(r.o.RuntimeDir)
		if err != nil {
			return err
		}
		r.private = &PrivateRuntime{Layout: r.l, Tools: tools, Subnet: r.o.Subnet}
		fresh.Endpoint, fresh.Private, fresh.RuntimeDir = r.private.Endpoint(), true, r.o.RuntimeDir
	}
	record, continued, err := Continue(r.l, fresh)
	if err != nil {
		return err
	}
	r.record, r.record.Pods = record, nil
	for _, p := range r.objects.Pods {
		p.UID = podUID(record.ID, p)
		r.record.Pods = append(r.record.Pods, p.UID)
	}
	r.ours.set(r.record.Pods)
	if continued {
		r.view.Set("run", "an earlier run was killed: taking over what still runs")
	}
	if r.private != nil {
		r.child = r.private.Launcher()
	}
	if err := r.record.Write(r.l); err != nil {
		return err
	}
	if err := r.record.Cgroups.Make(ctx); err != nil {
		return err
	}
	if r.client == nil {
		r.client, err = remote.Dial(ctx, r.record.Endpoint, remote.Options{})
	}
	return err
}

// existing connects to a runtime that is there already and learns how it makes cgroups.
func (r *run) existing(ctx context.Context) (CgroupRoot, error) {
	var err error
	if r.client, err = remote.Dial(ctx, r.o.Endpoint, remote.Options{Unary: []grpc.UnaryClientInterceptor{r.ours.intercept}}); err != nil {
		return CgroupRoot{}, err
	}
	wait, cancel := context.WithTimeout(ctx, waitRuntime)
	defer cancel()
	if _, err := r.client.CheckVersion(wait); err != nil {
		return CgroupRoot{}, err
	}
	return rootFor(wait, r.client, r.o.CgroupRoot)
}

// await waits for the runtime, which the agent's /runtime actor has started, and imports images.
func (r *run) await(ctx context.Context) error {
	r.view.Set("runtime", "starting")
	begun, limit := time.Now(), time.Minute
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	v, err := r.client.CheckVersion(wait)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r.private != nil {
			err = fmt.Errorf("%w; its log is %s: %s", err, r.l.RuntimeLog(), tail(r.l.RuntimeLog(), 3))
		}
		return fmt.Errorf("the container runtime did not answer within %v: %w", limit, err)
	}
	r.view.Set("runtime", fmt.Sprintf("%s %s answers after %.1f s", v.GetRuntimeName(), v.GetRuntimeVersion(), time.Since(begun).Seconds()))
	if r.private == nil {
		return nil
	}
	archives, err := r.archives()
	if err != nil {
		return err
	}
	return ImportImages(ctx, r.private.Tools.Ctr, r.l.ContainerdSocket(), r.l.path("imported"), archives, func(s string) { r.view.Set("images", s) })
}

func (r *run) archives() ([]string, error) {
	var out []string
	for _, i := range r.o.Images {
		st, err := os.Stat(i)
		switch {
		case err != nil:
			return nil, fmt.Errorf("image archive: %w", err)
		case st.IsDir():
			out = append(out, ArchivesIn(i)...)
		default:
			out = append(out, i)
		}
	}
	return out, nil
}

func (r *run) poke() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *run) standing() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phase, r.fault
}

func (r *run) stand(phase string, fault error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase, r.fault = phase, fault
}

func nodeName() string {
	h, err := os.Hostname()
	if err != nil || h == "" {
		return "localhost"
	}
	return h
}
