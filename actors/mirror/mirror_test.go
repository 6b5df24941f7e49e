package mirror

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/messages/sourcemsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// rig is a mirror actor before a fake API server, whose watch it is told of.
type rig struct {
	mu     sync.Mutex
	client *fake.Clientset
	ref    spawn.Ref
	calls  []string
	names  map[types.UID]string
	uids   int
	system *spawn.System
}

func (r *rig) Mirrored(uid types.UID, namespace, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[uid] = namespace + "/" + name
}

func (r *rig) Unmirrored(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.names, uid)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{client: fake.NewClientset(), names: map[types.UID]string{}}
	r.client.PrependReactor("*", "pods", func(a k8stesting.Action) (bool, runtime.Object, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.calls = append(r.calls, a.GetVerb())
		switch a := a.(type) {
		case k8stesting.CreateAction:
			pod := a.GetObject().(*v1.Pod)
			r.uids++
			pod.UID = types.UID(fmt.Sprint("m", r.uids))
		case k8stesting.DeleteActionImpl:
			o := a.GetDeleteOptions()
			if o.Preconditions == nil || o.Preconditions.UID == nil || o.GracePeriodSeconds == nil || *o.GracePeriodSeconds != 0 {
				t.Errorf("delete without UID or with grace: %+v", o)
			}
		}
		return false, nil, nil
	})
	r.system = spawn.NewSystem(spawn.Config{})
	actor := New(Deps{Client: r.client, Runner: runner.New(runner.Config{CPUs: 2}), Names: r, Logger: klog.Background()}, Config{NodeName: "n"})
	r.ref = r.system.Root("mirrors", Kind, actor.Producer)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.system.Stop(ctx); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
	return r
}

func (r *rig) node(t *testing.T) {
	if err := r.client.Tracker().Add(&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "node-uid"}}); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) take() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := strings.Join(r.calls, ", ")
	r.calls = nil
	return calls
}

func (r *rig) mirror(t *testing.T) *v1.Pod {
	t.Helper()
	pods, err := r.client.CoreV1().Pods("ns").List(t.Context(), metav1.ListOptions{})
	r.take()
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) == 0 {
		return nil
	}
	return &pods.Items[0]
}

func static(hash string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-n", UID: types.UID(hash), Annotations: map[string]string{podchange.ConfigHash: hash, podchange.ConfigSource: "file"}},
		Spec:       v1.PodSpec{NodeName: "n", Containers: []v1.Container{{Name: "c", Image: "i"}}},
	}
}

func TestLifeOfAMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.ref.Tell(sourcemsg.StaticRuns{Pod: static("h1")})
		time.Sleep(time.Second)
		if calls := r.take(); calls != "" {
			t.Fatalf("before the node was registered: %s", calls)
		}
		r.node(t)
		time.Sleep(2 * time.Second)
		if calls := r.take(); calls != "create" {
			t.Fatalf("calls %q", calls)
		}
		m := r.mirror(t)
		if o := m.OwnerReferences; len(o) != 1 || o[0].UID != "node-uid" || o[0].Kind != "Node" || o[0].Controller == nil || !*o[0].Controller {
			t.Errorf("owners %+v", o)
		}
		if m.Annotations[v1.MirrorPodAnnotationKey] != "h1" || m.Annotations[podchange.ConfigSource] != "file" || len(m.Spec.Containers) != 1 {
			t.Errorf("mirror %+v", m)
		}
		r.ref.Tell(sourcemsg.MirrorSeen{Pod: m})
		r.take()
		if r.names["m1"] != "ns/web-n" {
			t.Errorf("names %v", r.names)
		}
		// A user deletes it with grace: it goes at once and comes back.
		gone := m.DeepCopy()
		now := metav1.Now()
		gone.DeletionTimestamp = &now
		r.ref.Tell(sourcemsg.MirrorSeen{Pod: gone})
		if calls := r.take(); calls != "delete, create" {
			t.Errorf("calls %q", calls)
		}
		r.ref.Tell(sourcemsg.MirrorGone{Namespace: "ns", Name: "web-n", UID: "m1"})
		if calls := r.take(); calls != "" || r.names["m1"] != "" {
			t.Errorf("calls %q, names %v", calls, r.names)
		}
		// The manifest changes: the old mirror stays until the new pod has its turn.
		r.ref.Tell(sourcemsg.StaticRuns{Pod: static("h1"), Ending: true})
		if calls := r.take(); calls != "" {
			t.Errorf("calls %q", calls)
		}
		r.ref.Tell(sourcemsg.StaticRuns{Pod: static("h2")})
		if calls := r.take(); calls != "delete, create" {
			t.Errorf("calls %q", calls)
		}
		// The manifest goes.
		r.ref.Tell(sourcemsg.StaticsKnown{})
		r.ref.Tell(sourcemsg.StaticRuns{Pod: static("h2"), Ending: true})
		r.ref.Tell(sourcemsg.StaticEnded{Pod: static("h2")})
		if calls := r.take(); calls != "delete" {
			t.Errorf("calls %q", calls)
		}
		if m := r.mirror(t); m != nil {
			t.Errorf("left: %v", m.Annotations)
		}
	})
}

func TestLeftOverGoesOnceAllAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.node(t)
		left := image(static("h0"), &v1.Node{})
		left.UID = "old"
		if err := r.client.Tracker().Add(left); err != nil {
			t.Fatal(err)
		}
		r.ref.Tell(sourcemsg.MirrorSeen{Pod: left})
		if calls := r.take(); calls != "" {
			t.Errorf("calls %q", calls)
		}
		r.ref.Tell(sourcemsg.StaticsKnown{})
		if calls := r.take(); calls != "delete" {
			t.Errorf("calls %q", calls)
		}
		// One that is seen later, too.
		late := image(static("h0"), &v1.Node{})
		late.UID, late.Name = "late", "other-n"
		if err := r.client.Tracker().Add(late); err != nil {
			t.Fatal(err)
		}
		r.ref.Tell(sourcemsg.MirrorSeen{Pod: late})
		if calls := r.take(); calls != "delete" {
			t.Errorf("calls %q", calls)
		}
	})
}

// What was in flight when the actor panicked is taken up again by the next incarnation.
func TestPanicLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.ref.Tell(sourcemsg.StaticRuns{Pod: static("h1")})
		r.take()
		r.ref.Tell(sourcemsg.MirrorSeen{}) // a nil pod
		r.take()
		r.node(t)
		time.Sleep(2 * time.Second)
		if calls := r.take(); calls != "create" {
			t.Errorf("calls %q", calls)
		}
	})
}
