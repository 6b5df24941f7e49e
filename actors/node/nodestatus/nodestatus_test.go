package nodestatus

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
)

var (
	config = Config{MaxPods: 110, KubeletVersion: "v1.36.3+troupe", Port: 10250, EvictionHard: map[string]string{"memory.available": "100Mi", "nodefs.available": "10%"},
		KubeReserved: v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m")}, SystemReserved: v1.ResourceList{v1.ResourceCPU: resource.MustParse("200m"), v1.ResourceMemory: resource.MustParse("1Gi")}}
	box = Machine{Cores: 4, Memory: 8 << 30, Storage: 100 << 30, HugePages: map[model.Bytes]int64{2 << 20: 512}, MachineID: "m", SystemUUID: "s", BootID: "b", Kernel: "6.1", OSImage: "Debian", Swap: 1 << 30}
	up  = &nodemsg.RuntimeInfo{Up: true, RuntimeReady: true, NetworkReady: true, Name: "containerd", Version: "2.4.2", SupplementalGroupsPolicy: true, Handlers: []v1.NodeRuntimeHandler{{Name: "runc"}}}
	t0  = time.Unix(1e9, 0)
)

func TestCapacity(t *testing.T) {
	s := &v1.NodeStatus{
		Capacity:    v1.ResourceList{"example.com/dongle": resource.MustParse("3"), "hugepages-1Gi": resource.MustParse("1Gi")},
		Allocatable: v1.ResourceList{"example.com/dongle": resource.MustParse("2"), "hugepages-1Gi": resource.MustParse("1Gi")},
	}
	Capacity(s, config, box)
	got := map[string][2]string{}
	for name, q := range s.Capacity {
		a := s.Allocatable[name]
		got[string(name)] = [2]string{q.String(), a.String()}
	}
	want := map[string][2]string{
		"cpu":                {"4", "3700m"},
		"memory":             {"8Gi", "6044Mi"}, // less 1Gi, 100Mi and the huge pages
		"ephemeral-storage":  {"100Gi", "96636764000"},
		"pods":               {"110", "110"},
		"hugepages-2Mi":      {"1Gi", "1Gi"},
		"example.com/dongle": {"3", "2"},
	}
	storage := s.Allocatable[v1.ResourceEphemeralStorage]
	want["ephemeral-storage"] = [2]string{"100Gi", storage.String()}
	if left := storage.Value(); left < 96636764000-1000 || left > 96636764160+1000 {
		t.Errorf("storage %d", left)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	few := config
	few.PodsPerCore = 10
	Capacity(s, few, box)
	if s.Allocatable.Pods().Value() != 40 {
		t.Errorf("pods per core: %s", s.Allocatable.Pods())
	}
	greedy := config
	greedy.KubeReserved = v1.ResourceList{v1.ResourceCPU: resource.MustParse("99")}
	Capacity(s, greedy, box)
	if !s.Allocatable.Cpu().IsZero() {
		t.Errorf("more is reserved than there is: %s", s.Allocatable.Cpu())
	}
}

func TestApply(t *testing.T) {
	s := &v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: "Foreign", Status: v1.ConditionTrue}}}
	events := Apply(s, config, Facts{Now: t0, Machine: box, Addresses: []v1.NodeAddress{{Type: v1.NodeHostName, Address: "n"}}})
	if want := []string{"NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"}; !slices.Equal(events, want) {
		t.Errorf("events %v", events)
	}
	ready, _ := Condition(s, v1.NodeReady)
	if ready.Status != v1.ConditionFalse || ready.Reason != "KubeletNotReady" || ready.Message != "container runtime status check may not have completed yet" {
		t.Errorf("ready %+v", ready)
	}
	events = Apply(s, config, Facts{Now: t0.Add(time.Second), Machine: box, Runtime: up})
	if !slices.Equal(events, []string{"NodeReady"}) {
		t.Errorf("events %v", events)
	}
	order := []v1.NodeConditionType{}
	for _, c := range s.Conditions {
		order = append(order, c.Type)
	}
	if want := []v1.NodeConditionType{"Foreign", v1.NodeMemoryPressure, v1.NodeDiskPressure, v1.NodePIDPressure, v1.NodeReady}; !slices.Equal(order, want) {
		t.Errorf("conditions %v", order)
	}
	if i := s.NodeInfo; i.ContainerRuntimeVersion != "containerd://2.4.2" || i.KubeletVersion != "v1.36.3+troupe" || *i.Swap.Capacity != 1<<30 || i.OperatingSystem != "linux" || i.Architecture == "" || i.BootID != "b" {
		t.Errorf("info %+v", i)
	}
	if s.DaemonEndpoints.KubeletEndpoint.Port != 10250 || !*s.Features.SupplementalGroupsPolicy || s.RuntimeHandlers[0].Name != "runc" || s.Addresses[0].Address != "n" {
		t.Errorf("status %+v", s)
	}
}

func TestReadyReasons(t *testing.T) {
	for want, f := range map[string]Facts{
		"kubelet is posting ready status":                    {Runtime: up},
		"container runtime is down":                          {Runtime: &nodemsg.RuntimeInfo{}},
		"container runtime not ready: x":                     {Runtime: &nodemsg.RuntimeInfo{Up: true, Reason: "x"}},
		"container runtime network not ready: no CNI":        {Runtime: &nodemsg.RuntimeInfo{Up: true, RuntimeReady: true, Reason: "no CNI"}},
		"node is shutting down":                              {Runtime: up, NotReady: []string{"node is shutting down"}},
		"[container runtime is down, node is shutting down]": {Runtime: &nodemsg.RuntimeInfo{}, NotReady: []string{"node is shutting down"}},
	} {
		s := &v1.NodeStatus{}
		Apply(s, config, f)
		if got, _ := Condition(s, v1.NodeReady); got.Message != want {
			t.Errorf("message %q, want %q", got.Message, want)
		}
	}
}

func TestPressure(t *testing.T) {
	s := &v1.NodeStatus{}
	Apply(s, config, Facts{Now: t0, Runtime: up, Machine: box})
	before, _ := Condition(s, v1.NodeMemoryPressure)
	later := t0.Add(time.Minute)
	events := Apply(s, config, Facts{Now: later, Runtime: up, Machine: box, Pressure: Pressure{Memory: true, Disk: true, PID: true}})
	if want := []string{"NodeHasInsufficientMemory", "NodeHasDiskPressure", "NodeHasInsufficientPID"}; !slices.Equal(events, want) {
		t.Errorf("events %v", events)
	}
	c, _ := Condition(s, v1.NodeMemoryPressure)
	if before.Status != v1.ConditionFalse || c.Status != v1.ConditionTrue || c.Reason != "KubeletHasInsufficientMemory" || !c.LastTransitionTime.Time.Equal(later) {
		t.Errorf("%+v → %+v", before, c)
	}
	if events := Apply(s, config, Facts{Now: later.Add(time.Minute), Runtime: up, Machine: box, Pressure: Pressure{Memory: true, Disk: true, PID: true}}); len(events) != 0 {
		t.Errorf("the same again: %v", events)
	}
	if c, _ := Condition(s, v1.NodeMemoryPressure); !c.LastTransitionTime.Time.Equal(later) || !c.LastHeartbeatTime.Time.Equal(later.Add(time.Minute)) {
		t.Errorf("times %+v", c)
	}
}

func TestChanged(t *testing.T) {
	a := &v1.NodeStatus{}
	Apply(a, config, Facts{Now: t0, Runtime: up, Machine: box})
	b := a.DeepCopy()
	Apply(b, config, Facts{Now: t0.Add(time.Hour), Runtime: up, Machine: box})
	if Changed(a, b) {
		t.Error("a heartbeat is not a change")
	}
	b.Conditions[0].LastTransitionTime = metav1.NewTime(t0.Add(time.Second))
	if !Changed(a, b) {
		t.Error("a transition is a change")
	}
	b = a.DeepCopy()
	b.Images = []v1.ContainerImage{{Names: []string{"x"}}}
	if !Changed(a, b) {
		t.Error("an image is a change")
	}
}

func TestImages(t *testing.T) {
	got := Images([]model.ImageInfo{{ID: "a", Size: 1, RepoTags: []string{"a:1"}}, {ID: "b", Size: 9, RepoDigests: []string{"1", "2", "3", "4"}, RepoTags: []string{"5", "6"}}, {ID: "c", Size: 5}}, 2)
	if len(got) != 2 || got[0].SizeBytes != 9 || len(got[0].Names) != 5 || got[0].Names[4] != "5" || got[1].SizeBytes != 5 {
		t.Errorf("%+v", got)
	}
	if Images(nil, 50) == nil {
		t.Error("no images and unknown images must differ")
	}
}
