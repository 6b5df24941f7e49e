package admission

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

func critical(p *v1.Pod) {
	n := int32(2_000_000_000)
	p.Spec.Priority = &n
}

func priority(n int32) func(*v1.Pod) { return func(p *v1.Pod) { p.Spec.Priority = &n } }

// guaranteed gives the pod limits that are what it asks.
func guaranteed(p *v1.Pod) {
	c := &p.Spec.Containers[0]
	c.Resources.Limits = c.Resources.Requests.DeepCopy()
}

func cpu(q string) func(*v1.Pod) { return asking(map[v1.ResourceName]string{"cpu": q}) }

func both(c, m string) func(*v1.Pod) {
	return asking(map[v1.ResourceName]string{"cpu": c, "memory": m})
}

func TestVictims(t *testing.T) {
	need := func(name v1.ResourceName, n int64) Shortage { return Shortage{Resource: name, Requested: n} }
	for name, c := range map[string]struct {
		have  []*v1.Pod
		by    *v1.Pod
		short []Shortage
		want  string
		err   string
	}{
		"the nearest": {
			have:  []*v1.Pod{pod("small", cpu("100m")), pod("right", cpu("500m")), pod("large", cpu("900m"))},
			short: []Shortage{need("cpu", 450)}, want: "right",
		},
		"one large instead of two small": {
			have:  []*v1.Pod{pod("a", cpu("300m")), pod("b", cpu("300m")), pod("c", cpu("700m"))},
			short: []Shortage{need("cpu", 600)}, want: "c",
		},
		"burstable before guaranteed": {
			have:  []*v1.Pod{pod("g", both("500m", "1Gi"), guaranteed), pod("a", cpu("300m")), pod("b", cpu("300m"))},
			short: []Shortage{need("cpu", 500)}, want: "a b",
		},
		"a guaranteed one when the others do not suffice, and no other": {
			have:  []*v1.Pod{pod("g", both("500m", "1Gi"), guaranteed), pod("a", cpu("100m")), pod("b", cpu("100m"))},
			short: []Shortage{need("cpu", 500)}, want: "g",
		},
		"best-effort for a place": {
			have:  []*v1.Pod{pod("g", both("500m", "1Gi"), guaranteed), pod("a", cpu("100m")), pod("z")},
			short: []Shortage{need("pods", 1)}, want: "z",
		},
		"two resources": {
			have:  []*v1.Pod{pod("c", cpu("500m")), pod("m", both("1m", "1Gi")), pod("x", both("10m", "10Mi"))},
			short: []Shortage{need("cpu", 400), need("memory", 1<<29)}, want: "c m",
		},
		"what is there already counts": {
			have:  []*v1.Pod{pod("a", cpu("300m")), pod("b", cpu("200m"))},
			short: []Shortage{{Resource: "cpu", Requested: 1000, Used: 500, Capacity: 1300}}, want: "b",
		},
		"critical ones stay": {
			have: []*v1.Pod{pod("a", cpu("900m"), critical)}, short: []Shortage{need("cpu", 100)},
			err: "no set of running pods found to reclaim resources: [(res: cpu, q: 100), ]",
		},
		"but not before higher ones": {
			have: []*v1.Pod{pod("a", cpu("900m"), critical)}, by: pod("by", priority(2_000_001_000)), short: []Shortage{need("cpu", 100)}, want: "a",
		},
		"an extended resource": {
			have:  []*v1.Pod{pod("a", asking(map[v1.ResourceName]string{"example.com/dongle": "1"})), pod("b", cpu("1"))},
			short: []Shortage{need("example.com/dongle", 1)}, want: "a",
		},
		"not enough in all": {
			have: []*v1.Pod{pod("a", cpu("100m"))}, short: []Shortage{need("cpu", 300)}, err: "(res: cpu, q: 200)",
		},
	} {
		var l Ledger
		for _, p := range c.have {
			l.Take(p)
		}
		by := c.by
		if by == nil {
			by = pod("by", critical)
		}
		got, err := l.Victims(by, c.short)
		var names []string
		for _, p := range got {
			names = append(names, p.Name)
		}
		slices.Sort(names)
		if text := strings.Join(names, " "); text != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %q %v, want %q %q", name, text, err, c.want, c.err)
		}
	}
}

// When the victims have ended the critical pod fits; none of them could have stayed; nobody who may not be ended is.
func TestVictimsSuffice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l Ledger
		n := node()
		for i := range rapid.IntRange(0, 8).Draw(t, "pods") {
			p := pod(fmt.Sprint("p", i), both(fmt.Sprint(rapid.IntRange(0, 900).Draw(t, "cpu"), "m"), fmt.Sprint(rapid.IntRange(0, 500).Draw(t, "memory"), "Mi")))
			if rapid.Bool().Draw(t, "guaranteed") {
				guaranteed(p)
			}
			if rapid.IntRange(0, 4).Draw(t, "critical") == 0 {
				critical(p)
			}
			l.Take(p)
		}
		by := pod("by", both("1500m", "800Mi"), critical)
		r := l.Check(by, n)
		if r == nil {
			return
		}
		victims, err := l.Victims(by, r.Short)
		if err != nil {
			for uid, have := range l.pods {
				if !Critical(have.pod) {
					l.Release(uid)
				}
			}
			if l.Check(by, n) == nil {
				t.Fatalf("there was a set of victims: %v", err)
			}
			return
		}
		for _, v := range victims {
			if Critical(v) {
				t.Fatalf("%s is critical", v.Name)
			}
			l.Release(v.UID)
		}
		if r := l.Check(by, n); r != nil {
			t.Fatalf("after %d pods ended: %s", len(victims), r.Message)
		}
	})
}

// A critical pod that does not fit and may not run here for another reason ends nobody.
func TestCriticalButForbidden(t *testing.T) {
	var l Ledger
	l.Take(pod("a", cpu("2")))
	by := pod("by", cpu("1"), critical)
	by.Spec.NodeSelector = map[string]string{"zone": "b"}
	if r := l.Check(by, node()); r == nil || r.Reason != NodeAffinity || len(r.Short) > 0 {
		t.Errorf("got %+v", r)
	}
}
