package floor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/cri/sim"
)

// bubble serves a simulated runtime in memory and connects to it, under virtual time.
func bubble(t *testing.T, f func(t *testing.T, rt *sim.Runtime, b *Bare)) {
	synctest.Test(t, func(t *testing.T) {
		const ms = time.Millisecond
		rt := sim.New(sim.Config{AnyImage: true, Latency: sim.Latency{
			"RunPodSandbox": {Base: 80 * ms}, "CreateContainer": {Base: 15 * ms}, "StartContainer": {Base: 25 * ms}, "StopContainer": {Base: 10 * ms}, "StopPodSandbox": {Base: 40 * ms},
		}})
		s := rt.ServePipe()
		defer s.Stop()
		c, err := remote.Dial(t.Context(), "sim", remote.Options{Dialer: s.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f(t, rt, &Bare{Runtime: c, Grace: time.Second})
	})
}

func somePods(n int, prepared *sync.Map) []Pod {
	var out []Pod
	for i := range n {
		name := fmt.Sprint("p", i)
		out = append(out, Pod{
			Name:      name,
			Sandbox:   &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "ns", Uid: name}},
			Container: &runtimeapi.ContainerConfig{Metadata: &runtimeapi.ContainerMetadata{Name: "c"}, Image: &runtimeapi.ImageSpec{Image: "pause"}},
			Prepare:   func(context.Context) error { prepared.Store(name, true); return nil },
			Clean:     func(context.Context) error { prepared.Delete(name); return nil },
		})
	}
	return out
}

func left(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

func TestBare(t *testing.T) {
	bubble(t, func(t *testing.T, rt *sim.Runtime, b *Bare) {
		for width, rounds := range map[int]float64{1: 10, 4: 3, 10: 1, 40: 1} {
			var prepared sync.Map
			r, err := b.Measure(t.Context(), somePods(10, &prepared), width)
			if err != nil {
				t.Fatal(err)
			}
			if r.UpMs != rounds*120 || r.DownMs != rounds*50 || r.Up.N != 10 || r.Ops["RunPodSandbox"].P50 != 80 {
				t.Errorf("width %d: %+v", width, r)
			}
			if boxes, containers := rt.Count(); boxes+containers+left(&prepared) != 0 {
				t.Errorf("width %d left %d sandboxes, %d containers, %d cgroups", width, boxes, containers, left(&prepared))
			}
		}
	})
}

func TestBareCleansUpAfterAFailure(t *testing.T) {
	bubble(t, func(t *testing.T, rt *sim.Runtime, b *Bare) {
		rt.ScriptFor(sim.Match{UID: "p2"}, "StartContainer", sim.Unavailable)
		var prepared sync.Map
		_, err := b.Measure(t.Context(), somePods(5, &prepared), 2)
		if err == nil || !strings.Contains(err.Error(), "pod p2: ") {
			t.Errorf("error %v", err)
		}
		if boxes, containers := rt.Count(); boxes+containers+left(&prepared) != 0 {
			t.Errorf("left %d sandboxes, %d containers, %d cgroups", boxes, containers, left(&prepared))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		if _, err = b.Measure(ctx, somePods(5, &prepared), 1); !errors.Is(err, context.Canceled) && (err == nil || !strings.Contains(err.Error(), "anceled")) {
			t.Errorf("interrupted: %v", err)
		}
		if boxes, containers := rt.Count(); boxes+containers != 0 {
			t.Errorf("an interruption left %d sandboxes, %d containers", boxes, containers)
		}
	})
}

func TestBest(t *testing.T) {
	up, down := Best([]Result{{Width: 2, UpMs: 9, DownMs: 4}, {Width: 4, UpMs: 5, DownMs: 6}, {Width: 8, UpMs: 7, DownMs: 3}})
	if up.Width != 4 || down.Width != 8 {
		t.Errorf("up %d, down %d", up.Width, down.Width)
	}
}

// What a client waits for is in the one status that the floor agent writes.
func TestReadyStatus(t *testing.T) {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Generation: 3}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "a"}, {Name: "b"}}}}
	st := readyStatus(p, metav1.Now())
	if !slices.ContainsFunc(st.Conditions, func(c v1.PodCondition) bool { return c.Type == v1.PodReady && c.Status == v1.ConditionTrue }) {
		t.Errorf("conditions %v", st.Conditions)
	}
	if len(st.ContainerStatuses) != 2 || st.ObservedGeneration != 3 || st.Phase != v1.PodRunning {
		t.Errorf("%+v", st)
	}
}

// Without a lease the node controller would make the pods not Ready in the middle of a measurement.
func TestLeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client := fake.NewClientset()
		a := &Agent{Client: client, Node: "n", Log: func(err error) { t.Error(err) }}
		ended := make(chan struct{})
		go func() {
			a.live(ctx)
			close(ended)
		}()
		for range 3 {
			synctest.Wait()
			l, err := client.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(ctx, "n", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if age := time.Since(l.Spec.RenewTime.Time); age > time.Millisecond || *l.Spec.HolderIdentity != "n" {
				t.Errorf("renewed %s ago: %+v", age, l.Spec)
			}
			time.Sleep(leaseEvery)
		}
		cancel()
		<-ended
	})
}
