package admission

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

func pod(uid string, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: uid, UID: types.UID(uid)}, Spec: v1.PodSpec{NodeName: "n", Containers: []v1.Container{{Name: "c"}}}, Status: v1.PodStatus{Phase: v1.PodPending}}
	for _, c := range change {
		c(p)
	}
	return p
}

func asking(list map[v1.ResourceName]string) func(*v1.Pod) {
	return func(p *v1.Pod) {
		p.Spec.Containers[0].Resources.Requests = v1.ResourceList{}
		for name, q := range list {
			p.Spec.Containers[0].Resources.Requests[name] = resource.MustParse(q)
		}
	}
}

func listening(ip string, protocol v1.Protocol, number int32) func(*v1.Pod) {
	return func(p *v1.Pod) {
		p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, v1.ContainerPort{HostIP: ip, Protocol: protocol, HostPort: number, ContainerPort: 1})
	}
}

func node() Node {
	sysctls, err := NewSysctls("6.1.0-amd64", []string{"kernel.msg*", "net.core.somaxconn"})
	if err != nil {
		panic(err)
	}
	return Node{
		Object:  &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"zone": "a"}}},
		Sysctls: sysctls,
		Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("1Gi"), v1.ResourcePods: resource.MustParse("3"),
			v1.ResourceEphemeralStorage: resource.MustParse("10Gi"), "example.com/dongle": resource.MustParse("1")},
	}
}

func TestCheck(t *testing.T) {
	var l Ledger
	l.Take(pod("1", asking(map[v1.ResourceName]string{"cpu": "1500m", "memory": "512Mi"}), listening("", "", 80)))
	sysctl := func(name string) func(*v1.Pod) {
		return func(p *v1.Pod) {
			p.Spec.SecurityContext = &v1.PodSecurityContext{Sysctls: []v1.Sysctl{{Name: name, Value: "1"}}}
		}
	}
	tainted := node()
	tainted.Object.Spec.Taints = []v1.Taint{{Key: "k", Effect: v1.TaintEffectNoExecute}, {Key: "s", Effect: v1.TaintEffectNoSchedule}}
	static := func(p *v1.Pod) { p.Annotations = map[string]string{"kubernetes.io/config.source": "file"} }
	for _, tc := range []struct {
		name            string
		pod             *v1.Pod
		node            Node
		reason, message string
	}{
		{"fits", pod("2", asking(map[v1.ResourceName]string{"cpu": "500m", "memory": "512Mi"}), listening("", "", 81)), node(), "", ""},
		{"best effort", pod("2"), node(), "", ""},
		{"cpu", pod("2", asking(map[v1.ResourceName]string{"cpu": "501m"})), node(), "OutOfcpu",
			"Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000"},
		{"memory", pod("2", asking(map[v1.ResourceName]string{"memory": "513Mi"})), node(), "OutOfmemory",
			"Node didn't have enough resource: memory, requested: 537919488, used: 536870912, capacity: 1073741824"},
		{"ephemeral storage", pod("2", asking(map[v1.ResourceName]string{"ephemeral-storage": "11Gi"})), node(), "OutOfephemeral-storage", "Node didn't have enough resource: ephemeral-storage, requested: 11811160064, used: 0, capacity: 10737418240"},
		{"extended", pod("2", asking(map[v1.ResourceName]string{"example.com/dongle": "2"})), node(), "OutOfexample.com/dongle", "Node didn't have enough resource: example.com/dongle, requested: 2, used: 0, capacity: 1"},
		{"unknown extended", pod("2", asking(map[v1.ResourceName]string{"example.com/other": "2"})), node(), "", ""},
		{"huge pages", pod("2", asking(map[v1.ResourceName]string{"hugepages-2Mi": "2Mi"})), node(), "OutOfhugepages-2Mi", "Node didn't have enough resource: hugepages-2Mi, requested: 2097152, used: 0, capacity: 0"},
		{"itself again", pod("1", asking(map[v1.ResourceName]string{"cpu": "1500m", "memory": "512Mi"}), listening("", "", 80)), node(), "", ""},
		{"port", pod("2", listening("", "", 80)), node(), "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"},
		{"port of one address", pod("2", listening("10.0.0.1", "TCP", 80)), node(), "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"},
		{"port of another protocol", pod("2", listening("", "UDP", 80)), node(), "", ""},
		{"selector", pod("2", func(p *v1.Pod) { p.Spec.NodeSelector = map[string]string{"zone": "b"} }), node(), "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"},
		{"other node", pod("2", func(p *v1.Pod) { p.Spec.NodeName = "x" }), node(), "NodeName", "Predicate NodeName failed: node(s) didn't match the requested node name"},
		{"taint", pod("2"), tainted, "TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"},
		{"tolerated", pod("2", func(p *v1.Pod) { p.Spec.Tolerations = []v1.Toleration{{Operator: v1.TolerationOpExists}} }), tainted, "", ""},
		{"static pod and taint", pod("2", static), tainted, "", ""},
		{"resources before the rest", pod("2", asking(map[v1.ResourceName]string{"cpu": "9"})), tainted, "OutOfcpu", "Node didn't have enough resource: cpu, requested: 9000, used: 1500, capacity: 2000"},
		{"OS field", pod("2", func(p *v1.Pod) { p.Spec.OS = &v1.PodOS{Name: v1.Windows} }), node(), "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"},
		{"OS label", pod("2", func(p *v1.Pod) { p.Labels = map[string]string{v1.LabelOSStable: "windows"} }), node(), "PodOSSelectorNodeLabelDoesNotMatch", "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"},
		{"groups policy", pod("2", func(p *v1.Pod) {
			p.Spec.SecurityContext = &v1.PodSecurityContext{SupplementalGroupsPolicy: ptr.To(v1.SupplementalGroupsPolicyStrict)}
		}), node(), "SupplementalGroupsPolicyNotSupported", "SupplementalGroupsPolicy=Strict is not supported in this node"},
		{"safe sysctl", pod("2", sysctl("net.ipv4.tcp_syncookies")), node(), "", ""},
		{"unsafe sysctl", pod("2", sysctl("net.ipv4.ip_forward")), node(), "SysctlForbidden", `forbidden sysctl: "net.ipv4.ip_forward" not allowlisted`},
		{"allowed by pattern, with slashes", pod("2", sysctl("kernel/msgmax")), node(), "", ""},
		{"sysctl of the host", pod("2", sysctl("net.core.somaxconn"), func(p *v1.Pod) { p.Spec.HostNetwork = true }), node(), "SysctlForbidden", `forbidden sysctl: "net.core.somaxconn" not allowed with host net enabled`},
		{"AppArmor", pod("2", func(p *v1.Pod) {
			p.Spec.SecurityContext = &v1.PodSecurityContext{AppArmorProfile: &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeRuntimeDefault}}
		}), node(), "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"},
		{"no node", pod("2"), Node{}, "InvalidNodeInfo", "Kubelet cannot get node info."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := l.Check(tc.pod, tc.node)
			switch {
			case r == nil && tc.reason != "":
				t.Errorf("admitted, want %s", tc.reason)
			case r != nil && (r.Reason != tc.reason || r.Message != tc.message):
				t.Errorf("refused: %s: %s\nwant %q: %s", r.Reason, r.Message, tc.reason, tc.message)
			}
		})
	}
}

func TestTooManyPods(t *testing.T) {
	var l Ledger
	for i := range 3 {
		l.Take(pod(fmt.Sprint(i)))
	}
	r := l.Check(pod("x"), node())
	if r == nil || r.Reason != "OutOfpods" || r.Message != "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3" {
		t.Errorf("%+v", r)
	}
	l.Take(pod("adopted")) // never refused
	l.Release("0")
	l.Release("0")
	l.Release("1")
	if r := l.Check(pod("x"), node()); r != nil {
		t.Errorf("%+v", r)
	}
}

func TestUnsafeSysctlsMustBeNamespaced(t *testing.T) {
	if _, err := NewSysctls("6.1", []string{"vm.swappiness"}); err == nil || !strings.Contains(err.Error(), "namespaced") {
		t.Error(err)
	}
	old, err := NewSysctls("4.4.0", nil)
	if err != nil || old.check("net.ipv4.tcp_rmem", false, false) == nil || old.check("net.ipv4.tcp_syncookies", false, false) != nil {
		t.Error("the kernel's version does not count")
	}
}

// The running sums are what adding up would give, and are empty when everybody has left.
func TestSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l Ledger
		have := map[types.UID]*v1.Pod{}
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			uid := rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(t, "uid")
			if rapid.Bool().Draw(t, "take") {
				p := pod(uid, asking(map[v1.ResourceName]string{"cpu": rapid.SampledFrom([]string{"0", "1", "100m"}).Draw(t, "cpu"), "memory": "1Mi"}), listening("", "", rapid.Int32Range(1, 3).Draw(t, "port")))
				l.Take(p)
				have[p.UID] = p
			} else {
				l.Release(types.UID(uid))
				delete(have, types.UID(uid))
			}
			var cpu, memory int64
			ports := map[int32]bool{}
			for _, p := range have {
				cpu += p.Spec.Containers[0].Resources.Requests.Cpu().MilliValue()
				memory += p.Spec.Containers[0].Resources.Requests.Memory().Value()
				ports[p.Spec.Containers[0].Ports[0].HostPort] = true
			}
			if l.Len() != len(have) || l.Used(v1.ResourceCPU) != cpu || l.Used(v1.ResourceMemory) != memory {
				t.Fatalf("ledger %+v for %d pods with %dm, %d", l, len(have), cpu, memory)
			}
			for n := int32(1); n <= 3; n++ {
				if l.conflicts(pod("x", listening("", "", n))) != ports[n] {
					t.Fatalf("port %d", n)
				}
			}
		}
	})
}
