package benchcmd

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2/ktesting"

	"github.com/troupe-dev/troupe/bench/load"
	"github.com/troupe-dev/troupe/bench/pipe"
	"github.com/troupe-dev/troupe/bench/proc"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/cri/sim"
)

// memory is an applier whose cgroups are only names.
type memory struct {
	mu sync.Mutex
	m  map[string]bool
}

func (a *memory) set(n cgroups.Name, there bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m[n.String()] = true; !there {
		delete(a.m, n.String())
	}
	return nil
}
func (a *memory) Apply(_ context.Context, d cgroups.Desired) error  { return a.set(d.Name, true) }
func (a *memory) Update(_ context.Context, d cgroups.Desired) error { return nil }
func (a *memory) Remove(_ context.Context, n cgroups.Name) error    { return a.set(n, false) }
func (a *memory) Children(cgroups.Name) ([]cgroups.Name, error)     { return nil, nil }
func (a *memory) Parent(n cgroups.Name) string                      { return n.Path(cgroups.Cgroupfs) }
func (a *memory) Exists(n cgroups.Name) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(n) <= 1 || a.m[n.String()]
}

// The whole bench in one process: phases, the pipe, the real agent, the simulated runtime.
func TestPhasesWithTheAgent(t *testing.T) {
	logger, ctx := ktesting.NewTestContext(t)
	l := latencies{sandbox: 20 * time.Millisecond, create: 5 * time.Millisecond, start: 5 * time.Millisecond, stop: 5 * time.Millisecond, stopSandbox: 5 * time.Millisecond, jitter: 0.1}
	rt := sim.New(l.config())
	s := rt.ServePipe()
	defer s.Stop()
	toAgent, requests := io.Pipe()
	answers, fromAgent := io.Pipe()
	cg := &memory{m: map[string]bool{}}
	e := embedded{Endpoint: "sim", Dir: t.TempDir(), CgroupRoot: "/bench", MaxPods: 50, Applier: cg, Dialer: remote.Options{Dialer: s.Dial}, Log: logger}
	served := make(chan error, 1)
	go func() {
		err := e.serve(ctx, toAgent, fromAgent)
		toAgent.Close()
		fromAgent.Close()
		served <- err
	}()
	shape := podShape{Image: "pause", Grace: 1}
	tracker := load.NewTracker()
	c := pipe.NewClient(answers, requests, tracker, func(name string) *v1.Pod { return shape.pod("bench", name, "") }, 1)
	if err := c.Up(ctx); err != nil {
		t.Fatal(err)
	}
	tn := &turn{podsOptions: &podsOptions{}, calls: rt.CallStats()}
	probe := tn.probe(1)
	probe.Usage = func() (proc.Usage, error) { return proc.Usage{}, nil }
	plan := load.Plan{
		Phases: []load.Kind{load.Fill, load.Churn, load.Delete}, Pods: 10, Prefix: "b-", Workers: 4, ChurnPods: 3, ChurnWidth: 2,
		Settle: 200 * time.Millisecond, Timeout: time.Minute,
	}
	phases, err := load.Run(ctx, plan, c, tracker, probe, nil)
	if err != nil {
		t.Fatal(err)
	}
	fill, churn, del := phases[0], phases[1], phases[2]
	if fill.Calls["RunPodSandbox"] != 10 || fill.Calls["StartContainer"] != 10 || fill.ReadyRuntime.N != 10 || fill.ReadyRuntime.Min < 30 || fill.Flips != 0 {
		t.Errorf("fill: %+v", fill)
	}
	if churn.Ready.N != 3 || churn.Gone.N != 3 || churn.Calls["RunPodSandbox"] != 3 || churn.Calls["StopContainer"] != 3 {
		t.Errorf("churn: %+v", churn)
	}
	if del.Gone.N != 10 || del.Calls["StopPodSandbox"] < 10 {
		t.Errorf("delete: %+v", del)
	}
	requests.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	cg.mu.Lock()
	defer cg.mu.Unlock()
	for name := range cg.m {
		if strings.Contains(name, "/pod") {
			t.Errorf("cgroup %s is left", name)
		}
	}
}

func TestSpecs(t *testing.T) {
	for name, c := range map[string]struct {
		o    podsOptions
		want []string
		err  string
	}{
		"alone":             {podsOptions{}, []string{"troupe"}, ""},
		"floor needs API":   {podsOptions{floor: true}, nil, "--kubeconfig"},
		"all":               {podsOptions{kubeconfig: "k", floor: true, kubelet: "/bin/kubelet"}, []string{"floor", "troupe", "kubelet"}, ""},
		"own command":       {podsOptions{kubeconfig: "k", agents: []string{"old=./old --config {config}"}}, []string{"old"}, ""},
		"no name":           {podsOptions{kubeconfig: "k", agents: []string{"./old"}}, nil, "give it a name"},
		"running":           {podsOptions{kubeconfig: "k", pid: 7}, []string{"pid-7"}, ""},
		"running and floor": {podsOptions{kubeconfig: "k", pid: 7, floor: true}, nil, "take turns"},
	} {
		specs, err := c.o.specs()
		var names []string
		for _, s := range specs {
			names = append(names, s.name)
		}
		if !slices.Equal(names, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, %v", name, names, err)
		}
	}
}

func TestLatencies(t *testing.T) {
	l := latencies{sandbox: 80 * time.Millisecond, create: 15 * time.Millisecond, start: 25 * time.Millisecond, stop: 10 * time.Millisecond, stopSandbox: 40 * time.Millisecond, jitter: 0.5}
	if l.up() != 120*time.Millisecond || l.down() != 50*time.Millisecond {
		t.Errorf("up %s, down %s", l.up(), l.down())
	}
	if d := l.config().Latency["RunPodSandbox"]; d.Base != 80*time.Millisecond || d.Jitter != 40*time.Millisecond {
		t.Errorf("%+v", d)
	}
}

// A measured agent would end the pods of others.
func TestRuntimeOfOthersIsLeftAlone(t *testing.T) {
	rt := sim.New(sim.Config{AnyImage: true})
	path := filepath.Join(t.TempDir(), "s.sock")
	s, err := rt.Serve(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := unused(t.Context(), "unix://"+path); err != nil {
		t.Errorf("an empty runtime was refused: %v", err)
	}
	c, err := remote.Dial(t.Context(), "unix://"+path, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.RunPodSandbox(t.Context(), &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "theirs", Namespace: "ns", Uid: "u"}}, ""); err != nil {
		t.Fatal(err)
	}
	if err := unused(t.Context(), "unix://"+path); err == nil || !strings.Contains(err.Error(), "ns/theirs") {
		t.Errorf("error %v", err)
	}
}
