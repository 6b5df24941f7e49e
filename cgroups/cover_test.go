package cgroups

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"
)

// Neither of the two needs more than the cover has, and a cover of equals is the same.
func TestCover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := func(name string) v1.ResourceList {
			out := v1.ResourceList{}
			if n := rapid.Int64Range(0, 4000).Draw(t, name+" cpu"); n > 0 {
				out["cpu"] = *resource.NewMilliQuantity(n, resource.DecimalSI)
			}
			if n := rapid.Int64Range(0, 1<<30).Draw(t, name+" memory"); n > 1<<28 {
				out["memory"] = *resource.NewQuantity(n, resource.BinarySI)
			}
			return out
		}
		pod := func(name string) *v1.Pod {
			p := &v1.Pod{}
			p.Status.QOSClass = v1.PodQOSBurstable
			for range rapid.IntRange(1, 3).Draw(t, name+" containers") {
				p.Spec.Containers = append(p.Spec.Containers, v1.Container{Resources: v1.ResourceRequirements{Requests: list(name), Limits: list(name)}})
			}
			return p
		}
		cfg := PodConfig{EnforceCPULimits: true}
		a, b := PodResources(pod("a"), cfg), PodResources(pod("b"), cfg)
		c := Cover(a, b)
		for _, d := range []Desired{a, b} {
			if *c.Resources.CPU.Shares < *d.Resources.CPU.Shares {
				t.Fatalf("shares %d below %d", *c.Resources.CPU.Shares, *d.Resources.CPU.Shares)
			}
			if c.Resources.CPU.Quota != nil && (d.Resources.CPU.Quota == nil || cpuRatio(c.Resources.CPU) < cpuRatio(d.Resources.CPU)) {
				t.Fatalf("quota %d does not cover %v", *c.Resources.CPU.Quota, d.Resources.CPU.Quota)
			}
			if c.Resources.Memory != nil && (d.Resources.Memory == nil || limit(c.Resources.Memory.Limit) < limit(d.Resources.Memory.Limit)) {
				t.Fatal("the memory limit does not cover both")
			}
		}
		if same := Cover(a, a); *same.Resources.CPU.Shares != *a.Resources.CPU.Shares || (same.Resources.Memory == nil) != (a.Resources.Memory == nil) {
			t.Fatal("the cover of one is another")
		}
	})
}
