package containerspec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
)

// TestConfig: names, labels and annotations are the kubelet's, so that either agent finds the other's containers.
func TestConfig(t *testing.T) {
	pod := podOf(v1.Container{
		Name: "c", Image: "image", Command: []string{"sh", "$(A)"}, Args: []string{"$(B)", "$$(A)"}, WorkingDir: "/w", TTY: true, Stdin: true, StdinOnce: true,
		TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: v1.TerminationMessageReadFile,
		Lifecycle: &v1.Lifecycle{PreStop: &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 3}}},
		Ports:     []v1.ContainerPort{{Name: "http", ContainerPort: 80, Protocol: v1.ProtocolTCP}},
	})
	pod.Spec.TerminationGracePeriodSeconds, pod.DeletionGracePeriodSeconds = ptr(int64(30)), ptr(int64(5))
	cfg, err := Config(Input{Pod: pod, Container: &pod.Spec.Containers[0], Attempt: 3, Hash: "abc", ImageRef: "sha256:1", Env: []Variable{{"A", "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"io.kubernetes.pod.name": "p", "io.kubernetes.pod.namespace": "n", "io.kubernetes.pod.uid": "u", "io.kubernetes.container.name": "c"}, cfg.Labels); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{
		"io.kubernetes.container.hash": "abc", "io.kubernetes.container.restartCount": "3",
		"io.kubernetes.container.terminationMessagePath": "/dev/termination-log", "io.kubernetes.container.terminationMessagePolicy": "File",
		"io.kubernetes.container.preStopHandler": `{"sleep":{"seconds":3}}`, "io.kubernetes.container.ports": `[{"name":"http","containerPort":80,"protocol":"TCP"}]`,
		"io.kubernetes.pod.terminationGracePeriod": "30", "io.kubernetes.pod.deletionGracePeriod": "5",
	}, cfg.Annotations); d != "" {
		t.Error(d)
	}
	if strings.Join(cfg.Command, " ") != "sh 1" || strings.Join(cfg.Args, " ") != "$(B) $(A)" {
		t.Errorf("%v %v", cfg.Command, cfg.Args)
	}
	if cfg.Metadata.Name != "c" || cfg.Metadata.Attempt != 3 || cfg.LogPath != "c/3.log" || cfg.Image.Image != "sha256:1" || cfg.Image.UserSpecifiedImage != "image" ||
		cfg.WorkingDir != "/w" || !cfg.Tty || !cfg.Stdin || !cfg.StdinOnce || len(cfg.Envs) != 1 || string(cfg.Envs[0].Value) != "1" {
		t.Errorf("%v", cfg)
	}
}

// TestResources: what the runtime sets on the container's own cgroup.
func TestResources(t *testing.T) {
	list := func(pairs ...string) v1.ResourceList {
		l := v1.ResourceList{}
		for i := 0; i < len(pairs); i += 2 {
			l[v1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
		}
		return l
	}
	node := Node{MemoryCapacity: 8 << 30, CFSQuota: true, CFSPeriodMicros: 100000, HugePageSizes: []model.Bytes{2 << 20, 1 << 30}}
	for _, tc := range []struct {
		name  string
		own   v1.ResourceRequirements
		pod   *v1.ResourceRequirements
		node  Node
		check func(*runtimeapi.LinuxContainerResources) bool
	}{
		{"nothing asked", v1.ResourceRequirements{}, nil, node, func(r *runtimeapi.LinuxContainerResources) bool {
			return r.CpuShares == 2 && r.CpuQuota == 0 && r.CpuPeriod == 100000 && r.MemoryLimitInBytes == 0 && r.OomScoreAdj == 1000
		}},
		{"requests and limits", v1.ResourceRequirements{Requests: list("cpu", "250m", "memory", "1Gi"), Limits: list("cpu", "500m", "memory", "2Gi")}, nil, node, func(r *runtimeapi.LinuxContainerResources) bool {
			return r.CpuShares == 256 && r.CpuQuota == 50000 && r.MemoryLimitInBytes == 2<<30 && r.OomScoreAdj == 875
		}},
		{"the limit stands in for the request", v1.ResourceRequirements{Limits: list("cpu", "1")}, nil, node, func(r *runtimeapi.LinuxContainerResources) bool { return r.CpuShares == 1024 && r.CpuQuota == 100000 }},
		{"a tiny limit", v1.ResourceRequirements{Limits: list("cpu", "1m")}, nil, node, func(r *runtimeapi.LinuxContainerResources) bool { return r.CpuQuota == 1000 }},
		{"no quota on this node", v1.ResourceRequirements{Limits: list("cpu", "1")}, nil, Node{CFSPeriodMicros: 100000}, func(r *runtimeapi.LinuxContainerResources) bool { return r.CpuQuota == 0 && r.CpuPeriod == 0 }},
		{"the pod's limits stand in", v1.ResourceRequirements{}, &v1.ResourceRequirements{Limits: list("cpu", "2", "memory", "1Gi")}, node, func(r *runtimeapi.LinuxContainerResources) bool {
			return r.CpuQuota == 200000 && r.MemoryLimitInBytes == 1<<30
		}},
		{"the container's own before the pod's", v1.ResourceRequirements{Limits: list("cpu", "1", "memory", "512Mi")}, &v1.ResourceRequirements{Limits: list("cpu", "2", "memory", "1Gi")}, node, func(r *runtimeapi.LinuxContainerResources) bool {
			return r.CpuQuota == 100000 && r.MemoryLimitInBytes == 512<<20
		}},
		{"huge pages: zero where nothing is asked", v1.ResourceRequirements{Limits: list("hugepages-2Mi", "64Mi")}, nil, node, func(r *runtimeapi.LinuxContainerResources) bool {
			return len(r.HugepageLimits) == 2 && r.HugepageLimits[0].PageSize == "1GB" && r.HugepageLimits[0].Limit == 0 && r.HugepageLimits[1].PageSize == "2MB" && r.HugepageLimits[1].Limit == 64<<20
		}},
		{"huge pages of the pod", v1.ResourceRequirements{}, &v1.ResourceRequirements{Limits: list("hugepages-1Gi", "2Gi")}, node, func(r *runtimeapi.LinuxContainerResources) bool { return r.HugepageLimits[0].Limit == 2<<30 }},
		{"no limit of memory, and none of swap, on v1", v1.ResourceRequirements{}, nil, Node{Swap: cgroups.Swap{Accounted: true}}, func(r *runtimeapi.LinuxContainerResources) bool {
			return r.MemorySwapLimitInBytes == 0 && r.Unified == nil
		}},
		{"no swap beyond the limit of memory on v1", v1.ResourceRequirements{Limits: list("memory", "1Gi")}, nil, Node{Swap: cgroups.Swap{Accounted: true}}, func(r *runtimeapi.LinuxContainerResources) bool {
			return r.MemorySwapLimitInBytes == 1<<30 && r.Unified == nil
		}},
		{"v1 shares no swap", v1.ResourceRequirements{Requests: list("memory", "1Gi"), Limits: list("memory", "2Gi")}, nil, Node{Swap: cgroups.Swap{Accounted: true, Limited: true, Memory: 8 << 30, Swap: 4 << 30}}, func(r *runtimeapi.LinuxContainerResources) bool {
			return r.MemorySwapLimitInBytes == 2<<30 && r.Unified == nil
		}},
		{"no swap on v2", v1.ResourceRequirements{Limits: list("memory", "1Gi")}, nil, Node{Swap: cgroups.Swap{Accounted: true, Unified: true}}, func(r *runtimeapi.LinuxContainerResources) bool {
			return r.MemorySwapLimitInBytes == 0 && len(r.Unified) == 1 && r.Unified["memory.swap.max"] == "0"
		}},
		{"its share of the swap, and all processes end together", v1.ResourceRequirements{Requests: list("memory", "1Gi")}, nil, Node{GroupOOMKill: true, Swap: cgroups.Swap{Accounted: true, Unified: true, Limited: true, Memory: 8 << 30, Swap: 4 << 30}}, func(r *runtimeapi.LinuxContainerResources) bool {
			return r.MemorySwapLimitInBytes == 0 && len(r.Unified) == 2 && r.Unified["memory.swap.max"] == "536870912" && r.Unified["memory.oom.group"] == "1"
		}},
		{"a kernel that does not count swap", v1.ResourceRequirements{Limits: list("memory", "1Gi")}, nil, Node{Swap: cgroups.Swap{Unified: true, Limited: true}}, func(r *runtimeapi.LinuxContainerResources) bool {
			return r.MemorySwapLimitInBytes == 0 && r.Unified == nil
		}},
		{"all processes end together", v1.ResourceRequirements{}, nil, Node{GroupOOMKill: true}, func(r *runtimeapi.LinuxContainerResources) bool { return r.Unified["memory.oom.group"] == "1" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := podOf(v1.Container{Name: "c", Resources: tc.own})
			pod.Spec.Resources = tc.pod
			if r := Resources(pod, &pod.Spec.Containers[0], tc.node); !tc.check(r) {
				t.Fatalf("%v", r)
			}
		})
	}
}

// TestSecurity: the container's own fields over the pod's, and what cannot be granted is refused.
func TestSecurity(t *testing.T) {
	type edit = func(*v1.PodSecurityContext, *v1.SecurityContext, *Input)
	build := func(t *testing.T, e edit) (*runtimeapi.LinuxContainerSecurityContext, error) {
		t.Helper()
		pod := podOf(v1.Container{Name: "c", Image: "image", SecurityContext: &v1.SecurityContext{}})
		pod.Spec.SecurityContext = &v1.PodSecurityContext{}
		in := Input{Pod: pod, Container: &pod.Spec.Containers[0], SeccompRoot: "/root/seccomp"}
		if e != nil {
			e(pod.Spec.SecurityContext, pod.Spec.Containers[0].SecurityContext, &in)
		}
		cfg, err := Config(in)
		if err != nil {
			return nil, err
		}
		return cfg.Linux.SecurityContext, nil
	}
	for _, tc := range []struct {
		name  string
		e     edit
		check func(*runtimeapi.LinuxContainerSecurityContext) bool
		bad   string
	}{
		{name: "nothing asked", check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return !s.Privileged && !s.ReadonlyRootfs && !s.NoNewPrivs && s.RunAsUser == nil && len(s.MaskedPaths) > 5 && len(s.ReadonlyPaths) == 5 &&
				s.Seccomp.ProfileType == runtimeapi.SecurityProfile_Unconfined && s.Apparmor == nil && s.NamespaceOptions.Pid == runtimeapi.NamespaceMode_CONTAINER
		}},
		{name: "paths of this machine", e: func(_ *v1.PodSecurityContext, _ *v1.SecurityContext, in *Input) { in.Node.Masked = []string{"/sys/x"} },
			check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
				return s.MaskedPaths[len(s.MaskedPaths)-1] == "/sys/x" && len(s.MaskedPaths) == len(maskedPaths)+1
			}},
		{name: "own user over the pod's", e: func(p *v1.PodSecurityContext, c *v1.SecurityContext, _ *Input) {
			p.RunAsUser, p.RunAsGroup, c.RunAsUser = ptr(int64(1)), ptr(int64(2)), ptr(int64(3))
		}, check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return s.RunAsUser.GetValue() == 3 && s.RunAsGroup.GetValue() == 2
		}},
		{name: "the image's number", e: func(_ *v1.PodSecurityContext, _ *v1.SecurityContext, in *Input) { in.ImageUser.UID = ptr(int64(7)) },
			check: func(s *runtimeapi.LinuxContainerSecurityContext) bool { return s.RunAsUser.GetValue() == 7 }},
		{name: "the image's name", e: func(_ *v1.PodSecurityContext, _ *v1.SecurityContext, in *Input) { in.ImageUser.Name = "me" },
			check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
				return s.RunAsUser == nil && s.RunAsUsername == "me"
			}},
		{name: "groups: fsGroup first, then the volumes' own", e: func(p *v1.PodSecurityContext, _ *v1.SecurityContext, in *Input) {
			p.FSGroup, p.SupplementalGroups, in.ExtraGroups, p.SupplementalGroupsPolicy = ptr(int64(9)), []int64{1, 2}, []int64{5}, ptr(v1.SupplementalGroupsPolicyStrict)
		}, check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return cmp.Equal(s.SupplementalGroups, []int64{9, 1, 2, 5}) && s.SupplementalGroupsPolicy == runtimeapi.SupplementalGroupsPolicy_Strict
		}},
		{name: "flags", e: func(_ *v1.PodSecurityContext, c *v1.SecurityContext, _ *Input) {
			c.Privileged, c.ReadOnlyRootFilesystem, c.AllowPrivilegeEscalation = ptr(true), ptr(true), ptr(false)
			c.Capabilities = &v1.Capabilities{Add: []v1.Capability{"NET_ADMIN"}, Drop: []v1.Capability{"ALL"}}
			c.ProcMount = ptr(v1.UnmaskedProcMount)
			c.SELinuxOptions = &v1.SELinuxOptions{User: "u", Role: "r", Type: "t", Level: "l"}
		}, check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return s.Privileged && s.ReadonlyRootfs && s.NoNewPrivs && s.Capabilities.AddCapabilities[0] == "NET_ADMIN" && s.Capabilities.DropCapabilities[0] == "ALL" &&
				len(s.MaskedPaths) == 0 && len(s.ReadonlyPaths) == 0 && s.SelinuxOptions.Level == "l"
		}},
		{name: "non-root, a number", e: func(p *v1.PodSecurityContext, c *v1.SecurityContext, _ *Input) {
			p.RunAsNonRoot, c.RunAsUser = ptr(true), ptr(int64(5))
		}, check: func(s *runtimeapi.LinuxContainerSecurityContext) bool { return s.RunAsUser.GetValue() == 5 }},
		{name: "non-root, but root asked", e: func(p *v1.PodSecurityContext, c *v1.SecurityContext, _ *Input) {
			p.RunAsNonRoot, c.RunAsUser = ptr(true), ptr(int64(0))
		}, bad: "container's runAsUser breaks non-root policy"},
		{name: "non-root, the image is root", e: func(_ *v1.PodSecurityContext, c *v1.SecurityContext, in *Input) {
			c.RunAsNonRoot, in.ImageUser.UID = ptr(true), ptr(int64(0))
		}, bad: "container has runAsNonRoot and image will run as root"},
		{name: "non-root, the image has a name", e: func(_ *v1.PodSecurityContext, c *v1.SecurityContext, in *Input) {
			c.RunAsNonRoot, in.ImageUser.Name = ptr(true), "me"
		}, bad: "image has non-numeric user (me), cannot verify user is non-root"},
		{name: "non-root of the pod, taken back", e: func(p *v1.PodSecurityContext, c *v1.SecurityContext, in *Input) {
			p.RunAsNonRoot, c.RunAsNonRoot, in.ImageUser.UID = ptr(true), ptr(false), ptr(int64(0))
		}, check: func(s *runtimeapi.LinuxContainerSecurityContext) bool { return s.RunAsUser.GetValue() == 0 }},
		{name: "seccomp by default", e: func(_ *v1.PodSecurityContext, _ *v1.SecurityContext, in *Input) { in.SeccompDefault = true },
			check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
				return s.Seccomp.ProfileType == runtimeapi.SecurityProfile_RuntimeDefault
			}},
		{name: "seccomp of the pod", e: func(p *v1.PodSecurityContext, _ *v1.SecurityContext, _ *Input) {
			p.SeccompProfile = &v1.SeccompProfile{Type: v1.SeccompProfileTypeLocalhost, LocalhostProfile: ptr("a/b.json")}
		}, check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return s.Seccomp.ProfileType == runtimeapi.SecurityProfile_Localhost && s.Seccomp.LocalhostRef == "/root/seccomp/a/b.json"
		}},
		{name: "seccomp of nothing", e: func(_ *v1.PodSecurityContext, c *v1.SecurityContext, _ *Input) {
			c.SeccompProfile = &v1.SeccompProfile{Type: v1.SeccompProfileTypeLocalhost}
		}, bad: "localhostProfile must be set"},
		{name: "AppArmor", e: func(p *v1.PodSecurityContext, _ *v1.SecurityContext, _ *Input) {
			p.AppArmorProfile = &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeLocalhost, LocalhostProfile: ptr("mine")}
		}, check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return s.ApparmorProfile == "localhost/mine" && s.Apparmor.LocalhostRef == "mine"
		}},
		{name: "AppArmor by annotation", e: func(_ *v1.PodSecurityContext, _ *v1.SecurityContext, in *Input) {
			in.Pod.Annotations["container.apparmor.security.beta.kubernetes.io/c"] = "runtime/default"
		}, check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return s.ApparmorProfile == "runtime/default" && s.Apparmor.ProfileType == runtimeapi.SecurityProfile_RuntimeDefault
		}},
		{name: "the PID namespace of another container", e: func(_ *v1.PodSecurityContext, _ *v1.SecurityContext, in *Input) { in.TargetContainer = "x" },
			check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
				return s.NamespaceOptions.Pid == runtimeapi.NamespaceMode_TARGET && s.NamespaceOptions.TargetId == "x"
			}},
		{name: "a shared PID namespace is joined as it is", e: func(_ *v1.PodSecurityContext, _ *v1.SecurityContext, in *Input) {
			in.TargetContainer, in.Pod.Spec.ShareProcessNamespace = "x", ptr(true)
		}, check: func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return s.NamespaceOptions.Pid == runtimeapi.NamespaceMode_POD
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := build(t, tc.e)
			switch {
			case tc.bad != "":
				if err == nil || !strings.Contains(err.Error(), tc.bad) {
					t.Fatalf("error %v", err)
				}
			case err != nil:
				t.Fatal(err)
			case !tc.check(s):
				t.Fatalf("%v", s)
			}
		})
	}
}

func TestMounts(t *testing.T) {
	volumes := map[string]model.VolumeMount{"v": {HostPath: "/h"}, "ro": {HostPath: "/r", ReadOnly: true, SELinuxRelabel: true}, "i": {ImageRef: "sha256:2"}}
	prop := v1.MountPropagationBidirectional
	rro := v1.RecursiveReadOnlyIfPossible
	must := v1.RecursiveReadOnlyEnabled
	c := v1.Container{Name: "c", VolumeMounts: []v1.VolumeMount{
		{Name: "v", MountPath: "data", MountPropagation: &prop},
		{Name: "ro", MountPath: "/ro", ReadOnly: true, RecursiveReadOnly: &rro},
		{Name: "i", MountPath: "/img", SubPath: "a"},
		{Name: "v", MountPath: "/must", ReadOnly: true, RecursiveReadOnly: &must},
	}}
	list, err := Mounts(&c, volumes, nil)
	if err != nil || len(list) != 4 {
		t.Fatal(list, err)
	}
	m, err := list[0].Runtime("/h", false)
	if err != nil || m.ContainerPath != "/data" || m.HostPath != "/h" || m.Readonly || m.Propagation != runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL {
		t.Errorf("%v %v", m, err)
	}
	for _, can := range []bool{false, true} {
		if m, err = list[1].Runtime("/r", can); err != nil || !m.Readonly || m.RecursiveReadOnly != can || !m.SelinuxRelabel {
			t.Errorf("%v %v", m, err)
		}
	}
	if m, err = list[2].Runtime("", false); err != nil || m.Image.GetImage() != "sha256:2" || m.ImageSubPath != "a" || m.HostPath != "" {
		t.Errorf("%v %v", m, err)
	}
	if _, err = list[3].Runtime("/h", false); err == nil {
		t.Error("a recursive read-only mount that cannot be made was made")
	}
	if _, err = Mounts(&v1.Container{Name: "c", VolumeMounts: []v1.VolumeMount{{Name: "none"}}}, volumes, nil); err == nil || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("a volume that is not there: %v", err)
	}
}
