package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/test/bufconn"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/cri/callstats"
	"github.com/troupe-dev/troupe/cri/criconformance"
	"github.com/troupe-dev/troupe/cri/proxy"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/cri/sim"
	"github.com/troupe-dev/troupe/messages/model"
)

const image = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1"

// rig is an agent's view of a simulated runtime through the proxy.
type rig struct {
	rt  cri.Runtime
	im  cri.Images
	p   *proxy.Proxy
	rec *proxy.Recorder
	log *lockedBuffer
	sim *sim.Runtime
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wrapped puts the proxy around the client, served puts it between client and runtime.
func wrapped(t testing.TB, rt *sim.Runtime) (*rig, func()) { return newRig(t, rt, false) }
func served(t testing.TB, rt *sim.Runtime) (*rig, func())  { return newRig(t, rt, true) }

func newRig(t testing.TB, rt *sim.Runtime, between bool) (*rig, func()) {
	log := &lockedBuffer{}
	r := &rig{sim: rt, log: log, rec: proxy.NewRecorder(log)}
	r.p = proxy.New(r.rec)
	srv := rt.ServePipe()
	if !between {
		c, err := remote.Dial(context.Background(), "sim", remote.Options{Dialer: srv.Dial})
		if err != nil {
			t.Fatal(err)
		}
		w := r.p.Wrap(c, c)
		r.rt, r.im = w, w
		return r, func() { c.Close(); srv.Stop() }
	}
	l := bufconn.Listen(1 << 20)
	ps, err := r.p.Serve(l, func(ctx context.Context) (net.Conn, error) { return srv.Dial(ctx, "") })
	if err != nil {
		t.Fatal(err)
	}
	c, err := remote.Dial(context.Background(), "proxy", remote.Options{Dialer: func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }})
	if err != nil {
		t.Fatal(err)
	}
	r.rt, r.im = c, c
	return r, func() { c.Close(); ps.Stop(); srv.Stop() }
}

// both runs a test around the client and between client and runtime, in a bubble.
func both(t *testing.T, f func(t *testing.T, r *rig)) {
	for name, mk := range map[string]func(testing.TB, *sim.Runtime) (*rig, func()){"wrapped": wrapped, "served": served} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, end := mk(t, sim.New(sim.Config{AnyImage: true}))
				f(t, r)
				end()
			})
		})
	}
}

// A proxy without faults changes nothing.
func TestConformance(t *testing.T) {
	for name, mk := range map[string]func(testing.TB, *sim.Runtime) (*rig, func()){"wrapped": wrapped, "served": served} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			criconformance.Run(t, func(t *testing.T) criconformance.Target {
				r, end := mk(t, sim.New(sim.Config{Images: []string{image}, WriteLogs: true}))
				t.Cleanup(end)
				return criconformance.Target{Runtime: r.rt, Images: r.im, Image: image, LogDir: t.TempDir(), PullableImage: "example.com/a:1"}
			})
		})
	}
}

func podConfig(uid string, attempt uint32) *runtimeapi.PodSandboxConfig {
	return &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "pod-" + uid, Namespace: "ns", Uid: uid, Attempt: attempt},
		Labels:   map[string]string{cri.LabelPodName: "pod-" + uid, cri.LabelPodNamespace: "ns", cri.LabelPodUID: uid},
	}
}

func (r *rig) run(t *testing.T, uid string, attempt uint32) model.SandboxID {
	t.Helper()
	id, err := r.rt.RunPodSandbox(context.Background(), podConfig(uid, attempt), "")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (r *rig) create(ctx context.Context, sb model.SandboxID, uid, name string, attempt uint32, words string) (model.ContainerID, error) {
	return r.rt.CreateContainer(ctx, sb, &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name, Attempt: attempt},
		Image:    &runtimeapi.ImageSpec{Image: image},
		Command:  append([]string{"sim"}, strings.Fields(words)...),
		Labels:   map[string]string{cri.LabelPodName: "pod-" + uid, cri.LabelPodNamespace: "ns", cri.LabelPodUID: uid, cri.LabelContainerName: name},
	}, podConfig(uid, 0))
}

func (r *rig) start(t *testing.T, sb model.SandboxID, uid, name string, attempt uint32, words string) model.ContainerID {
	t.Helper()
	id, err := r.create(context.Background(), sb, uid, name, attempt, words)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.rt.StartContainer(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestFaults(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		ctx := context.Background()
		a, b := r.run(t, "a", 0), r.run(t, "b", 0)
		calls := func(op string) uint64 { return r.sim.Stats()[op].Calls }

		// By pod: the other one is not held up. What the agent gives up does not reach the runtime.
		hang := r.p.Inject(proxy.Match{Op: "StartContainer", UID: "a"}, proxy.Hang, 0)
		ida, err := r.create(ctx, a, "a", "main", 0, "")
		if err != nil {
			t.Fatal(err)
		}
		r.start(t, b, "b", "main", 0, "")
		short, cancel := context.WithTimeout(ctx, time.Second)
		if err := r.rt.StartContainer(short, ida); cri.ClassOf(err) != model.OutcomeUnknown || calls("StartContainer") != 1 {
			t.Errorf("hang: %v, %d calls", err, calls("StartContainer"))
		}
		cancel()
		end := make(chan error)
		go func() { end <- r.rt.StartContainer(ctx, ida) }()
		if err := hang.Wait(ctx, 2); err != nil {
			t.Fatal(err)
		}
		hang.Release()
		if err := <-end; err != nil {
			t.Errorf("released: %v", err)
		}

		// By pod name and container.
		r.p.Inject(proxy.Match{Op: "ContainerStatus", Pod: "pod-a", Container: "main"}, proxy.Error{Code: codes.Internal, Message: "boom"}, 1)
		if _, err := r.rt.ContainerStatus(ctx, ida); cri.CodeOf(err) != codes.Internal {
			t.Errorf("error: %v", err)
		}
		if _, err := r.rt.ContainerStatus(ctx, ida); err != nil {
			t.Errorf("once means once: %v", err)
		}

		// Lost and late replies have done the work.
		r.p.Inject(proxy.Match{Op: "CreateContainer"}, proxy.LostReply, 1)
		if _, err := r.create(ctx, a, "a", "lost", 0, ""); cri.ClassOf(err) != model.OutcomeUnknown {
			t.Errorf("lost reply: %v", err)
		}
		if _, err := r.create(ctx, a, "a", "lost", 0, ""); !cri.NameReserved(err) {
			t.Errorf("after the lost reply: %v", err)
		}
		r.p.Inject(proxy.Match{Op: "RunPodSandbox"}, proxy.LateReply, 1)
		short, cancel = context.WithTimeout(ctx, time.Second)
		if _, err := r.rt.RunPodSandbox(short, podConfig("c", 0), ""); cri.ClassOf(err) != model.OutcomeUnknown {
			t.Errorf("late reply: %v", err)
		}
		cancel()
		if l, err := r.rt.ListPodSandbox(ctx, cri.SandboxFilter{UID: "c"}); err != nil || len(l) != 1 {
			t.Errorf("after the late reply: %v, %v", l, err)
		}

		// A delay, and every third call.
		r.p.Inject(proxy.Match{Op: "ListContainers"}, proxy.Delay(time.Second), 1)
		begin := time.Now()
		if _, err := r.rt.ListContainers(ctx, cri.ContainerFilter{}); err != nil || time.Since(begin) != time.Second {
			t.Errorf("delay: %v after %v", err, time.Since(begin))
		}
		third := r.p.InjectEvery(proxy.Match{Op: "Version"}, proxy.Error{Code: codes.Unavailable}, 3)
		for i := range 6 {
			if _, err := r.rt.Version(ctx); (err != nil) != (i%3 == 2) {
				t.Errorf("call %d: %v", i, err)
			}
		}
		if third.Hits() != 2 {
			t.Errorf("%d hits", third.Hits())
		}
	})
}

func TestEvents(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithCancel(context.Background())
		seen, end := make(chan model.RuntimeEvent, 10), make(chan error)
		go func() { end <- r.rt.Events(ctx, func() {}, func(e model.RuntimeEvent) { seen <- e }) }()
		r.run(t, "a", 0)
		if e := <-seen; e.UID != "a" {
			t.Errorf("%+v", e)
		}
		cancel()
		<-end
	})
}

// Each case is an agent's behaviour and what it violates.
func TestInvariants(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct {
		name string
		want proxy.Invariant
		do   func(t *testing.T, r *rig)
	}{
		{"a proper life", "", func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			id := r.start(t, sb, "a", "main", 0, "run=1s exit=1")
			r.start(t, sb, "a", "side", 0, "")
			time.Sleep(2 * time.Second)
			if _, err := r.rt.ContainerStatus(ctx, id); err != nil {
				t.Error(err)
			}
			id = r.start(t, sb, "a", "main", 1, "")
			l, err := r.rt.ListContainers(ctx, cri.ContainerFilter{UID: "a"})
			if err != nil || len(l) != 3 {
				t.Errorf("%v, %v", l, err)
			}
			for _, c := range l {
				if err := r.rt.StopContainer(ctx, c.ID, time.Second); err != nil {
					t.Error(err)
				}
			}
			if err := r.rt.StopPodSandbox(ctx, sb); err != nil {
				t.Error(err)
			}
			sb = r.run(t, "a", 1)
			id = r.start(t, sb, "a", "main", 2, "")
			if err := r.rt.StopContainer(ctx, id, time.Second); err != nil {
				t.Error(err)
			}
			if err := r.rt.RemoveContainer(ctx, id); err != nil {
				t.Error(err)
			}
		}},
		{"the next instance without a look at the last", proxy.OneLive, func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			r.start(t, sb, "a", "main", 0, "run=1s")
			time.Sleep(2 * time.Second) // it is dead, but the agent cannot know
			r.start(t, sb, "a", "main", 1, "")
		}},
		{"the next instance after a start with unknown outcome", proxy.OneLive, func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			id, err := r.create(ctx, sb, "a", "main", 0, "")
			if err != nil {
				t.Fatal(err)
			}
			r.p.Inject(proxy.Match{Op: "StartContainer"}, proxy.LostReply, 1)
			if err := r.rt.StartContainer(ctx, id); err == nil {
				t.Fatal("no fault")
			}
			r.start(t, sb, "a", "main", 1, "")
		}},
		{"a start that was refused is no live instance", "", func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			id, err := r.create(ctx, sb, "a", "main", 0, "missing")
			if err != nil {
				t.Fatal(err)
			}
			if err := r.rt.StartContainer(ctx, id); cri.ClassOf(err) != model.OutcomeRefused {
				t.Fatal(err)
			}
			r.start(t, sb, "a", "main", 1, "")
		}},
		{"a list shows that the last one is gone", "", func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			id := r.start(t, sb, "a", "main", 0, "")
			time.Sleep(time.Second)
			// removed by somebody else
			srv := r.sim.ServePipe()
			c, err := remote.Dial(ctx, "sim", remote.Options{Dialer: srv.Dial})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.RemoveContainer(ctx, id); err != nil {
				t.Error(err)
			}
			c.Close()
			srv.Stop()
			if l, err := r.rt.ListContainers(ctx, cri.ContainerFilter{}); err != nil || len(l) != 0 {
				t.Errorf("%v, %v", l, err)
			}
			r.start(t, sb, "a", "main", 1, "")
		}},
		{"a second sandbox beside a live one", proxy.OneSandbox, func(t *testing.T, r *rig) {
			r.run(t, "a", 0)
			r.run(t, "a", 1)
		}},
		{"a second sandbox after an answer was lost", proxy.OneSandbox, func(t *testing.T, r *rig) {
			r.p.Inject(proxy.Match{Op: "RunPodSandbox"}, proxy.LostReply, 1)
			if _, err := r.rt.RunPodSandbox(ctx, podConfig("a", 0), ""); err == nil {
				t.Fatal("no fault")
			}
			r.run(t, "a", 1)
		}},
		{"a second sandbox after the first was seen dead", "", func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			r.sim.KillSandbox(string(sb))
			if _, err := r.rt.PodSandboxStatus(ctx, sb); err != nil {
				t.Error(err)
			}
			r.run(t, "a", 1)
		}},
		{"a create in a stopped sandbox", proxy.NoStartAfterStop, func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			if err := r.rt.StopPodSandbox(ctx, sb); err != nil {
				t.Error(err)
			}
			if _, err := r.create(ctx, sb, "a", "main", 0, ""); err == nil {
				t.Error("created")
			}
		}},
		{"a start in a stopped sandbox", proxy.NoStartAfterStop, func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			id, err := r.create(ctx, sb, "a", "main", 0, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := r.rt.StopPodSandbox(ctx, sb); err != nil {
				t.Error(err)
			}
			if err := r.rt.StartContainer(ctx, id); err == nil {
				t.Error("started")
			}
		}},
		{"two creates at once", proxy.OneCreate, func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			hang := r.p.Inject(proxy.Match{Op: "CreateContainer"}, proxy.Hang, 1)
			end := make(chan error)
			go func() {
				_, err := r.create(ctx, sb, "a", "main", 0, "")
				end <- err
			}()
			if err := hang.Wait(ctx, 1); err != nil {
				t.Error(err)
			}
			if _, err := r.create(ctx, sb, "a", "main", 1, ""); err != nil {
				t.Error(err)
			}
			hang.Release()
			<-end
		}},
		{"an attempt a second time", proxy.AttemptGrows, func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			id := r.start(t, sb, "a", "main", 3, "")
			if err := r.rt.StopContainer(ctx, id, time.Second); err != nil {
				t.Error(err)
			}
			if err := r.rt.RemoveContainer(ctx, id); err != nil {
				t.Error(err)
			}
			r.start(t, sb, "a", "main", 3, "")
		}},
		{"the UID of a static pod comes back", "", func(t *testing.T, r *rig) {
			for range 2 {
				sb := r.run(t, "a", 0)
				id := r.start(t, sb, "a", "main", 0, "")
				if err := r.rt.StopContainer(ctx, id, time.Second); err != nil {
					t.Error(err)
				}
				if err := r.rt.StopPodSandbox(ctx, sb); err != nil {
					t.Error(err)
				}
				if err := r.rt.RemovePodSandbox(ctx, sb); err != nil {
					t.Error(err)
				}
			}
		}},
		{"the removal of what runs", proxy.NoKill, func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			id := r.start(t, sb, "a", "main", 0, "")
			if err := r.rt.RemoveContainer(ctx, id); err != nil {
				t.Error(err)
			}
		}},
		{"the stop of a sandbox in which something runs", proxy.NoKill, func(t *testing.T, r *rig) {
			sb := r.run(t, "a", 0)
			r.start(t, sb, "a", "main", 0, "")
			if err := r.rt.StopPodSandbox(ctx, sb); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			both(t, func(t *testing.T, r *rig) {
				r.rec.Mark(tc.name)
				tc.do(t, r)
				found, err := proxy.Check(strings.NewReader(r.log.String()))
				if err != nil || r.rec.Err() != nil {
					t.Fatal(err, r.rec.Err())
				}
				switch {
				case tc.want == "" && len(found) > 0:
					t.Errorf("found %v in\n%s", found, r.log)
				case tc.want != "" && (len(found) != 1 || found[0].Invariant != tc.want):
					t.Errorf("found %v, want %q, in\n%s", found, tc.want, r.log)
				}
			})
		})
	}
}

// A log whose writer was killed ends in the middle of a line; any other broken line is an error.
func TestCheckBrokenLog(t *testing.T) {
	if _, err := proxy.Check(strings.NewReader("{\"kind\":\"mark\",\"op\":\"\",\"start\":\"2026-01-01T00:00:00Z\"}\n{\"kind\":\"be")); err != nil {
		t.Error(err)
	}
	if _, err := proxy.Check(strings.NewReader("nonsense\n")); err == nil {
		t.Error("nonsense was read")
	}
}

// A runtime refuses a second start, so only a log can show one.
func TestCheckStartOnce(t *testing.T) {
	var log strings.Builder
	for n := range 2 {
		for _, kind := range []string{"begin", "end"} {
			fmt.Fprintf(&log, `{"kind":%q,"n":%d,"op":"StartContainer","id":"c","uid":"a","container":"main","class":"ok","start":"2026-01-01T00:00:00Z"}`+"\n", kind, n)
		}
	}
	found, err := proxy.Check(strings.NewReader(log.String()))
	if err != nil || len(found) != 1 || found[0].Invariant != proxy.StartOnce {
		t.Errorf("%v, %v", found, err)
	}
}

// What is counted for a pod is what the runtime itself counts for it: ids are traced back to their pods.
func TestCount(t *testing.T) {
	for name, mk := range map[string]func(testing.TB, *sim.Runtime) (*rig, func()){"wrapped": wrapped, "served": served} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := sim.New(sim.Config{AnyImage: true, Latency: sim.DefaultLatency()})
				r, end := mk(t, rt)
				defer end()
				counted := callstats.New()
				r.p.Count(counted)
				sb := r.run(t, "a", 0)
				id := r.start(t, sb, "a", "app", 0, "sim")
				if err := r.rt.StopContainer(t.Context(), id, time.Second); err != nil {
					t.Fatal(err)
				}
				if err := r.rt.StopPodSandbox(t.Context(), sb); err != nil {
					t.Fatal(err)
				}
				want, got := rt.TakePodStats()["a"], counted.TakePods()["a"]
				if got.Wall != want.Wall || got.Wall == 0 || !maps.Equal(got.Calls, want.Calls) {
					t.Errorf("counted %+v, the runtime %+v", got, want)
				}
				if n := len(counted.TakePods()); n != 0 {
					t.Errorf("%d pods after the taking", n)
				}
				if ops := counted.Ops(); ops["StopContainer"].Calls != 1 || ops["StopContainer"].Errors != 0 {
					t.Errorf("%+v", ops)
				}
			})
		})
	}
}
