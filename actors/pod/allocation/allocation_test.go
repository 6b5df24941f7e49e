package allocation

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/troupe-dev/troupe/messages/model"
)

func list(cpu, memory string) v1.ResourceList {
	out := v1.ResourceList{}
	if cpu != "" {
		out["cpu"] = resource.MustParse(cpu)
	}
	if memory != "" {
		out["memory"] = resource.MustParse(memory)
	}
	return out
}

func podOf(requests, limits v1.ResourceList) *v1.Pod {
	p := &v1.Pod{}
	p.Spec.InitContainers = []v1.Container{{Name: "i"}}
	p.Spec.Containers = []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{Requests: requests, Limits: limits}}}
	return p
}

func TestApply(t *testing.T) {
	small, large := podOf(list("1", "1Gi"), nil), podOf(list("2", "1Gi"), nil)
	if Apply(large, nil) != large || Apply(large, Of(large)) != large || Apply(large, Of(podOf(list("2000m", "1024Mi"), v1.ResourceList{}))) != large {
		t.Error("a pod that fits was copied")
	}
	got := Apply(large, Of(small))
	if q := got.Spec.Containers[0].Resources.Requests["cpu"]; q.String() != "1" {
		t.Errorf("applied %s", q.String())
	}
	if q := large.Spec.Containers[0].Resources.Requests["cpu"]; q.String() != "2" {
		t.Error("the object that was passed in was changed")
	}
	if !Increases(large, Of(small)) || Increases(small, Of(large)) || Increases(small, Of(small)) {
		t.Error("what increases is wrong")
	}
	stranger := podOf(list("5", ""), nil)
	stranger.Spec.Containers[0].Name = "other"
	if Apply(stranger, Of(small)) != stranger {
		t.Error("a container that is not in the allocation lost its resources")
	}
}

func TestPodLevelLimitStandsIn(t *testing.T) {
	level := &v1.ResourceRequirements{Limits: list("4", "4Gi")}
	c := v1.ResourceRequirements{Requests: list("1", "1Gi"), Limits: list("2", "")}
	got := Effective(level, &c)
	if got.Limits.Cpu().String() != "2" || got.Limits.Memory().String() != "4Gi" || got.Requests.Memory().String() != "1Gi" {
		t.Errorf("%v", got)
	}
	if _, has := c.Limits["memory"]; has {
		t.Error("the container's own limits were changed")
	}
}

// A lost record is rebuilt from what the API says that runs.
func TestRebuild(t *testing.T) {
	p := podOf(list("3", "3Gi"), list("4", "4Gi"))
	p.Status.ContainerStatuses = []v1.ContainerStatus{{
		Name: "c", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}, AllocatedResources: list("2", "2Gi"),
		Resources: &v1.ResourceRequirements{Requests: list("1", "2Gi"), Limits: list("2", "2Gi")},
	}}
	allocated, actuated := Rebuild(p)
	for name, a := range map[string]*model.Allocation{"allocated": allocated, "actuated": actuated} {
		r := a.Containers["c"]
		if r.Requests.Cpu().String() != "2" || r.Requests.Memory().String() != "2Gi" || r.Limits.Cpu().String() != "2" || r.Limits.Memory().String() != "2Gi" {
			t.Errorf("%s: %v", name, r)
		}
	}
	p.Status.ContainerStatuses[0].State = v1.ContainerState{}
	if allocated, _ := Rebuild(p); !Equal(allocated, Of(p)) {
		t.Errorf("nothing runs: %v", allocated)
	}
}

// The texts are parsed by readers of the kubelet's events; the wanted ones are its own.
func TestText(t *testing.T) {
	p := &v1.Pod{}
	p.Spec.Containers = []v1.Container{{Name: "c0", Resources: v1.ResourceRequirements{Requests: list("100m", "100"), Limits: list("100m", "100")}}}
	for what, want := range map[string]string{
		"Pod resize started":  `Pod resize started: {"containers":[{"name":"c0","resources":{"limits":{"cpu":"100m","memory":"100"},"requests":{"cpu":"100m","memory":"100"}}}],"generation":1}`,
		"Pod resize Deferred": `Pod resize Deferred: {"containers":[{"name":"c0","resources":{"limits":{"cpu":"100m","memory":"100"},"requests":{"cpu":"100m","memory":"100"}}}],"generation":1,"error":"Node didn't have enough resource: memory"}`,
	} {
		failure := ""
		if what == "Pod resize Deferred" {
			failure = "Node didn't have enough resource: memory"
		}
		if got := Text(what, p, 1, failure); got != want {
			t.Error(got)
		}
	}
	p = &v1.Pod{}
	p.Spec.InitContainers = []v1.Container{{Name: "c0", Resources: v1.ResourceRequirements{Requests: list("100m", ""), Limits: list("200m", "")}}}
	p.Spec.Containers = []v1.Container{{Name: "c1"}}
	if got, want := Text("Pod resize completed", p, 3, ""), `Pod resize completed: {"initContainers":[{"name":"c0","resources":{"limits":{"cpu":"200m"},"requests":{"cpu":"100m"}}}],"containers":[{"name":"c1","resources":{}}],"generation":3}`; got != want {
		t.Error(got)
	}
}
