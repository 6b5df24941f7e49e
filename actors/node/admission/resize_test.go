package admission

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/troupe-dev/troupe/actors/pod/allocation"
	"github.com/troupe-dev/troupe/messages/model"
)

func resizing(name string, from, to string, edit ...func(*v1.Pod)) Pending {
	p := &v1.Pod{}
	p.Name, p.UID = name, types.UID(name)
	p.Status.QOSClass = v1.PodQOSBurstable
	of := func(cpu string) []v1.Container {
		return []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse("1Mi")}}}}
	}
	p.Spec.Containers = of(from)
	a := allocation.Of(p)
	p.Spec.Containers = of(to)
	for _, e := range edit {
		e(p)
	}
	return Pending{Pod: p, Allocated: a}
}

func ofPriority(n int32) func(*v1.Pod) { return func(p *v1.Pod) { p.Spec.Priority = &n } }
func asGuaranteed(p *v1.Pod)           { p.Status.QOSClass = v1.PodQOSGuaranteed }

func TestOrder(t *testing.T) {
	at := func(p Pending, s int64) Pending { p.Since = time.Unix(s, 0); return p }
	list := []Pending{
		resizing("new", "1", "2"), at(resizing("late", "1", "2"), 20), at(resizing("early", "1", "2"), 10), resizing("guaranteed", "1", "2", asGuaranteed),
		resizing("important", "1", "2", ofPriority(5)), resizing("most important", "1", "2", ofPriority(7)), resizing("shrinks", "2", "1", ofPriority(-1)),
	}
	Order(list)
	var got []string
	for _, p := range list {
		got = append(got, p.Pod.Name)
	}
	if s := strings.Join(got, ", "); s != "shrinks, most important, important, guaranteed, early, late, new" {
		t.Error(s)
	}
}

func TestInfeasible(t *testing.T) {
	memory := func(q string) func(*v1.Pod) {
		return func(p *v1.Pod) { p.Spec.Containers[0].Resources.Requests["memory"] = resource.MustParse(q) }
	}
	restarts := func(p *v1.Pod) {
		p.Spec.Containers[0].ResizePolicy = []v1.ContainerResizePolicy{{ResourceName: "memory", RestartPolicy: v1.RestartContainer}}
	}
	for name, c := range map[string]struct {
		rules ResizeRules
		p     Pending
		want  string
	}{
		"free":                     {ResizeRules{}, resizing("p", "1", "2", asGuaranteed), ""},
		"static, burstable":        {ResizeRules{StaticCPU: true, StaticMemory: true}, resizing("p", "1", "2"), ""},
		"static cpu":               {ResizeRules{StaticCPU: true}, resizing("p", "1", "2", asGuaranteed), `Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"`},
		"static cpu, only memory":  {ResizeRules{StaticCPU: true}, resizing("p", "1", "1", asGuaranteed, memory("2Mi")), ""},
		"static memory":            {ResizeRules{StaticMemory: true}, resizing("p", "1", "1", asGuaranteed, memory("2Mi")), `Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"`},
		"swap":                     {ResizeRules{Swap: true}, resizing("p", "1", "1", memory("2Mi")), "In-place resize of containers with swap is not supported."},
		"swap, critical":           {ResizeRules{Swap: true}, resizing("p", "1", "1", memory("2Mi"), ofPriority(2_000_000_000)), ""},
		"swap, cpu":                {ResizeRules{Swap: true}, resizing("p", "1", "2"), ""},
		"swap, restarts on memory": {ResizeRules{Swap: true}, resizing("p", "1", "1", memory("2Mi"), restarts), ""},
	} {
		got := ""
		if r := c.rules.CheckResize(c.p.Pod, c.p.Allocated); r != nil {
			if got = r.Message; r.Reason != v1.PodReasonInfeasible {
				t.Errorf("%s: reason %s", name, r.Reason)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestBothAreTaken(t *testing.T) {
	var l Ledger
	p := resizing("p", "2", "1")
	l.TakeBoth(p.Pod, allocation.Apply(p.Pod, p.Allocated))
	if n := l.Used(v1.ResourceCPU); n != 2000 {
		t.Errorf("%d taken while it shrinks", n)
	}
	l.Take(p.Pod)
	if n := l.Used(v1.ResourceCPU); n != 1000 {
		t.Errorf("%d taken when it has shrunk", n)
	}
	l.Release(model.UID("p"))
	if n := l.Used(v1.ResourceCPU); n != 0 {
		t.Errorf("%d taken by nobody", n)
	}
}
