package sim_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/cri/criconformance"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/cri/sim"
	"github.com/troupe-dev/troupe/messages/model"
)

const image = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1"

// connect serves a runtime in memory and returns the client that the agent would use.
func connect(t *testing.T, rt *sim.Runtime) (*remote.Client, *sim.Server) {
	t.Helper()
	srv := rt.ServePipe()
	c, err := remote.Dial(context.Background(), "sim", remote.Options{Dialer: srv.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); srv.Stop() })
	return c, srv
}

func podConfig(uid string, annotations ...string) *runtimeapi.PodSandboxConfig {
	c := &runtimeapi.PodSandboxConfig{
		Metadata:    &runtimeapi.PodSandboxMetadata{Name: "pod-" + uid, Namespace: "ns", Uid: uid},
		Labels:      map[string]string{cri.LabelPodName: "pod-" + uid, cri.LabelPodNamespace: "ns", cri.LabelPodUID: uid},
		Annotations: map[string]string{},
	}
	for i := 0; i+1 < len(annotations); i += 2 {
		c.Annotations[annotations[i]] = annotations[i+1]
	}
	return c
}

func containerConfig(uid, name string, attempt uint32, command ...string) *runtimeapi.ContainerConfig {
	return &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name, Attempt: attempt},
		Image:    &runtimeapi.ImageSpec{Image: image},
		Command:  command,
		Labels:   map[string]string{cri.LabelPodName: "pod-" + uid, cri.LabelPodUID: uid, cri.LabelContainerName: name},
	}
}

// startPod brings a pod with one container up.
func startPod(t *testing.T, c *remote.Client, uid string, command ...string) (model.SandboxID, model.ContainerID) {
	t.Helper()
	ctx := context.Background()
	sb, err := c.RunPodSandbox(ctx, podConfig(uid), "")
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.CreateContainer(ctx, sb, containerConfig(uid, "main", 0, command...), podConfig(uid))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.StartContainer(ctx, id); err != nil {
		t.Fatal(err)
	}
	return sb, id
}

func status(t *testing.T, c *remote.Client, id model.ContainerID) model.Container {
	t.Helper()
	st, err := c.ContainerStatus(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// The suite that containerd passes, over a pipe.
func TestConformance(t *testing.T) {
	criconformance.Run(t, func(t *testing.T) criconformance.Target {
		rt := sim.New(sim.Config{Seed: 1, Latency: sim.DefaultLatency(), Images: []string{image}, WriteLogs: true})
		c, _ := connect(t, rt)
		return criconformance.Target{Runtime: c, Images: c, Image: image, LogDir: t.TempDir(), PullableImage: "registry.example/app:1"}
	})
}

// The same over a socket, with all behaviours at one runtime.
func TestConformanceSocket(t *testing.T) {
	rt := sim.New(sim.Config{Images: []string{image}, WriteLogs: true})
	path := filepath.Join(t.TempDir(), "sim.sock")
	srv, err := rt.Serve(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	criconformance.Run(t, func(t *testing.T) criconformance.Target {
		c, err := remote.Dial(context.Background(), "unix://"+path, remote.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return criconformance.Target{Runtime: c, Images: c, Image: image, LogDir: t.TempDir(), PullableImage: "registry.example/app:1"}
	})
}

// In a bubble the latency model costs no time and is exact.
func TestLatencyIsExactInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := sim.New(sim.Config{AnyImage: true, Latency: sim.Latency{
			"RunPodSandbox": {Base: 80 * time.Millisecond}, "CreateContainer": {Base: 15 * time.Millisecond}, "StartContainer": {Base: 25 * time.Millisecond},
		}})
		srv := rt.ServePipe()
		c, err := remote.Dial(context.Background(), "sim", remote.Options{Dialer: srv.Dial})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, id := startPod(t, c, "a", "sim", "run=10m", "exit=4")
		if d := time.Since(begin); d != 120*time.Millisecond {
			t.Errorf("the pod took %v, want 120ms", d)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if st := status(t, c, id); st.ExitCode != 4 || st.FinishedAt.Sub(st.StartedAt) != 10*time.Minute {
			t.Errorf("%+v", st)
		}
		p := rt.TakePodStats()["a"]
		if p.Busy != 120*time.Millisecond || p.Wall != 120*time.Millisecond || p.Calls["StartContainer"] != 1 {
			t.Errorf("stats of the pod: %+v", p)
		}
		c.Close()
		srv.Stop()
	})
}

func TestScriptedOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := sim.New(sim.Config{AnyImage: true})
		srv := rt.ServePipe()
		c, err := remote.Dial(context.Background(), "sim", remote.Options{Dialer: srv.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Stop()
		defer c.Close()
		ctx := context.Background()
		sb, err := c.RunPodSandbox(ctx, podConfig("a"), "")
		if err != nil {
			t.Fatal(err)
		}
		make1 := func(ctx context.Context, name string) error {
			_, err := c.CreateContainer(ctx, sb, containerConfig("a", name, 0), podConfig("a"))
			return err
		}
		have := func() int {
			l, err := c.ListContainers(ctx, cri.ContainerFilter{UID: "a"})
			if err != nil {
				t.Fatal(err)
			}
			return len(l)
		}
		short := func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, time.Second) }

		// One by one, and only for the container that is named.
		rule := rt.ScriptFor(sim.Match{UID: "a", Container: "x"}, "CreateContainer", sim.Unavailable, sim.Fail{Code: codes.Internal, Message: "boom"}, sim.OK, sim.Unavailable)
		if err := make1(ctx, "y"); err != nil {
			t.Errorf("another container: %v", err)
		}
		if err := make1(ctx, "x"); cri.ClassOf(err) != model.OutcomeUnknown {
			t.Errorf("Unavailable: %v", err)
		}
		if err := make1(ctx, "x"); cri.ClassOf(err) != model.OutcomeRefused || cri.CodeOf(err) != codes.Internal {
			t.Errorf("Fail: %v", err)
		}
		if err := make1(ctx, "x"); err != nil || have() != 2 || rule.Hits() != 3 {
			t.Errorf("OK: %v; %d containers, %d hits", err, have(), rule.Hits())
		}
		rule.Release()
		if err := make1(ctx, "x2"); err != nil {
			t.Errorf("a released rule decides nothing: %v", err)
		}

		// A hang that the caller gives up did nothing; one that is released goes on.
		hang := rt.Script("CreateContainer", sim.Hang)
		cctx, cancel := short()
		if err := make1(cctx, "h"); cri.ClassOf(err) != model.OutcomeUnknown || have() != 3 {
			t.Errorf("Hang: %v, %d containers", err, have())
		}
		cancel()
		synctest.Wait()
		hang = rt.Script("CreateContainer", sim.Hang)
		end := make(chan error)
		go func() { end <- make1(ctx, "h") }()
		synctest.Wait()
		hang.Release()
		if err := <-end; err != nil || have() != 4 {
			t.Errorf("Hang, released: %v, %d containers", err, have())
		}

		// A lost and a late reply have done the work: the name is taken.
		rt.Script("CreateContainer", sim.LostReply, sim.OK, sim.LateReply)
		if err := make1(ctx, "l"); cri.ClassOf(err) != model.OutcomeUnknown || have() != 5 {
			t.Errorf("LostReply: %v, %d containers", err, have())
		}
		if err := make1(ctx, "l"); !cri.NameReserved(err) {
			t.Errorf("after LostReply: %v", err)
		}
		cctx, cancel = short()
		if err := make1(cctx, "m"); cri.ClassOf(err) != model.OutcomeUnknown || have() != 6 {
			t.Errorf("LateReply: %v, %d containers", err, have())
		}
		cancel()

		// A stall outlives its caller: reserved while in flight, there in the end.
		rt.Script("CreateContainer", sim.Stall(10*time.Second))
		cctx, cancel = short()
		if err := make1(cctx, "s"); cri.ClassOf(err) != model.OutcomeUnknown || have() != 6 {
			t.Errorf("Stall: %v, %d containers", err, have())
		}
		cancel()
		if err := make1(ctx, "s"); !cri.NameReserved(err) {
			t.Errorf("during the stall: %v", err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if have() != 7 {
			t.Errorf("after the stall: %d containers", have())
		}
	})
}

func TestPrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := sim.New(sim.Config{AnyImage: true})
		srv := rt.ServePipe()
		c, err := remote.Dial(context.Background(), "sim", remote.Options{Dialer: srv.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Stop()
		defer c.Close()
		ctx := context.Background()
		for i, tc := range []struct {
			program string // the pod's annotation
			command []string
			attempt uint32
			after   time.Duration // when it exits by itself; 0: it is stopped with a grace of 30 s
			stopped time.Duration // how long the stop takes
			code    int32
			reason  string
		}{
			{program: "run=2s exit=3", after: 2 * time.Second, code: 3, reason: "Error"},
			{program: "run=2s", after: 2 * time.Second, code: 0, reason: "Completed"},
			{program: "run=1s oom", after: time.Second, code: 137, reason: "OOMKilled"},
			{program: "run=1s exit=1 | run=5s exit=0", attempt: 0, after: time.Second, code: 1, reason: "Error"},
			{program: "run=1s exit=1 | run=5s exit=0", attempt: 7, after: 5 * time.Second, code: 0, reason: "Completed"},
			{program: "", code: 143, reason: "Error"},
			{program: "term=0", code: 0, reason: "Completed"},
			{program: "term=ignore", stopped: 30 * time.Second, code: 137, reason: "Error"},
			{command: []string{"/bin/sleep", "7"}, after: 7 * time.Second, code: 0, reason: "Completed"},
			{command: []string{"sleep", "3600"}, stopped: 30 * time.Second, code: 137, reason: "Error"},
			{command: []string{"sh", "-c", "trap 'exit 9' TERM; sleep 1000 & wait"}, code: 9, reason: "Error"},
			{command: []string{"sh", "-c", "echo 'a; b' && sleep 1.5; false"}, after: 1500 * time.Millisecond, code: 1, reason: "Error"},
			{command: []string{"/agnhost", "netexec"}, code: 143, reason: "Error"},
			{command: []string{"sh", "-c", "serve --port 80"}, code: 143, reason: "Error"},
		} {
			uid := fmt.Sprint("p", i)
			pc := podConfig(uid)
			if tc.command == nil {
				pc = podConfig(uid, sim.AnnotationPrefix+"main", tc.program)
			}
			sb, err := c.RunPodSandbox(ctx, pc, "")
			if err != nil {
				t.Fatal(err)
			}
			id, err := c.CreateContainer(ctx, sb, containerConfig(uid, "main", tc.attempt, tc.command...), pc)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.StartContainer(ctx, id); err != nil {
				t.Fatal(err)
			}
			if tc.after > 0 {
				time.Sleep(tc.after - time.Millisecond)
				if st := status(t, c, id); st.State != model.ContainerRunning {
					t.Errorf("%+v: too early: %+v", tc, st)
				}
				time.Sleep(2 * time.Millisecond)
			} else {
				begin := time.Now()
				if err := c.StopContainer(ctx, id, 30*time.Second); err != nil {
					t.Fatal(err)
				}
				if d := time.Since(begin); d != tc.stopped {
					t.Errorf("%+v: the stop took %v", tc, d)
				}
			}
			if st := status(t, c, id); st.State != model.ContainerExited || st.ExitCode != tc.code || st.Reason != tc.reason {
				t.Errorf("%+v: %v, code %d, reason %s", tc, st.State, st.ExitCode, st.Reason)
			}
		}
	})
}

// A restart drops connections and calls in flight, and nothing else.
func TestRestart(t *testing.T) {
	rt := sim.New(sim.Config{AnyImage: true})
	c, srv := connect(t, rt)
	ctx := context.Background()
	_, id := startPod(t, c, "a", "sleep", "3600")
	hang := rt.Script("RunPodSandbox", sim.Hang)
	inFlight, streamed := make(chan error, 1), make(chan error, 1)
	stands := make(chan struct{})
	go func() {
		streamed <- c.Events(ctx, func() { close(stands) }, func(model.RuntimeEvent) {})
	}()
	<-stands
	go func() {
		_, err := c.RunPodSandbox(ctx, podConfig("b"), "")
		inFlight <- err
	}()
	if err := hang.Wait(ctx, 1); err != nil {
		t.Fatal(err)
	}
	srv.Stop()
	for _, ch := range []chan error{inFlight, streamed} {
		if err := <-ch; cri.ClassOf(err) != model.OutcomeUnknown {
			t.Errorf("in flight at the stop: %v", err)
		}
	}
	begin := time.Now()
	if _, err := c.Version(ctx); cri.CodeOf(err) != codes.Unavailable || time.Since(begin) > time.Second {
		t.Errorf("a call during the outage: %v after %v", err, time.Since(begin))
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if st := status(t, c, id); st.State != model.ContainerRunning {
		t.Errorf("after the restart: %+v", st)
	}
	if _, err := c.RunPodSandbox(ctx, podConfig("b"), ""); err != nil {
		t.Errorf("the name of what was given up is not free: %v", err)
	}
}

// Events are kept for five minutes while nobody listens, and no longer.
func TestEventReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := sim.New(sim.Config{AnyImage: true})
		srv := rt.ServePipe()
		c, err := remote.Dial(context.Background(), "sim", remote.Options{Dialer: srv.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Stop()
		defer c.Close()
		startPod(t, c, "oldest")
		time.Sleep(6 * time.Minute)
		if n := replayed(c); n != 0 {
			t.Errorf("%d events are replayed after 6 minutes", n)
		}
		startPod(t, c, "old")
		time.Sleep(6 * time.Minute)
		startPod(t, c, "new")
		ctx, cancel := context.WithCancel(context.Background())
		var mu sync.Mutex
		seen := map[model.UID]int{}
		end := make(chan error)
		go func() {
			end <- c.Events(ctx, func() {}, func(e model.RuntimeEvent) {
				mu.Lock()
				seen[e.UID]++
				mu.Unlock()
			})
		}()
		synctest.Wait()
		mu.Lock()
		if seen["old"] != 0 || seen["new"] != 4 { // sandbox and container, created and started
			t.Errorf("replayed %v", seen)
		}
		mu.Unlock()
		cancel()
		<-end
	})
}

// replayed counts the events that a new subscriber gets at once. It runs in a bubble.
func replayed(c *remote.Client) int {
	ctx, cancel := context.WithCancel(context.Background())
	n, end := 0, make(chan error)
	go func() { end <- c.Events(ctx, func() {}, func(model.RuntimeEvent) { n++ }) }()
	synctest.Wait()
	cancel()
	<-end
	return n
}

func TestEventsUnimplemented(t *testing.T) {
	rt := sim.New(sim.Config{})
	c, _ := connect(t, rt)
	rt.Script("GetContainerEvents", sim.Fail{Code: codes.Unimplemented, Message: "no events here"})
	if err := c.Events(context.Background(), func() {}, func(model.RuntimeEvent) {}); !errors.Is(err, cri.ErrUnimplemented) {
		t.Errorf("%v", err)
	}
}

func TestPulls(t *testing.T) {
	rt := sim.New(sim.Config{})
	c, _ := connect(t, rt)
	ctx := context.Background()
	rt.OnPull("private/app:1", sim.PullRule{Username: "u", Password: "p", User: "1000:1000"})
	rt.OnPull("broken/app:1", sim.PullRule{Err: errors.New("manifest unknown")})
	if _, err := c.PullImage(ctx, "broken/app:1", nil, nil); cri.ClassOf(err) != model.OutcomeRefused {
		t.Errorf("%v", err)
	}
	for _, auth := range []*runtimeapi.AuthConfig{nil, {Username: "u", Password: "wrong"}} {
		if _, err := c.PullImage(ctx, "private/app:1", auth, nil); err == nil {
			t.Errorf("pulled with %v", auth)
		}
	}
	ref, err := c.PullImage(ctx, "private/app:1", &runtimeapi.AuthConfig{Username: "u", Password: "p"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	i, err := c.ImageStatus(ctx, "docker.io/private/app:1")
	if err != nil || i == nil || i.ID != ref || i.UID == nil || *i.UID != 1000 {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestNetworkNotReady(t *testing.T) {
	rt := sim.New(sim.Config{})
	c, _ := connect(t, rt)
	rt.SetCondition(runtimeapi.NetworkReady, false, "NetworkPluginNotReady", "cni config uninitialized")
	if _, err := c.RunPodSandbox(context.Background(), podConfig("a"), ""); !cri.NetworkNotReady(err) || cri.ClassOf(err) != model.OutcomeRefused {
		t.Errorf("%v", err)
	}
	rt.SetCondition(runtimeapi.NetworkReady, true, "", "")
	if _, err := c.RunPodSandbox(context.Background(), podConfig("a"), ""); err != nil {
		t.Errorf("%v", err)
	}
}

// Equal seeds give equal ids, addresses and jitter.
func TestSeed(t *testing.T) {
	trace := func(seed uint64) (out string) {
		synctest.Test(t, func(t *testing.T) {
			rt := sim.New(sim.Config{Seed: seed, AnyImage: true, Latency: sim.DefaultLatency()})
			srv := rt.ServePipe()
			c, err := remote.Dial(context.Background(), "sim", remote.Options{Dialer: srv.Dial})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			for i := range 5 {
				sb, id := startPod(t, c, fmt.Sprint(i))
				st, err := c.PodSandboxStatus(context.Background(), sb)
				if err != nil {
					t.Fatal(err)
				}
				out += fmt.Sprint(sb, id, st.IPs, time.Since(begin), "\n")
			}
			c.Close()
			srv.Stop()
		})
		return out
	}
	if a, b := trace(1), trace(1); a != b {
		t.Errorf("two runs of one seed differ:\n%s\n%s", a, b)
	}
	if trace(1) == trace(2) {
		t.Error("the seed decides nothing")
	}
}

// Thousands of pods at once: what is asked of one does not look at all.
func TestScale(t *testing.T) {
	const pods = 5000
	rt := sim.New(sim.Config{AnyImage: true})
	c, _ := connect(t, rt)
	ctx := context.Background()
	var wg sync.WaitGroup
	work := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range work {
				uid := fmt.Sprint("uid-", i)
				sb, err := c.RunPodSandbox(ctx, podConfig(uid), "")
				if err != nil {
					t.Error(err)
					return
				}
				id, err := c.CreateContainer(ctx, sb, containerConfig(uid, "main", 0), podConfig(uid))
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.StartContainer(ctx, id); err != nil {
					t.Error(err)
				}
				if l, err := c.ListContainers(ctx, cri.ContainerFilter{UID: model.UID(uid)}); err != nil || len(l) != 1 {
					t.Errorf("list of pod %s: %v, %v", uid, l, err)
				}
			}
		})
	}
	for i := range pods {
		work <- i
	}
	close(work)
	wg.Wait()
	if l, err := c.ListPodSandbox(ctx, cri.SandboxFilter{}); err != nil || len(l) != pods {
		t.Errorf("%d sandboxes, %v", len(l), err)
	}
	if s := rt.Stats(); s["RunPodSandbox"].Calls != pods || s["StartContainer"].Calls != pods || s["StartContainer"].Errors != 0 {
		t.Errorf("counters %v", s)
	}
	if n := len(rt.TakePodStats()); n != pods || len(rt.TakePodStats()) != 0 {
		t.Errorf("stats of %d pods", n)
	}
}
