package sandboxspec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func ptr[T any](v T) *T { return &v }

func newPod(edit ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u", Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"note": "y"}}}
	p.Spec.Containers = []v1.Container{{Name: "c"}}
	for _, e := range edit {
		e(p)
	}
	return p
}

// TestConfig: what identifies a sandbox is the kubelet's.
func TestConfig(t *testing.T) {
	pod := newPod(func(p *v1.Pod) {
		p.Spec.Containers[0].Resources = v1.ResourceRequirements{
			Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m")}, Limits: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1"), v1.ResourceMemory: resource.MustParse("1Gi")}}
		p.Spec.Overhead = v1.ResourceList{v1.ResourceCPU: resource.MustParse("250m"), v1.ResourceMemory: resource.MustParse("64Mi")}
		p.Spec.SecurityContext = &v1.PodSecurityContext{
			Sysctls: []v1.Sysctl{{Name: "net.ipv4.ip_local_port_range", Value: "1 2"}}, RunAsUser: ptr(int64(1)), RunAsGroup: ptr(int64(2)),
			FSGroup: ptr(int64(9)), SupplementalGroups: []int64{3, 4}, SELinuxOptions: &v1.SELinuxOptions{Level: "s0"},
		}
	})
	c := Config(Input{Pod: pod, Attempt: 2, CgroupParent: "/kubepods/podu", LogsRoot: LogsRoot, Hostname: "h", CFSQuota: true, CFSPeriodMicros: 100000})
	if d := cmp.Diff(map[string]string{"app": "x", LabelPodName: "p", LabelPodNamespace: "n", LabelPodUID: "u"}, c.Labels); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"note": "y"}, c.Annotations); d != "" {
		t.Error(d)
	}
	if m := c.Metadata; m.Name != "p" || m.Namespace != "n" || m.Uid != "u" || m.Attempt != 2 || c.LogDirectory != "/var/log/pods/n_p_u" || c.Hostname != "h" || c.Linux.CgroupParent != "/kubepods/podu" {
		t.Errorf("%v", c)
	}
	if r := c.Linux.Resources; r.CpuShares != 512 || r.CpuQuota != 100000 || r.MemoryLimitInBytes != 1<<30 {
		t.Errorf("resources %v", r)
	}
	if r := c.Linux.Overhead; r.CpuShares != 256 || r.CpuQuota != 25000 || r.MemoryLimitInBytes != 64<<20 {
		t.Errorf("overhead %v", r)
	}
	s := c.Linux.SecurityContext
	if c.Linux.Sysctls["net.ipv4.ip_local_port_range"] != "1 2" || s.RunAsUser.GetValue() != 1 || s.RunAsGroup.GetValue() != 2 || !cmp.Equal(s.SupplementalGroups, []int64{9, 3, 4}) ||
		s.SelinuxOptions.Level != "s0" || s.Seccomp.ProfileType != runtimeapi.SecurityProfile_RuntimeDefault || s.Privileged {
		t.Errorf("%v", c.Linux)
	}
	pod.Labels[LabelPodUID] = "forged"
	if c := Config(Input{Pod: pod}); c.Labels[LabelPodUID] != "u" {
		t.Error("a pod can forge its own UID label")
	}
}

func TestPrivileged(t *testing.T) {
	yes := &v1.SecurityContext{Privileged: ptr(true)}
	for name, pod := range map[string]*v1.Pod{
		"init": newPod(func(p *v1.Pod) { p.Spec.InitContainers = []v1.Container{{SecurityContext: yes}} }),
		"app":  newPod(func(p *v1.Pod) { p.Spec.Containers[0].SecurityContext = yes }),
		"ephemeral": newPod(func(p *v1.Pod) {
			p.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{SecurityContext: yes}}}
		}),
	} {
		if !Config(Input{Pod: pod}).Linux.SecurityContext.Privileged {
			t.Errorf("a privileged %s container makes no privileged sandbox", name)
		}
	}
}

func TestNamespaces(t *testing.T) {
	for _, tc := range []struct {
		name          string
		pod           *v1.Pod
		net, ipc, pid runtimeapi.NamespaceMode
	}{
		{"own", newPod(), runtimeapi.NamespaceMode_POD, runtimeapi.NamespaceMode_POD, runtimeapi.NamespaceMode_CONTAINER},
		{"host network", newPod(func(p *v1.Pod) { p.Spec.HostNetwork = true }), runtimeapi.NamespaceMode_NODE, runtimeapi.NamespaceMode_POD, runtimeapi.NamespaceMode_CONTAINER},
		{"host IPC", newPod(func(p *v1.Pod) { p.Spec.HostIPC = true }), runtimeapi.NamespaceMode_POD, runtimeapi.NamespaceMode_NODE, runtimeapi.NamespaceMode_CONTAINER},
		{"host PID", newPod(func(p *v1.Pod) { p.Spec.HostPID = true }), runtimeapi.NamespaceMode_POD, runtimeapi.NamespaceMode_POD, runtimeapi.NamespaceMode_NODE},
		{"shared PID", newPod(func(p *v1.Pod) { p.Spec.ShareProcessNamespace = ptr(true) }), runtimeapi.NamespaceMode_POD, runtimeapi.NamespaceMode_POD, runtimeapi.NamespaceMode_POD},
	} {
		if o := Namespaces(tc.pod, nil); o.Network != tc.net || o.Ipc != tc.ipc || o.Pid != tc.pid {
			t.Errorf("%s: %v", tc.name, o)
		}
	}
}

func TestPorts(t *testing.T) {
	pod := newPod(func(p *v1.Pod) {
		p.Spec.InitContainers = []v1.Container{
			{Name: "init", Ports: []v1.ContainerPort{{ContainerPort: 1, HostPort: 1}}},
			{Name: "side", RestartPolicy: ptr(v1.ContainerRestartPolicyAlways), Ports: []v1.ContainerPort{{ContainerPort: 2, HostPort: 2, Protocol: v1.ProtocolTCP}}},
		}
		p.Spec.Containers[0].Ports = []v1.ContainerPort{
			{ContainerPort: 80, HostPort: 8080, Protocol: v1.ProtocolTCP}, {ContainerPort: 80, HostPort: 8080, Protocol: v1.ProtocolTCP},
			{ContainerPort: 53, HostPort: 53, Protocol: v1.ProtocolUDP, HostIP: "127.0.0.1"}, {ContainerPort: 53, HostPort: 53, Protocol: v1.ProtocolUDP, HostIP: "::1"},
			{ContainerPort: 9, Protocol: v1.ProtocolSCTP},
		}
	})
	var got []string
	for _, m := range Config(Input{Pod: pod}).PortMappings {
		got = append(got, fmt.Sprintf("%v %s:%d>%d", m.Protocol, m.HostIp, m.HostPort, m.ContainerPort))
	}
	want := "TCP :2>2|TCP :8080>80|UDP 127.0.0.1:53>53|UDP ::1:53>53|SCTP :0>9"
	if s := strings.Join(got, "|"); s != want {
		t.Fatalf("%s\nwant\n%s", s, want)
	}
}

// TestDNS: the four policies, what is added, and the limits.
func TestDNS(t *testing.T) {
	host := "# comment\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nsearch old.example\nsearch example.com. . corp\noptions ndots:2 rotate\n"
	r := Resolver{ClusterDNS: []string{"10.96.0.10"}, ClusterDomain: "cluster.local", Host: host, HostSet: true}
	cluster := "10.96.0.10|n.svc.cluster.local svc.cluster.local cluster.local example.com corp|ndots:5"
	node := "1.1.1.1 2.2.2.2|example.com corp|ndots:2 rotate"
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf("d%d", i)
	}
	long := []string{strings.Repeat("a", 254), strings.Repeat("b", 200)}
	var wide []string
	for i := range 20 {
		wide = append(wide, fmt.Sprintf("%s%d", strings.Repeat("c", 200), i))
	}
	for _, tc := range []struct {
		name string
		pod  *v1.Pod
		r    Resolver
		want string
		note string
	}{
		{"ClusterFirst", newPod(func(p *v1.Pod) { p.Spec.DNSPolicy = v1.DNSClusterFirst }), r, cluster, ""},
		{"not said", newPod(), r, cluster, ""},
		{"Default", newPod(func(p *v1.Pod) { p.Spec.DNSPolicy = v1.DNSDefault }), r, node, ""},
		{"ClusterFirst on the node's network", newPod(func(p *v1.Pod) { p.Spec.DNSPolicy, p.Spec.HostNetwork = v1.DNSClusterFirst, true }), r, node, ""},
		{"ClusterFirstWithHostNet", newPod(func(p *v1.Pod) { p.Spec.DNSPolicy, p.Spec.HostNetwork = v1.DNSClusterFirstWithHostNet, true }), r, cluster, ""},
		{"None", newPod(func(p *v1.Pod) {
			p.Spec.DNSPolicy = v1.DNSNone
			p.Spec.DNSConfig = &v1.PodDNSConfig{Nameservers: []string{"9.9.9.9", "9.9.9.9"}, Searches: []string{"a"}, Options: []v1.PodDNSConfigOption{{Name: "ndots", Value: ptr("1")}, {Name: "edns0"}}}
		}), r, "9.9.9.9|a|edns0 ndots:1", ""},
		{"more of the pod's own", newPod(func(p *v1.Pod) {
			p.Spec.DNSPolicy = v1.DNSClusterFirst
			p.Spec.DNSConfig = &v1.PodDNSConfig{Nameservers: []string{"9.9.9.9"}, Searches: []string{"corp", "own"}, Options: []v1.PodDNSConfigOption{{Name: "ndots", Value: ptr("2")}}}
		}), r, "10.96.0.10 9.9.9.9|n.svc.cluster.local svc.cluster.local cluster.local example.com corp own|ndots:2", ""},
		{"no cluster DNS", newPod(func(p *v1.Pod) { p.Spec.DNSPolicy = v1.DNSClusterFirst }), Resolver{Host: host, HostSet: true}, node, "MissingClusterDNS"},
		{"no resolv.conf", newPod(func(p *v1.Pod) { p.Spec.DNSPolicy = v1.DNSDefault }), Resolver{HostIPs: []string{"192.0.2.1", "fd00::1"}}, "127.0.0.1 ::1|.|", ""},
		{"too many", newPod(func(p *v1.Pod) {
			p.Spec.DNSPolicy = v1.DNSNone
			p.Spec.DNSConfig = &v1.PodDNSConfig{Nameservers: []string{"1", "2", "3", "4"}, Searches: many}
		}), r, "1 2 3|" + strings.Join(many[:32], " ") + "|", "DNSConfigForming"},
		{"a name that no resolver takes", newPod(func(p *v1.Pod) {
			p.Spec.DNSPolicy = v1.DNSNone
			p.Spec.DNSConfig = &v1.PodDNSConfig{Nameservers: []string{"1"}, Searches: long}
		}), r, "1|" + long[1] + "|", "DNSConfigForming"},
		{"too many characters", newPod(func(p *v1.Pod) {
			p.Spec.DNSPolicy = v1.DNSNone
			p.Spec.DNSConfig = &v1.PodDNSConfig{Nameservers: []string{"1"}, Searches: wide}
		}), r, "1|" + strings.Join(wide[:10], " ") + "|", "DNSConfigForming"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, notes := DNS(tc.pod, tc.r)
			if got := strings.Join(cfg.Servers, " ") + "|" + strings.Join(cfg.Searches, " ") + "|" + strings.Join(cfg.Options, " "); got != tc.want {
				t.Errorf("%s\nwant\n%s", got, tc.want)
			}
			if said := strings.Join(notes, " "); (tc.note == "") != (said == "") || !strings.Contains(said, tc.note) {
				t.Errorf("notes %q", said)
			}
		})
	}
}

func TestHostname(t *testing.T) {
	long := strings.Repeat("a", 62) + "-bcd"
	for _, tc := range []struct {
		name                 string
		pod                  *v1.Pod
		host, domain, kernel string
		bad, badKernel       bool
	}{
		{"name", newPod(), "p", "", "p", false, false},
		{"hostname", newPod(func(p *v1.Pod) { p.Spec.Hostname = "h" }), "h", "", "h", false, false},
		{"subdomain", newPod(func(p *v1.Pod) { p.Spec.Subdomain = "s" }), "p", "s.n.svc.cluster.local", "p", false, false},
		{"full name", newPod(func(p *v1.Pod) { p.Spec.Subdomain, p.Spec.SetHostnameAsFQDN = "s", ptr(true) }), "p", "s.n.svc.cluster.local", "p.s.n.svc.cluster.local", false, false},
		{"full name too long", newPod(func(p *v1.Pod) { p.Spec.Subdomain, p.Spec.SetHostnameAsFQDN = strings.Repeat("s", 60), ptr(true) }), "p", strings.Repeat("s", 60) + ".n.svc.cluster.local", "", false, true},
		{"full name without domain", newPod(func(p *v1.Pod) { p.Spec.SetHostnameAsFQDN = ptr(true) }), "p", "", "p", false, false},
		{"cut", newPod(func(p *v1.Pod) { p.Name = long }), strings.Repeat("a", 62), "", strings.Repeat("a", 62), false, false},
		{"override", newPod(func(p *v1.Pod) { p.Spec.HostnameOverride, p.Spec.Subdomain = ptr("o.example.com"), "s" }), "o.example.com", "", "o.example.com", false, false},
		{"bad hostname", newPod(func(p *v1.Pod) { p.Spec.Hostname = "a.b" }), "", "", "", true, false},
		{"bad subdomain", newPod(func(p *v1.Pod) { p.Spec.Subdomain = "-" }), "", "", "", true, false},
		{"bad override", newPod(func(p *v1.Pod) { p.Spec.HostnameOverride = ptr("UP") }), "", "", "", true, false},
	} {
		host, domain, err := Hostname(tc.pod, "cluster.local")
		if host != tc.host || domain != tc.domain || (err != nil) != tc.bad {
			t.Errorf("%s: %q, %q, %v", tc.name, host, domain, err)
		}
		if err != nil {
			continue
		}
		if kernel, err := KernelHostname(tc.pod, host, domain); kernel != tc.kernel || (err != nil) != tc.badKernel {
			t.Errorf("%s: kernel %q, %v", tc.name, kernel, err)
		}
	}
}
