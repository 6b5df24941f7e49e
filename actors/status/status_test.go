package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/status/statusplan"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/messages/statusmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// rig is a status actor before a fake API server. fail may answer a call with an error.
type rig struct {
	mu     sync.Mutex
	client *fake.Clientset
	ref    spawn.Ref
	runner *runner.Runner
	calls  []string
	acks   map[types.UID][]uint64
	fail   func(verb string) error
}

func newRig(t *testing.T, pods ...*v1.Pod) *rig {
	t.Helper()
	r := &rig{acks: map[types.UID][]uint64{}, runner: runner.New(runner.Config{CPUs: 2})}
	r.client = fake.NewClientset()
	for _, p := range pods {
		if err := r.client.Tracker().Add(p); err != nil {
			t.Fatal(err)
		}
	}
	r.client.PrependReactor("*", "pods", func(a k8stesting.Action) (bool, runtime.Object, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		call := a.GetVerb()
		if p, ok := a.(k8stesting.PatchAction); ok {
			var body v1.Pod
			if err := json.Unmarshal(p.GetPatch(), &body); err != nil {
				return true, nil, err
			}
			call += " " + string(body.Status.Phase)
		}
		r.calls = append(r.calls, call)
		if r.fail != nil {
			if err := r.fail(a.GetVerb()); err != nil {
				return true, nil, err
			}
		}
		return false, nil, nil
	})
	system := spawn.NewSystem(spawn.Config{})
	actor := New(Deps{Client: r.client, Runner: r.runner, Logger: klog.Background()}, Config{})
	r.ref = system.Root("status", Kind, actor.Producer)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := system.Stop(ctx); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
	return r
}

func (r *rig) take() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := strings.Join(r.calls, ", ")
	r.calls = nil
	return calls
}

// late returns the calls up to when news are written.
func (r *rig) late() string {
	time.Sleep(statusplan.NewsDelay)
	return r.take()
}

func (r *rig) setFail(f func(verb string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = f
}

func (r *rig) publish(pod *v1.Pod, gen uint64, phase v1.PodPhase) {
	r.ref.Tell(statusmsg.Publish{Pod: pod, Gen: gen, Status: v1.PodStatus{Phase: phase}, Reply: messages.SinkFunc(func(m any) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.acks[pod.UID] = append(r.acks[pod.UID], m.(podmsg.Acked).Gen)
	})})
}

func (r *rig) acked(uid types.UID) string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.acks[uid])
}

func pod(name, version string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("u-" + name), ResourceVersion: version}, Status: v1.PodStatus{Phase: v1.PodPending}}
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestPublishAndDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pod("a", "1")
		r := newRig(t, p)
		r.ref.Tell(statusmsg.Seen{Pod: p})
		r.publish(p, 1, v1.PodRunning)
		expect(t, "calls", r.late(), "patch Running")
		expect(t, "acks", r.acked("u-a"), "[1]")
		r.publish(p, 2, v1.PodRunning)
		expect(t, "calls of no change", r.take(), "")
		expect(t, "acks", r.acked("u-a"), "[1 2]")
		r.publish(p, 3, v1.PodSucceeded)
		r.ref.Tell(statusmsg.Delete{Pod: p})
		expect(t, "calls", r.take(), "patch Succeeded, delete")
		r.ref.Tell(statusmsg.Gone{UID: p.UID})
		r.publish(p, 4, v1.PodFailed)
		expect(t, "calls after the end", r.take(), "")
		expect(t, "acks", r.acked("u-a"), "[1 2 3 4]")
		r.ref.Tell(statusmsg.Forget{UID: p.UID})
	})
}

// In a burst calls wait for their turn. What a pod says meanwhile goes into the call that waits, not into another one.
func TestWaitingPatchTakesTheNewestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pod("a", "1")
		r := newRig(t, p)
		turn := make(chan struct{})
		for i := range 100 {
			r.runner.Do(t.Context(), runner.Job{Lane: []runner.Lane{runner.API, runner.News}[i%2], Op: "burst", Fn: func(context.Context) error { <-turn; return nil }})
		}
		r.publish(p, 1, v1.PodPending)
		r.ref.Tell(statusmsg.Publish{Pod: p, Gen: 2, Status: v1.PodStatus{Phase: v1.PodPending, Reason: "Later"}})
		r.publish(p, 3, v1.PodRunning)
		expect(t, "calls before their turn", r.late(), "")
		close(turn)
		expect(t, "calls", r.late(), "patch Running")
		expect(t, "acks", r.acked("u-a"), "[1 3]") // the first changed nothing
		r.publish(p, 4, v1.PodSucceeded)
		expect(t, "calls", r.take(), "patch Succeeded")
	})
}

// What a pod goes through is written a little later, its readiness at once, and what that overtook never.
func TestProgressIsKeptBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pod("a", "1")
		r := newRig(t, p)
		say := func(gen uint64, message string, ready v1.ConditionStatus) {
			r.ref.Tell(statusmsg.Publish{Pod: p, Gen: gen, Status: v1.PodStatus{Phase: v1.PodPending, Message: message, Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: ready}}}})
		}
		say(1, "sandbox", v1.ConditionFalse)
		expect(t, "the first word", r.take(), "")
		expect(t, "the first word, later", r.late(), "patch ")
		say(2, "image", v1.ConditionFalse)
		time.Sleep(statusplan.NewsDelay / 2)
		expect(t, "progress", r.take(), "")
		say(3, "up", v1.ConditionTrue)
		expect(t, "ready", r.take(), "patch ")
		time.Sleep(statusplan.NewsDelay)
		expect(t, "what was overtaken", r.take(), "")
		say(4, "still up", v1.ConditionTrue)
		time.Sleep(statusplan.NewsDelay)
		expect(t, "later", r.take(), "patch ")
		if p, err := r.client.CoreV1().Pods("ns").Get(t.Context(), "a", metav1.GetOptions{}); err != nil || p.Status.Message != "still up" {
			t.Errorf("%v %v", p, err)
		}
	})
}

// In a burst, what others wait for overtakes what only tells of progress, and a pod's progress that was overtaken by its
// readiness is never written.
func TestReadinessOvertakesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20
		var pods []*v1.Pod
		for i := range n {
			pods = append(pods, pod(fmt.Sprintf("p%02d", i), "1"))
		}
		r := newRig(t, pods...)
		var order []string
		const busy = 64 // calls that fill the lane for a while
		for i := range busy {
			r.runner.Do(t.Context(), runner.Job{Lane: []runner.Lane{runner.API, runner.News}[i%2], Op: "other", Fn: func(context.Context) error {
				time.Sleep(time.Second)
				return nil
			}})
		}
		r.client.PrependReactor("patch", "pods", func(a k8stesting.Action) (bool, runtime.Object, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			order = append(order, a.(k8stesting.PatchAction).GetName())
			return false, nil, nil
		})
		for _, p := range pods {
			p.ResourceVersion = "1"
			r.ref.Tell(statusmsg.Publish{Pod: p, Gen: 1, Status: v1.PodStatus{Phase: v1.PodPending, Message: "starting"}})
		}
		last := pods[n-1]
		r.ref.Tell(statusmsg.Publish{Pod: last, Gen: 2, Status: v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}}})
		time.Sleep(time.Minute)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(order) != n {
			t.Errorf("%d writes for %d pods: %v", len(order), n, order)
		}
		if at := slices.Index(order, last.Name); at != 0 {
			t.Errorf("the ready pod was written at place %d: %v", at, order)
		}
		var calls int64
		for _, l := range r.runner.Snapshot().Lanes {
			calls += l.Done
		}
		if calls != n+busy {
			t.Errorf("%d calls counted, of which %d are others'", calls, busy)
		}
	})
}

func TestReplacedPodIsNotTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, now := pod("a", "1"), pod("a", "5")
		now.UID = "u-new"
		r := newRig(t, now)
		// The API server refuses a patch that carries another UID than the object's.
		r.setFail(func(verb string) error {
			if verb == "patch" {
				return apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, "a", errors.New("Precondition failed: UID"))
			}
			return nil
		})
		r.publish(old, 1, v1.PodRunning)
		expect(t, "calls", r.late(), "patch Running, get")
		expect(t, "acks", r.acked("u-a"), "[1]")
	})
}

func TestServerErrorsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pod("a", "1")
		r := newRig(t, p)
		r.setFail(func(string) error { return apierrors.NewInternalError(errors.New("boom")) })
		r.publish(p, 1, v1.PodRunning)
		expect(t, "calls", r.late(), "patch Running")
		time.Sleep(199 * time.Millisecond)
		expect(t, "too early", r.take(), "")
		time.Sleep(time.Millisecond)
		expect(t, "second attempt", r.take(), "patch Running")
		r.setFail(nil)
		time.Sleep(400 * time.Millisecond)
		expect(t, "third attempt", r.take(), "patch Running")
		expect(t, "acks", r.acked("u-a"), "[1]")
	})
}

// During an outage one attempt at a time is made, whatever the number of pods; afterwards every pod writes its newest
// status once.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pods []*v1.Pod
		for i := range 50 {
			pods = append(pods, pod(fmt.Sprint("p", i), "1"))
		}
		r := newRig(t, pods...)
		r.setFail(func(string) error { return errors.New("connection refused") })
		for _, p := range pods {
			r.publish(p, 1, v1.PodRunning)
		}
		time.Sleep(time.Second)
		r.take()
		time.Sleep(time.Minute)
		if n := len(strings.Split(r.take(), ", ")); n > 15 {
			t.Errorf("%d attempts in a minute without a server", n)
		}
		for _, p := range pods {
			r.publish(p, 2, v1.PodFailed)
		}
		r.take()
		r.setFail(nil)
		time.Sleep(knockMost)
		calls := r.take()
		if strings.Contains(calls, "Running") {
			t.Error("a status was written that a newer one had replaced")
		}
		time.Sleep(11 * time.Second) // a pod whose own attempts failed waits its back-off
		all := strings.Count(calls+", "+r.take(), "patch Failed")
		if all != len(pods) {
			t.Errorf("%d writes for %d pods", all, len(pods))
		}
		for _, p := range pods {
			expect(t, "acks of "+p.Name, r.acked(p.UID), "[2]")
		}
	})
}

func TestStaticPodAndItsMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		static := pod("web-node", "")
		static.Annotations = map[string]string{"kubernetes.io/config.source": "file", "kubernetes.io/config.hash": "h2"}
		mirror := func(hash, version string) *v1.Pod {
			m := pod("web-node", version)
			m.UID, m.Annotations = "u-mirror", map[string]string{v1.MirrorPodAnnotationKey: hash}
			return m
		}
		r := newRig(t, mirror("h2", "3"))
		r.publish(static, 1, v1.PodRunning)
		expect(t, "calls without a mirror", r.take(), "")
		expect(t, "acks", r.acked(static.UID), "[1]")
		r.ref.Tell(statusmsg.Seen{Pod: mirror("h1", "2")})
		expect(t, "calls for the mirror of an older manifest", r.take(), "")
		r.ref.Tell(statusmsg.Seen{Pod: mirror("h2", "3")})
		expect(t, "calls", r.late(), "patch Running")
		r.ref.Tell(statusmsg.Delete{Pod: static})
		r.ref.Tell(statusmsg.Gone{UID: "u-mirror"})
		r.publish(static, 2, v1.PodFailed)
		expect(t, "calls", r.take(), "")
		expect(t, "acks", r.acked(static.UID), "[1 2]")
	})
}

func TestWithoutAnAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		system := spawn.NewSystem(spawn.Config{})
		local := messages.SinkFunc(func(m any) { got = append(got, fmt.Sprintf("%T", m)) })
		ref := system.Root("status", Kind, New(Deps{Runner: runner.New(runner.Config{}), Local: local, Logger: klog.Background()}, Config{}).Producer)
		var acks []uint64
		ref.Tell(statusmsg.Publish{Pod: pod("a", ""), Gen: 7, Reply: messages.SinkFunc(func(m any) { acks = append(acks, m.(podmsg.Acked).Gen) })})
		ref.Tell(statusmsg.Delete{Pod: pod("a", "")})
		synctest.Wait()
		expect(t, "local", fmt.Sprint(got), "[statusmsg.Publish statusmsg.Delete]")
		expect(t, "acks", fmt.Sprint(acks), "[7]")
		if err := system.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
}
