package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/runtime/child"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/messages/runtimemsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// fake is a runtime that is up or not.
type fake struct {
	mu         sync.Mutex
	down       bool
	hangs      bool
	boom       bool // the next Status panics
	noEvents   bool
	sandboxes  []model.Sandbox
	containers []model.Container
	stream     context.CancelCauseFunc
	handle     func(model.RuntimeEvent)
	calls      map[string]int
}

func (f *fake) call(ctx context.Context, op string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = map[string]int{}
	}
	f.calls[op]++
	if f.hangs {
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return ctx.Err()
	}
	if f.down {
		return status.Error(codes.Unavailable, "connection refused")
	}
	return nil
}

func (f *fake) set(change func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
	if f.down && f.stream != nil {
		f.stream(status.Error(codes.Unavailable, "EOF"))
		f.stream = nil
	}
}

func (f *fake) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

func (f *fake) Version(ctx context.Context) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{RuntimeName: "fake", RuntimeVersion: "1.0"}, f.call(ctx, "Version")
}

func (f *fake) Status(ctx context.Context, _ bool) (*runtimeapi.StatusResponse, error) {
	f.mu.Lock()
	boom := f.boom
	f.boom = false
	f.mu.Unlock()
	if boom {
		panic("status")
	}
	err := f.call(ctx, "Status")
	return &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: runtimeapi.RuntimeReady, Status: true}, {Type: runtimeapi.NetworkReady, Status: true},
	}}}, err
}

func (f *fake) RuntimeConfig(ctx context.Context) (*runtimeapi.RuntimeConfigResponse, error) {
	return &runtimeapi.RuntimeConfigResponse{Linux: &runtimeapi.LinuxRuntimeConfiguration{CgroupDriver: runtimeapi.CgroupDriver_CGROUPFS}}, f.call(ctx, "RuntimeConfig")
}

func (f *fake) UpdateRuntimeConfig(ctx context.Context, cidr string) error {
	return f.call(ctx, "UpdateRuntimeConfig "+cidr)
}

func (f *fake) ListPodSandbox(ctx context.Context, _ cri.SandboxFilter) ([]model.Sandbox, error) {
	err := f.call(ctx, "ListPodSandbox")
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sandboxes), err
}

func (f *fake) ListContainers(ctx context.Context, _ cri.ContainerFilter) ([]model.Container, error) {
	err := f.call(ctx, "ListContainers")
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.containers), err
}

func (f *fake) Events(ctx context.Context, connected func(), handle func(model.RuntimeEvent)) error {
	if err := f.call(ctx, "Events"); err != nil {
		return err
	}
	f.mu.Lock()
	if f.noEvents {
		f.mu.Unlock()
		return fmt.Errorf("events: %w", cri.ErrUnimplemented)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	f.stream, f.handle = cancel, handle
	f.mu.Unlock()
	connected()
	<-ctx.Done()
	return context.Cause(ctx)
}

// inbox keeps what a sink was told.
type inbox struct {
	mu   sync.Mutex
	msgs []any
}

func (i *inbox) Tell(msg any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.msgs = append(i.msgs, msg)
}

// take empties the inbox.
func (i *inbox) take() []any {
	i.mu.Lock()
	defer i.mu.Unlock()
	m := i.msgs
	i.msgs = nil
	return m
}

func only[T any](msgs []any) []T {
	var out []T
	for _, m := range msgs {
		if t, ok := m.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

type bench struct {
	rt         *fake
	pods, node *inbox
	self       messages.Sink
	sys        *spawn.System
}

// inBubble runs a test of the actor on virtual time.
func inBubble(t *testing.T, c Child, f func(*testing.T, *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{rt: &fake{}, pods: &inbox{}, node: &inbox{}}
		b.sys = spawn.NewSystem(spawn.Config{Logger: klog.Background()})
		b.self = b.sys.Root("runtime", Kind, New(Deps{Runtime: b.rt, Runner: runner.New(runner.Config{CPUs: 2}), Pods: b.pods, Node: b.node, Child: c, Log: klog.Background()}, Config{}))
		synctest.Wait()
		f(t, b)
		if err := b.sys.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second) // the library's dead-letter throttle has a timer
	})
}

func TestConnectsTellsAndForwardsEvents(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bench) {
		got := b.pods.take()
		if g := only[podsmsg.RuntimeGate](got); len(g) != 1 || g[0] != (podsmsg.RuntimeGate{RuntimeReady: true, NetworkReady: true}) {
			t.Errorf("gates = %v", g)
		}
		if l := only[podsmsg.Listed](got); len(l) != 1 || l[0].Epoch != 1 {
			t.Errorf("lists = %v", l)
		}
		n := only[nodemsg.RuntimeState](b.node.take())
		if len(n) != 1 || !n[0].State.Up || n[0].State.Name != "fake" || n[0].State.CgroupDriver != "cgroupfs" {
			t.Errorf("node was told %+v", n)
		}
		at := time.Unix(7, 0)
		b.rt.handle(model.RuntimeEvent{UID: "u", Container: "c", At: at})
		if d := only[podsmsg.Dirty](b.pods.take()); len(d) != 1 || d[0] != (podsmsg.Dirty{UID: "u", Container: "c", At: at}) {
			t.Errorf("dirty = %v", d)
		}
		b.self.Tell(runtimemsg.PodCIDR{CIDR: "10.1.0.0/24"})
		b.self.Tell(runtimemsg.Relist{Why: "asked"})
		synctest.Wait()
		if b.rt.count("UpdateRuntimeConfig 10.1.0.0/24") != 1 || len(only[podsmsg.Listed](b.pods.take())) != 1 {
			t.Error("no pod CIDR was set or no list made")
		}
	})
}

func TestRestartOfTheRuntimeFlipsNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bench) {
		time.Sleep(3 * time.Second)
		b.pods.take()
		b.node.take()
		b.rt.set(func(f *fake) { f.down = true })
		time.Sleep(1500 * time.Millisecond)
		b.rt.set(func(f *fake) { f.down = false })
		time.Sleep(2 * time.Second)
		got := b.pods.take()
		if g := only[podsmsg.RuntimeGate](got); len(g) != 0 {
			t.Errorf("gates = %v, want none", g)
		}
		if l := only[podsmsg.Listed](got); len(l) != 1 || l[0].Epoch != 2 {
			t.Errorf("lists = %v, want one of epoch 2", l)
		}
		if n := b.node.take(); len(n) != 0 {
			t.Errorf("node was told %v", n)
		}
	})
}

func TestHungRuntimeIsAnOutage(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bench) {
		b.node.take()
		b.rt.set(func(f *fake) { f.hangs = true })
		b.self.Tell(runtimemsg.Suspect{Err: context.DeadlineExceeded})
		time.Sleep(40 * time.Second)
		n := only[nodemsg.RuntimeState](b.node.take())
		if len(n) != 1 || n[0].State.Up {
			t.Errorf("node was told %+v, want the outage once", n)
		}
		b.rt.set(func(f *fake) { f.hangs = false })
		time.Sleep(11 * time.Second)
		if n := only[nodemsg.RuntimeState](b.node.take()); len(n) == 0 || !n[len(n)-1].State.RuntimeReady {
			t.Errorf("node was told %+v after the return", n)
		}
	})
}

func TestWithoutEventsItPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, pods := &fake{noEvents: true}, &inbox{}
		sys := spawn.NewSystem(spawn.Config{Logger: klog.Background()})
		sys.Root("runtime", Kind, New(Deps{Runtime: rt, Runner: runner.New(runner.Config{CPUs: 2}), Pods: pods, Node: messages.Nowhere, Log: klog.Background()}, Config{}))
		time.Sleep(10500 * time.Millisecond)
		if l := only[podsmsg.Listed](pods.take()); len(l) < 10 || len(l) > 13 || l[len(l)-1].Epoch != 1 {
			t.Errorf("%d lists in 10.5 s, want about one a second, all of one epoch", len(l))
		}
		_ = sys.Stop(t.Context())
		time.Sleep(10 * time.Second)
	})
}

// A panic in a call is an answer like another; the actor itself does not notice.
func TestPanicInACallIsAFailure(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bench) {
		before := b.rt.count("Status")
		b.rt.set(func(f *fake) { f.boom = true })
		time.Sleep(15 * time.Second)
		if b.rt.count("Status") < before+1 {
			t.Error("after a panic the status is not read any more")
		}
	})
}

// A rebuilt actor begins a later epoch and starts no second child.
func TestRebuiltActorGoesOn(t *testing.T) {
	c := &fakeChild{}
	inBubble(t, c, func(t *testing.T, b *bench) {
		b.pods.take()
		b.self.Tell(runtimemsg.Suspect{Err: poison{}})
		time.Sleep(5 * time.Second)
		l := only[podsmsg.Listed](b.pods.take())
		if len(l) == 0 || l[0].Epoch != 2 {
			t.Errorf("lists after the panic = %v, want one of epoch 2", l)
		}
		if n, _ := c.seen(); n != 1 {
			t.Errorf("the child was started %d times", n)
		}
		c.end()
		synctest.Wait()
		if n, _ := c.seen(); n != 2 {
			t.Errorf("after its end the child was started %d times, want 2", n)
		}
		b.self.Tell(runtimemsg.End{})
		time.Sleep(time.Minute)
		if n, stopped := c.seen(); n != 2 || !stopped {
			t.Errorf("after End: started %d times, stopped %v", n, stopped)
		}
	})
}

// poison makes Receive panic.
type poison struct{}

func (poison) Error() string { panic("poison") }

type fakeChild struct {
	mu          sync.Mutex
	starts, pid int
	stopped     bool
	onExit      func(child.Exit)
}

func (c *fakeChild) Start(exited func(child.Exit)) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return 0, child.ErrStopped
	}
	c.starts++
	c.pid, c.onExit = c.starts, exited
	return c.pid, nil
}

func (c *fakeChild) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

func (c *fakeChild) Stop(context.Context) error {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.end()
	return nil
}

func (c *fakeChild) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid != 0 {
		c.onExit(child.Exit{PID: c.pid, Signal: "killed"})
		c.pid = 0
	}
}

func (c *fakeChild) seen() (starts int, stopped bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.starts, c.stopped
}

func TestListsOfTwoMomentsAreMended(t *testing.T) {
	old := model.Sandbox{ID: "s1", UID: "u1", Name: "one", CreatedAt: time.Unix(1, 0)}
	late := model.Sandbox{ID: "s2", UID: "u1", Name: "one", CreatedAt: time.Unix(2, 0)}
	rt := &twoMoments{lists: [][]model.Sandbox{{old}, {old, late, {ID: "foreign"}}}, containers: []model.Container{
		{ID: "c1", UID: "u1", Sandbox: "s1", CreatedAt: time.Unix(1, 0)}, {ID: "c2", UID: "u1", Sandbox: "s2", CreatedAt: time.Unix(3, 0)},
	}}
	pods, err := ListPods(t.Context(), rt)
	if err != nil {
		t.Fatal(err)
	}
	p := pods["u1"]
	if len(pods) != 1 || len(p.Sandboxes) != 2 || p.Sandboxes[0].ID != "s2" || p.Containers[0].ID != "c2" || p.Name != "one" {
		t.Errorf("pods = %+v", pods)
	}
	if _, err := ListPods(t.Context(), &twoMoments{err: errors.New("x")}); err == nil {
		t.Error("an error is swallowed")
	}
}

type twoMoments struct {
	lists      [][]model.Sandbox
	containers []model.Container
	err        error
}

func (m *twoMoments) ListPodSandbox(context.Context, cri.SandboxFilter) ([]model.Sandbox, error) {
	if m.err != nil {
		return nil, m.err
	}
	l := m.lists[0]
	m.lists = m.lists[1:]
	return l, nil
}

func (m *twoMoments) ListContainers(context.Context, cri.ContainerFilter) ([]model.Container, error) {
	return m.containers, nil
}
