package statusplan

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"pgregory.net/rapid"
)

var texts = rapid.SampledFrom([]string{"", "a", "b", "quo\"ted \\ \n text", "ümläut"})
var times = rapid.Custom(func(t *rapid.T) metav1.Time {
	if n := rapid.Int64Range(0, 3).Draw(t, "time"); n > 0 {
		return metav1.Unix(1e9+n, 0)
	}
	return metav1.Time{}
})

var amounts = rapid.Custom(func(t *rapid.T) v1.ResourceList {
	var list v1.ResourceList
	for _, r := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, "example.com/dongle"} {
		if n := rapid.Int64Range(0, 3).Draw(t, string(r)); n > 0 {
			if list == nil {
				list = v1.ResourceList{}
			}
			list[r] = *resource.NewMilliQuantity(n*500, resource.DecimalSI)
		}
	}
	return list
})

func statuses() *rapid.Generator[*v1.PodStatus] {
	types := []v1.PodConditionType{v1.PodReady, v1.PodScheduled, v1.PodInitialized, v1.DisruptionTarget, "example.com/gate"}
	return rapid.Custom(func(t *rapid.T) *v1.PodStatus {
		s := &v1.PodStatus{
			Phase:   rapid.SampledFrom([]v1.PodPhase{"", v1.PodPending, v1.PodRunning, v1.PodFailed}).Draw(t, "phase"),
			Message: texts.Draw(t, "message"), Reason: texts.Draw(t, "reason"), HostIP: texts.Draw(t, "hostIP"), PodIP: texts.Draw(t, "podIP"),
			ObservedGeneration: rapid.Int64Range(0, 2).Draw(t, "gen"),
		}
		if rapid.Bool().Draw(t, "started") {
			at := times.Draw(t, "start")
			if !at.IsZero() {
				s.StartTime = &at
			}
		}
		for _, typ := range rapid.Permutation(types).Draw(t, "types")[:rapid.IntRange(0, len(types)).Draw(t, "n")] {
			s.Conditions = append(s.Conditions, v1.PodCondition{Type: typ, Status: rapid.SampledFrom([]v1.ConditionStatus{"True", "False"}).Draw(t, "status"),
				Reason: texts.Draw(t, "creason"), Message: texts.Draw(t, "cmessage"), LastTransitionTime: times.Draw(t, "ltt"), LastProbeTime: times.Draw(t, "lpt"),
				ObservedGeneration: rapid.Int64Range(0, 2).Draw(t, "cgen")})
		}
		for _, ip := range rapid.Permutation([]string{"10.0.0.1", "fd00::1"}).Draw(t, "ips")[:rapid.IntRange(0, 2).Draw(t, "nips")] {
			s.PodIPs = append(s.PodIPs, v1.PodIP{IP: ip})
			s.HostIPs = append(s.HostIPs, v1.HostIP{IP: ip})
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "containers") {
			c := v1.ContainerStatus{Name: fmt.Sprint("c", i), Ready: rapid.Bool().Draw(t, "ready"), RestartCount: rapid.Int32Range(0, 2).Draw(t, "restarts")}
			if rapid.Bool().Draw(t, "running") {
				c.State.Running = &v1.ContainerStateRunning{StartedAt: times.Draw(t, "startedAt")}
			} else {
				c.State.Waiting = &v1.ContainerStateWaiting{Reason: texts.Draw(t, "wreason")}
			}
			s.ContainerStatuses = append(s.ContainerStatuses, c)
		}
		s.AllocatedResources = amounts.Draw(t, "allocated")
		switch rapid.IntRange(0, 9).Draw(t, "resources") {
		case 0, 1:
		case 2:
			s.Resources = &v1.ResourceRequirements{Claims: []v1.ResourceClaim{{Name: "claim"}}}
		default:
			s.Resources = &v1.ResourceRequirements{Requests: amounts.Draw(t, "requests"), Limits: amounts.Draw(t, "limits")}
		}
		return s
	})
}

// apply does what the API server does with a strategic merge patch.
func apply(t interface{ Fatal(...any) }, from *v1.PodStatus, body []byte) *v1.PodStatus {
	old, err := json.Marshal(v1.Pod{Status: *from})
	if err != nil {
		t.Fatal(err)
	}
	merged, err := strategicpatch.StrategicMergePatch(old, body, v1.Pod{})
	if err != nil {
		t.Fatal(err, string(body))
	}
	var pod v1.Pod
	if err := json.Unmarshal(merged, &pod); err != nil {
		t.Fatal(err)
	}
	return &pod.Status
}

// The hand-built patch leads where the library's patch leads, and is empty exactly when nothing differs.
func TestPatchLeadsToTheWantedStatus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := statuses().Draw(t, "from"), statuses().Draw(t, "to")
		body, err := Patch("uid-1", from, to)
		if err != nil {
			t.Fatal(err)
		}
		if body == nil {
			if !equality.Semantic.DeepEqual(from, to) {
				t.Fatalf("no patch between different statuses:\n%s", cmp.Diff(from, to))
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("not JSON: %s", body)
		}
		oracle, err := generic("uid-1", from, to)
		if err != nil {
			t.Fatal(err)
		}
		got, want := apply(t, from, body), apply(t, from, oracle)
		if !equality.Semantic.DeepEqual(want, to) {
			t.Fatal("the oracle itself fails")
		}
		if !equality.Semantic.DeepEqual(got, want) {
			t.Fatalf("patch %s\noracle %s\n(-want +got)\n%s", body, oracle, cmp.Diff(want, got))
		}
	})
}

func TestPatchOfNothing(t *testing.T) {
	s := &v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{{Type: "x"}}, PodIPs: []v1.PodIP{{IP: "a"}}}
	if body, err := Patch("u", s, s.DeepCopy()); body != nil || err != nil {
		t.Errorf("%s %v", body, err)
	}
}

func TestPatchCarriesTheUID(t *testing.T) {
	body, err := Patch("u-1", &v1.PodStatus{}, &v1.PodStatus{Phase: v1.PodRunning})
	if want := `{"metadata":{"uid":"u-1"},"status":{"phase":"Running"}}`; err != nil || string(body) != want {
		t.Errorf("%s %v, want %s", body, err, want)
	}
}

func running() (from, to *v1.PodStatus) {
	now := metav1.Unix(1e9, 0)
	from = &v1.PodStatus{Phase: v1.PodPending, QOSClass: v1.PodQOSBestEffort, Conditions: []v1.PodCondition{{Type: v1.PodScheduled, Status: "True", LastTransitionTime: now}}}
	to = &v1.PodStatus{Phase: v1.PodRunning, QOSClass: v1.PodQOSBestEffort, HostIP: "10.0.0.1", HostIPs: []v1.HostIP{{IP: "10.0.0.1"}}, PodIP: "10.1.0.1", PodIPs: []v1.PodIP{{IP: "10.1.0.1"}}, StartTime: &now, ObservedGeneration: 1}
	for _, t := range []v1.PodConditionType{v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled} {
		to.Conditions = append(to.Conditions, v1.PodCondition{Type: t, Status: "True", LastTransitionTime: now, ObservedGeneration: 1})
	}
	yes := true
	to.ContainerStatuses = []v1.ContainerStatus{{Name: "app", Ready: true, Started: &yes, Image: "web:1", ImageID: "sha256:0123456789", ContainerID: "containerd://0123456789",
		State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: now}}}}
	return from, to
}

func BenchmarkPatch(b *testing.B) {
	from, to := running()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Patch("u", from, to); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGeneric(b *testing.B) {
	from, to := running()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := generic("u", from, to); err != nil {
			b.Fatal(err)
		}
	}
}
