package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/node/admission"
	"github.com/troupe-dev/troupe/actors/node/nodestatus"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// rig is a node actor before a fake API server.
type rig struct {
	mu     sync.Mutex
	client *fake.Clientset
	ref    spawn.Ref
	calls  []string
	fail   func(call string) error
	events *record.FakeRecorder
	told   []any // by the runtime's sink
	ticks  atomic.Int64
}

var machine = nodestatus.Machine{Cores: 2, Memory: 4 << 30, Storage: 10 << 30, Kernel: "6.1", BootID: "boot", MachineID: "m", OSImage: "Debian"}

func newRig(t *testing.T, standalone bool, change func(*Config), objects ...runtime.Object) *rig {
	t.Helper()
	r := &rig{client: fake.NewClientset(objects...), events: record.NewFakeRecorder(100)}
	r.client.PrependReactor("*", "nodes", versioned(r.client.Tracker()))
	r.client.PrependReactor("*", "*", func(a k8stesting.Action) (bool, runtime.Object, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		call := a.GetVerb() + " " + a.GetResource().Resource
		if a.GetVerb() != "watch" && a.GetVerb() != "list" {
			r.calls = append(r.calls, call)
		}
		if r.fail != nil {
			if err := r.fail(call); err != nil {
				return true, nil, err
			}
		}
		return false, nil, nil
	})
	deps := Deps{Client: r.client, Runner: runner.New(runner.Config{CPUs: 2}), Machine: machine, Recorder: r.events, Ref: &v1.ObjectReference{Kind: "Node", Name: "n"},
		Runtime: messages.SinkFunc(r.hear), Pods: messages.SinkFunc(r.hear), Ticks: []messages.Sink{messages.SinkFunc(func(any) { r.ticks.Add(1) })}, Logger: klog.Background()}
	if standalone {
		deps.Client = nil
	}
	config := Config{NodeName: "n", Hostname: "10.0.0.9", Register: true, Labels: map[string]string{"zone": "a"}, Taints: []v1.Taint{{Key: "k", Effect: v1.TaintEffectNoSchedule}},
		ControllerAttachDetach: true, MaxImages: 50, Status: nodestatus.Config{MaxPods: 2, KubeletVersion: "v1.36.3+troupe", Port: 10250}}
	if change != nil {
		change(&config)
	}
	actor, err := New(deps, config)
	if err != nil {
		t.Fatal(err)
	}
	system := spawn.NewSystem(spawn.Config{})
	r.ref = system.Root("node", Kind, actor.Producer)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := system.Stop(ctx); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
	synctest.Wait()
	return r
}

// versioned makes node objects grow older with each write, as an API server does: without versions, a watch that shows an
// earlier state late cannot be told from a change by others.
func versioned(tracker k8stesting.ObjectTracker) k8stesting.ReactionFunc {
	write := k8stesting.ObjectReaction(tracker)
	version := 10
	return func(a k8stesting.Action) (bool, runtime.Object, error) {
		switch a.GetVerb() {
		case "create", "update", "patch":
		default:
			return false, nil, nil
		}
		done, o, err := write(a)
		if err != nil {
			return done, o, err
		}
		node := o.(*v1.Node).DeepCopy()
		version++
		node.ResourceVersion = strconv.Itoa(version)
		return true, node, tracker.Update(a.GetResource(), node, "")
	}
}

func (r *rig) hear(m any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, m)
}

func (r *rig) take() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

func (r *rig) node(t *testing.T) *v1.Node {
	t.Helper()
	synctest.Wait()
	node, err := r.client.Tracker().Get(v1.SchemeGroupVersion.WithResource("nodes"), "", "n")
	if err != nil {
		t.Fatal(err)
	}
	return node.(*v1.Node)
}

func (r *rig) up() {
	r.ref.Tell(nodemsg.RuntimeState{State: nodemsg.RuntimeInfo{Up: true, RuntimeReady: true, NetworkReady: true, Name: "containerd", Version: "2.4.2"}})
	synctest.Wait()
}

func (r *rig) admit(pod *v1.Pod, adopted bool) any {
	var got any
	r.ref.Tell(nodemsg.Admit{Pod: pod, Adopted: adopted, Reply: messages.SinkFunc(func(m any) { got = m })})
	synctest.Wait()
	return got
}

func pod(name, cpu string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID(name)}, Spec: v1.PodSpec{NodeName: "n", Containers: []v1.Container{{
		Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}}}}}}
}

func TestRegistersAndBecomesReadyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, nil)
		node := r.node(t)
		if node.Labels["zone"] != "a" || node.Labels[v1.LabelOSStable] != "linux" || node.Labels[v1.LabelHostname] != "10.0.0.9" || len(node.Spec.Taints) != 1 ||
			node.Annotations[attachDetachAnnotation] != "true" {
			t.Errorf("registered %+v", node)
		}
		if a := node.Status.Addresses; len(a) != 2 || a[0].Address != "10.0.0.9" {
			t.Errorf("addresses %v", a)
		}
		if c, _ := nodestatus.Condition(&node.Status, v1.NodeReady); c.Status != v1.ConditionFalse {
			t.Errorf("ready before the runtime was asked: %+v", c)
		}
		r.up()
		if c, _ := nodestatus.Condition(&r.node(t).Status, v1.NodeReady); c.Status != v1.ConditionTrue {
			t.Errorf("not ready with the runtime: %+v", c)
		}
		lease, err := r.client.CoordinationV1().Leases("kube-node-lease").Get(t.Context(), "n", metav1.GetOptions{})
		if err != nil || *lease.Spec.HolderIdentity != "n" || *lease.Spec.LeaseDurationSeconds != 40 || len(lease.OwnerReferences) != 1 {
			t.Errorf("lease %+v %v", lease, err)
		}
	})
}

// In ten idle minutes the node renews its lease every 10 s and writes its status once or twice, nothing else.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, nil)
		r.up()
		time.Sleep(10 * time.Second)
		r.take()
		r.ticks.Store(0)
		time.Sleep(10 * time.Minute)
		counts := map[string]int{}
		for _, c := range r.take() {
			counts[c]++
		}
		if n := counts["update leases"]; n != 60 {
			t.Errorf("%d renewals", n)
		}
		if n := counts["patch nodes"]; n < 1 || n > 4 {
			t.Errorf("%d status writes", n)
		}
		if len(counts) != 2 || r.ticks.Load() != 60 {
			t.Errorf("calls %v, %d ticks", counts, r.ticks.Load())
		}
	})
}

func TestRegistrationBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		r := &rig{client: fake.NewClientset()}
		attempts := 0
		r.client.PrependReactor("create", "nodes", func(k8stesting.Action) (bool, runtime.Object, error) {
			if !up.Load() {
				attempts++
				return true, nil, errors.New("connection refused")
			}
			return false, nil, nil
		})
		actor, err := New(Deps{Client: r.client, Runner: runner.New(runner.Config{CPUs: 2}), Machine: machine, Logger: klog.Background()},
			Config{NodeName: "n", Hostname: "10.0.0.9", Register: true, Status: nodestatus.Config{MaxPods: 2}})
		if err != nil {
			t.Fatal(err)
		}
		system := spawn.NewSystem(spawn.Config{})
		system.Root("node", Kind, actor.Producer)
		time.Sleep(time.Second)
		synctest.Wait()
		if attempts != 4 { // at once, after 0.1, 0.3 and 0.7 s
			t.Errorf("%d attempts in a second", attempts)
		}
		up.Store(true)
		time.Sleep(7 * time.Second)
		r.node(t)
		if err := system.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
}

func TestExistingNodeIsReconciled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "1", ResourceVersion: "1", Labels: map[string]string{v1.LabelArchStable: "other", "mine": "x"}},
			Status: v1.NodeStatus{NodeInfo: v1.NodeSystemInfo{BootID: "earlier"}, Addresses: []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "1.1.1.1"}},
				Capacity: v1.ResourceList{"example.com/dongle": resource.MustParse("1")}}}
		r := newRig(t, false, nil, old)
		r.up()
		node := r.node(t)
		if node.Labels[v1.LabelArchStable] != arch || node.Labels["mine"] != "x" || node.Labels["zone"] != "" || len(node.Spec.Taints) != 0 {
			t.Errorf("labels %v taints %v", node.Labels, node.Spec.Taints)
		}
		if a := node.Status.Addresses; len(a) != 2 || a[0].Address != "10.0.0.9" {
			t.Errorf("addresses %v", a)
		}
		if _, ok := node.Status.Capacity["example.com/dongle"]; !ok || node.Status.NodeInfo.BootID != "boot" {
			t.Errorf("status %+v", node.Status)
		}
		var reasons []string
		for len(r.events.Events) > 0 {
			reasons = append(reasons, strings.Fields(<-r.events.Events)[1])
		}
		if n := len(slices.DeleteFunc(slices.Clone(reasons), func(s string) bool { return s != "Rebooted" })); n != 1 {
			t.Errorf("events %v", reasons)
		}
	})
}

func TestOverwrittenStatusIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, nil)
		r.up()
		node := r.node(t).DeepCopy()
		for i := range node.Status.Conditions {
			node.Status.Conditions[i].Status = v1.ConditionUnknown
		}
		node.ResourceVersion = "1000"
		if err := r.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("nodes"), node, ""); err != nil {
			t.Fatal(err)
		}
		if c, _ := nodestatus.Condition(&r.node(t).Status, v1.NodeReady); c.Status != v1.ConditionTrue {
			t.Errorf("not mended: %+v", c)
		}
	})
}

func TestPodCIDRGoesToTheRuntimeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, nil, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "1"}, Spec: v1.NodeSpec{PodCIDRs: []string{"10.1.0.0/24", "fd00::/64"}}})
		r.up()
		time.Sleep(time.Minute)
		r.mu.Lock()
		defer r.mu.Unlock()
		if got := fmt.Sprint(r.told); got != "[{10.1.0.0/24,fd00::/64}]" {
			t.Errorf("the runtime was told %s", got)
		}
	})
}

func TestFailedLeaseIsRetriedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, nil)
		r.up()
		time.Sleep(15 * time.Second)
		r.mu.Lock()
		r.fail = func(call string) error {
			if call == "update leases" {
				return errors.New("no connection")
			}
			return nil
		}
		r.calls = nil
		r.mu.Unlock()
		time.Sleep(12 * time.Second)
		n := 0
		for _, c := range r.take() {
			if c == "update leases" {
				n++
			}
		}
		if n < 3 {
			t.Errorf("%d attempts", n)
		}
		r.mu.Lock()
		r.fail = nil
		r.mu.Unlock()
		time.Sleep(8 * time.Second)
		lease, err := r.client.CoordinationV1().Leases("kube-node-lease").Get(t.Context(), "n", metav1.GetOptions{})
		if err != nil || time.Since(lease.Spec.RenewTime.Time) > 10*time.Second {
			t.Errorf("lease %v %v", lease.Spec.RenewTime, err)
		}
	})
}

func TestAdmission(t *testing.T) {
	for _, standalone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, standalone, nil)
			r.up()
			if got := r.admit(pod("adopted", "5"), true); !isAdmitted(got) {
				t.Errorf("adopted: %v", got)
			}
			want := podmsg.Refused{Reason: "OutOfcpu", Message: "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000, used: 5000, capacity: 2000"}
			if got := r.admit(pod("a", "1"), false); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
			if got := r.admit(pod("adopted", "5"), false); !isAdmitted(got) {
				t.Errorf("asked again: %v", got)
			}
			r.ref.Tell(nodemsg.Release{UID: "adopted"})
			if got := r.admit(pod("a", "1"), false); !isAdmitted(got) {
				t.Errorf("after the release: %v", got)
			}
			if got := r.admit(pod("b", "0"), false); !isAdmitted(got) {
				t.Errorf("the second pod: %v", got)
			}
			if got, ok := r.admit(pod("c", "0"), false).(podmsg.Refused); !ok || got.Reason != "OutOfpods" {
				t.Errorf("the third pod: %v", got)
			}
		})
	}
}

// On a node with swap whose kernel cannot keep volumes in memory out of it, an event says so once.
func TestVolumesMaySwap(t *testing.T) {
	had := machine
	defer func() { machine = had }()
	for swap, want := range map[model.Bytes]int{0: 0, 1 << 30: 1} {
		machine.Swap = swap
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, false, nil)
			r.up()
			n := 0
			for len(r.events.Events) > 0 {
				if strings.Contains(<-r.events.Events, "Warning PossibleMemoryBackedVolumesOnDisk The tmpfs noswap option") {
					n++
				}
			}
			if n != want {
				t.Errorf("swap %d: told %d times", swap, n)
			}
		})
	}
}

// A pod that needs what the node does not declare gets no place, unless it runs already.
func TestDeclaredFeatures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := admission.DiscoverFeatures(func(string) bool { return false }, version.MustParseGeneric("1.36"))
		r := newRig(t, false, func(c *Config) { c.Features = none })
		r.up()
		p := pod("a", "0")
		p.Spec.Containers[0].RestartPolicyRules = []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleActionRestartAllContainers}}
		want := podmsg.Refused{Reason: "PodFeatureUnsupported", Message: "Pod was rejected: Pod requires node features that are not available: RestartAllContainersOnContainerExits"}
		if got := r.admit(p, false); got != want {
			t.Errorf("got %v", got)
		}
		if got := r.admit(p, true); !isAdmitted(got) {
			t.Errorf("adopted: %v", got)
		}
	})
}

// A label that the scheduler has seen and the watch has not must not refuse a pod.
func TestAffinityIsCheckedAgainstAFreshNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, nil)
		r.up()
		p := pod("a", "0")
		p.Spec.NodeSelector = map[string]string{"new": "label"}
		if got, ok := r.admit(p, false).(podmsg.Refused); !ok || got.Reason != admission.NodeAffinity {
			t.Errorf("got %v", got)
		}
		r.client.PrependReactor("get", "nodes", func(k8stesting.Action) (bool, runtime.Object, error) {
			return true, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "fresh", ResourceVersion: "99", Labels: map[string]string{"new": "label"}}}, nil
		})
		if got := r.admit(p, false); !isAdmitted(got) {
			t.Errorf("got %v", got)
		}
	})
}

func TestTicksOfOneNodeAreAligned(t *testing.T) {
	s := &shell{Actor: &Actor{config: Config{NodeName: "n", UpdateFrequency: 10 * time.Second}}}
	base := time.Unix(1e9, 0)
	first := base.Add(s.untilTick(base))
	for _, late := range []time.Duration{0, time.Millisecond, 3 * time.Second} {
		if d := s.untilTick(first.Add(late)); d != 10*time.Second-late {
			t.Errorf("%s after a tick the next is in %s", late, d)
		}
	}
}

func isAdmitted(answer any) bool {
	_, ok := answer.(podmsg.Admitted)
	return ok
}
