package cgroup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/cgroup"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/cgroupmsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// kernel is an applier that keeps cgroups in a map.
type kernel struct {
	mu      sync.Mutex
	groups  map[string]cgroups.Desired
	writes  map[string]int
	refuse  map[string]error
	takes   time.Duration
	touched map[string]bool // in an operation right now
	overlap string
}

func newKernel() *kernel {
	return &kernel{groups: map[string]cgroups.Desired{}, writes: map[string]int{}, refuse: map[string]error{}, touched: map[string]bool{}}
}

func (k *kernel) work(n cgroups.Name, f func() error) error {
	key := n.String()
	k.mu.Lock()
	if k.touched[key] {
		k.overlap = key
	}
	k.touched[key] = true
	k.mu.Unlock()
	if k.takes > 0 {
		time.Sleep(k.takes)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.touched, key)
	if err := k.refuse[key]; err != nil {
		return err
	}
	return f()
}

func (k *kernel) Apply(_ context.Context, d cgroups.Desired) error {
	return k.work(d.Name, func() error {
		if up := d.Name.Parent(); len(up) > 0 {
			if _, ok := k.groups[up.String()]; !ok {
				return fmt.Errorf("%s before its parent", d.Name)
			}
		}
		k.groups[d.Name.String()] = d
		k.writes[d.Name.String()]++
		return nil
	})
}

func (k *kernel) Update(_ context.Context, d cgroups.Desired) error {
	return k.work(d.Name, func() error {
		if _, ok := k.groups[d.Name.String()]; !ok {
			return os.ErrNotExist
		}
		k.groups[d.Name.String()] = d
		k.writes[d.Name.String()]++
		return nil
	})
}

func (k *kernel) Remove(_ context.Context, n cgroups.Name) error {
	return k.work(n, func() error { delete(k.groups, n.String()); return nil })
}

func (k *kernel) Exists(n cgroups.Name) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.groups[n.String()]
	return ok
}

func (k *kernel) Children(n cgroups.Name) ([]cgroups.Name, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []cgroups.Name
	for key := range k.groups {
		if c := cgroups.ParseName(cgroups.Cgroupfs, key); c.Parent().String() == n.String() {
			out = append(out, c)
		}
	}
	return out, nil
}

func (k *kernel) Parent(n cgroups.Name) string { return n.String() }

// inbox collects what a pod is told.
type inbox struct {
	mu   sync.Mutex
	msgs []any
	ch   chan any
}

func newInbox() *inbox { return &inbox{ch: make(chan any, 10000)} }

func (i *inbox) Tell(m any) {
	i.mu.Lock()
	i.msgs = append(i.msgs, m)
	i.mu.Unlock()
	i.ch <- m
}

func (i *inbox) take() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var out []string
	for _, m := range i.msgs {
		out = append(out, fmt.Sprintf("%T%+v", m, m)[len("podmsg."):])
	}
	i.msgs = nil
	return out
}

func burstable(uid string) *v1.Pod {
	p := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{
		Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("10m")}}}}}}
	p.UID = model.UID(uid)
	return p
}

func config(l cgroups.Layout) cgroup.Config {
	return cgroup.Config{
		Pod: cgroups.PodConfig{Layout: l, EnforceCPULimits: true},
		Node: cgroups.NodeConfig{Layout: l, Driver: cgroups.Cgroupfs, Enforce: []string{cgroups.EnforcePods},
			Capacity: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("4Gi")}},
	}
}

// system runs the actor and returns its address.
func system(t *testing.T, app cgroups.Applier, l cgroups.Layout, event func(string, string, string)) messages.Sink {
	sys := spawn.NewSystem(spawn.Config{Logger: klog.Background()})
	ref := sys.Root("cgroups", "cgroups", cgroup.New(cgroup.Deps{
		Applier: app, Runner: runner.New(runner.Config{}), Logger: klog.Background(), Event: event,
	}, config(l)))
	t.Cleanup(func() { sys.Stop(context.Background()) })
	return ref
}

var plain = cgroups.Layout{PerQOS: true}

func eq(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestBurstIsAnsweredOnceEachAndTheTierRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, in := newKernel(), newInbox()
		k.takes = time.Millisecond
		a := system(t, k, plain, nil)
		for i := range 500 {
			a.Tell(cgroupmsg.Want{Pod: burstable(fmt.Sprint(i)), Reply: in})
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := in.take(); len(got) != 500 || !strings.HasPrefix(got[0], "CgroupReady{Parent:/kubepods/burstable/pod") {
			t.Errorf("%d answers, the first %v", len(got), got[:min(1, len(got))])
		}
		if n := k.writes["/kubepods/burstable"]; n > 4 {
			t.Errorf("the tier was written %d times", n)
		}
		if got := *k.groups["/kubepods/burstable"].Resources.CPU.Shares; got != 5120 {
			t.Errorf("the tier has %d shares", got)
		}
		for i := range 500 {
			a.Tell(cgroupmsg.Drop{UID: model.UID(fmt.Sprint(i)), Reply: in})
			a.Tell(cgroupmsg.Drop{UID: model.UID(fmt.Sprint(i)), Reply: in})
		}
		a.Tell(cgroupmsg.Sweep{Owned: map[model.UID]struct{}{}})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := in.take(); len(got) != 500 || got[0] != "CgroupGone{}" {
			t.Errorf("%d answers to the drops", len(got))
		}
		if len(k.groups) != 3 || k.overlap != "" {
			t.Errorf("left: %d cgroups; two operations at once on %q", len(k.groups), k.overlap)
		}
		if got := *k.groups["/kubepods/burstable"].Resources.CPU.Shares; got != 2 {
			t.Errorf("the empty tier has %d shares", got)
		}
		time.Sleep(time.Minute)
	})
}

func TestFailureIsToldAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, in := newKernel(), newInbox()
		var events []string
		k.refuse["/kubepods/burstable/poda"] = errors.New("no space")
		a := system(t, k, plain, func(kind, reason, msg string) { events = append(events, kind+" "+reason+" "+msg) })
		a.Tell(cgroupmsg.Want{Pod: burstable("a"), Reply: in})
		synctest.Wait()
		eq(t, "first", in.take(), "CgroupFailed{Err:no space}")
		eq(t, "events", events, "Normal NodeAllocatableEnforced Updated Node Allocatable limit across pods")
		k.mu.Lock()
		delete(k.refuse, "/kubepods/burstable/poda")
		k.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		eq(t, "later", in.take(), "CgroupReady{Parent:/kubepods/burstable/poda Seq:0}")
		time.Sleep(time.Minute)
	})
}

func TestLimitsThatTheKernelRefusesDoNotHoldUpPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, in := newKernel(), newInbox()
		l := plain
		var events []string
		app := &refuseMemory{kernel: k}
		a := system(t, app, l, func(kind, reason, msg string) { events = append(events, kind+" "+reason) })
		a.Tell(cgroupmsg.Want{Pod: burstable("a"), Reply: in})
		synctest.Wait()
		eq(t, "pod", in.take(), "CgroupReady{Parent:/kubepods/burstable/poda Seq:0}")
		time.Sleep(90 * time.Second)
		synctest.Wait()
		eq(t, "events", events, "Warning FailedNodeAllocatableEnforcement", "Warning FailedNodeAllocatableEnforcement")
	})
}

type refuseMemory struct{ *kernel }

func (r *refuseMemory) Update(ctx context.Context, d cgroups.Desired) error {
	if d.Resources.Memory != nil {
		return errors.New("device or resource busy")
	}
	return r.kernel.Update(ctx, d)
}

func TestAdoptionKeepsTheTierAndSweepsOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, in := newKernel(), newInbox()
		// An earlier agent left its tree, with a pod of ours and one of nobody's, in every tier.
		for _, n := range []string{"/kubepods", "/kubepods/burstable", "/kubepods/besteffort", "/kubepods/burstable/poda", "/kubepods/burstable/podx", "/kubepods/podg", "/kubepods/besteffort/podb"} {
			k.groups[n] = cgroups.Desired{Name: cgroups.ParseName(cgroups.Cgroupfs, n)}
		}
		a := system(t, k, plain, nil)
		synctest.Wait()
		if k.groups["/kubepods/burstable"].Resources.CPU != nil {
			t.Error("the shares of running pods were taken away")
		}
		a.Tell(cgroupmsg.Want{Pod: burstable("a"), Reply: in})
		a.Tell(cgroupmsg.Sweep{Owned: map[model.UID]struct{}{"a": {}, "b": {}}})
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for n, want := range map[string]bool{"/kubepods/burstable/poda": true, "/kubepods/besteffort/podb": true, "/kubepods/burstable/podx": false, "/kubepods/podg": false} {
			if _, ok := k.groups[n]; ok != want {
				t.Errorf("%s there: %v, want %v", n, ok, want)
			}
		}
		time.Sleep(time.Minute)
	})
}

// The whole on this machine's kernel.
func TestLive(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to write cgroups")
	}
	h, err := cgroupfs.Detect(cgroupfs.DefaultRoot)
	if err != nil {
		t.Fatal(err)
	}
	app := cgroupfs.New(h)
	root := cgroups.Name{fmt.Sprintf("troupe-test-%d-actor", os.Getpid())}
	if err := app.Apply(t.Context(), cgroups.Desired{Name: root}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := app.Remove(context.Background(), root); err != nil {
			t.Error(err)
		}
	}()
	l := cgroups.Layout{Root: root, PerQOS: true}
	a := system(t, app, l, nil)
	in := newInbox()
	const pods = 100
	phase := func(what string, ask func(uid model.UID), want any) {
		begin := time.Now()
		for i := range pods {
			ask(model.UID(fmt.Sprint("p", i)))
		}
		for range pods {
			select {
			case m := <-in.ch:
				if fmt.Sprintf("%T", m) != fmt.Sprintf("%T", want) {
					t.Fatalf("%T %v", m, m)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("no answer")
			}
		}
		t.Logf("%d pods %s in %v", pods, what, time.Since(begin))
	}
	phase("made", func(uid model.UID) { a.Tell(cgroupmsg.Want{Pod: burstable(string(uid)), Reply: in}) }, podmsg.CgroupReady{})
	if !app.Exists(l.Pod("p7", v1.PodQOSBurstable)) {
		t.Error("a pod's cgroup is missing")
	}
	phase("removed", func(uid model.UID) { a.Tell(cgroupmsg.Drop{UID: uid, Reply: in}) }, podmsg.CgroupGone{})
	if kids, err := app.Children(l.QOS(v1.PodQOSBurstable)); err != nil || len(kids) != 0 {
		t.Errorf("left: %v, %v", kids, err)
	}
	if err := cgroup.RemoveTree(t.Context(), app, l); err != nil {
		t.Error(err)
	}
	if app.Exists(l.Kubepods()) {
		t.Error("kubepods is left")
	}
}
