package podstatus

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/actors/pod/resizeplan"
	"github.com/troupe-dev/troupe/messages/model"
)

func amount(cpu, memory string) v1.ResourceList {
	return v1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse(memory)}
}

// resizing is a running pod: 200m/64Mi are promised, and the runtime shows what it has.
func resizing(l *runtimeapi.LinuxContainerResources) *world {
	w := newWorld(v1.RestartPolicyAlways, "c")
	w.pod.Status.Phase, w.pod.Status.QOSClass = v1.PodRunning, v1.PodQOSBurstable
	w.pod.Spec.Containers[0].Resources = v1.ResourceRequirements{Requests: amount("200m", "64Mi"), Limits: amount("400m", "128Mi")}
	w.s.Resize.Given = map[string]v1.ResourceRequirements{"c": {Requests: amount("100m", "32Mi"), Limits: amount("200m", "64Mi")}}
	w.view("c", model.KindApp, model.StageUp, func(v *model.ContainerView) {
		v.Started, v.Ready = true, true
		v.Current = &model.Container{ID: "1", Sandbox: "b1", State: model.ContainerRunning, Detailed: true, StartedAt: t0}
		if l != nil {
			v.Current.Resources = &runtimeapi.ContainerResources{Linux: l}
		}
	})
	return w
}

func (w *world) status() v1.PodStatus { return Build(&w.s, node, &w.prev, t0) }

func wantList(t *testing.T, name string, got v1.ResourceList, cpu, memory string) {
	t.Helper()
	if got.Cpu().String() != cpu || got.Memory().String() != memory {
		t.Errorf("%s: %s and %s, want %s and %s", name, got.Cpu(), got.Memory(), cpu, memory)
	}
}

func TestPromisedAndActualResources(t *testing.T) {
	for name, l := range map[string]*runtimeapi.LinuxContainerResources{
		"as the runtime says": {CpuShares: 102, CpuQuota: 20000, CpuPeriod: 100000, MemoryLimitInBytes: 64 << 20}, "the runtime says nothing": nil,
	} {
		st := resizing(l).status()
		c := st.ContainerStatuses[0]
		wantList(t, name+", allocated", c.AllocatedResources, "200m", "64Mi")
		wantList(t, name+", requests", c.Resources.Requests, "100m", "32Mi")
		wantList(t, name+", limits", c.Resources.Limits, "200m", "64Mi")
		wantList(t, name+", pod allocated", st.AllocatedResources, "200m", "64Mi")
	}
}

func TestTinyAmountsAreShownAsAsked(t *testing.T) {
	w := resizing(&runtimeapi.LinuxContainerResources{CpuShares: 2, CpuQuota: 1000, CpuPeriod: 100000})
	w.pod.Spec.Containers[0].Resources = v1.ResourceRequirements{Requests: v1.ResourceList{"cpu": resource.MustParse("1m")}, Limits: v1.ResourceList{"cpu": resource.MustParse("5m")}}
	w.s.Resize.Given = nil
	r := w.status().ContainerStatuses[0].Resources
	if r.Requests.Cpu().String() != "1m" || r.Limits.Cpu().String() != "5m" {
		t.Errorf("%v", r)
	}
}

// What the pod as a whole has is what its cgroup was made from, which covers old and new while a resize is under way.
func TestPodLevelResources(t *testing.T) {
	w := resizing(nil)
	larger := w.pod.DeepCopy()
	larger.Spec.Containers[0].Resources = v1.ResourceRequirements{Requests: amount("1", "1Gi"), Limits: amount("2", "2Gi")}
	w.s.CgroupHas = podplan.CgroupValues{Pod: w.pod, AtLeast: larger}
	st := w.status()
	wantList(t, "limits under way", st.Resources.Limits, "2", "2Gi")
	if st.Resources.Requests.Cpu().String() != "1" {
		t.Errorf("requests under way %v", st.Resources.Requests)
	}
	w.s.CgroupHas.AtLeast = nil
	wantList(t, "limits when settled", w.status().Resources.Limits, "400m", "128Mi")
}

func TestResizeConditions(t *testing.T) {
	w := resizing(nil)
	w.s.Resize.Pending = &resizeplan.Condition{Reason: v1.PodReasonDeferred, Message: "no room", Generation: 3}
	w.s.Resize.Progress = &resizeplan.Condition{Reason: v1.PodReasonError, Message: "no", Generation: 2}
	st := w.status()
	for typ, want := range map[v1.PodConditionType]v1.PodCondition{
		v1.PodResizePending: {Reason: v1.PodReasonDeferred, Message: "no room", ObservedGeneration: 3}, v1.PodResizeInProgress: {Reason: v1.PodReasonError, Message: "no", ObservedGeneration: 2},
	} {
		c := condition(st.Conditions, typ)
		if c == nil || c.Status != v1.ConditionTrue || c.Reason != want.Reason || c.Message != want.Message || c.ObservedGeneration != want.ObservedGeneration {
			t.Errorf("%s: %+v", typ, c)
		}
	}
	w.prev.Phase = v1.PodFailed
	if st := w.status(); condition(st.Conditions, v1.PodResizePending) != nil || condition(st.Conditions, v1.PodResizeInProgress) != nil {
		t.Error("a pod that has ended still resizes")
	}
}

// A reader takes an observed generation without a condition for a resize that was carried out.
func TestGenerationIsNotObservedBeforeTheNodeHasAnswered(t *testing.T) {
	w := resizing(nil)
	w.prev.ObservedGeneration = 2
	w.s.Resize.Waiting = true
	if st := w.status(); st.ObservedGeneration != 2 || condition(st.Conditions, v1.PodReady).ObservedGeneration != 2 {
		t.Errorf("observed %d", st.ObservedGeneration)
	}
	w.s.Resize.Waiting = false
	if st := w.status(); st.ObservedGeneration != 3 {
		t.Errorf("observed %d", st.ObservedGeneration)
	}
}
