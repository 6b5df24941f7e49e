// Package sandboxspec turns a pod into what CRI's RunPodSandbox is given: names, labels, DNS, port mappings, namespaces
// and the sandbox's security context, as the kubelet does it, so that a node changes over in both directions. It is pure.
package sandboxspec

import (
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
)

// Labels that mark a sandbox or container as a pod's.
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"
)

// LogsRoot is where the logs of all pods are by default (KubeletConfiguration podLogsDir).
const LogsRoot = "/var/log/pods"

// Input is all that a sandbox is made from.
type Input struct {
	Pod     *v1.Pod
	Attempt uint32
	// CgroupParent is a path (cgroupfs) or a slice name (systemd).
	CgroupParent string
	LogsRoot     string
	DNS          *runtimeapi.DNSConfig
	// Hostname is what the kernel of the sandbox is told; empty for host-network pods.
	Hostname string
	// Userns are the mappings of a pod with hostUsers: false; nil otherwise.
	Userns *runtimeapi.UserNamespace
	// CFSQuota and CFSPeriodMicros are the node's cpuCFSQuota and cpuCFSQuotaPeriod.
	CFSQuota        bool
	CFSPeriodMicros uint64
}

// LogDir is the directory of a pod's container logs.
func LogDir(root string, pod *v1.Pod) string {
	return filepath.Join(root, pod.Namespace+"_"+pod.Name+"_"+string(pod.UID))
}

// Config is the sandbox's configuration.
func Config(in Input) *runtimeapi.PodSandboxConfig {
	pod := in.Pod
	c := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: in.Attempt},
		Hostname:     in.Hostname,
		LogDirectory: LogDir(in.LogsRoot, pod),
		DnsConfig:    in.DNS,
		PortMappings: ports(pod),
		Labels:       map[string]string{},
		Annotations:  map[string]string{},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent:    in.CgroupParent,
			SecurityContext: security(pod, in.Userns),
			Sysctls:         map[string]string{},
			Overhead:        &runtimeapi.LinuxContainerResources{},
		},
	}
	for k, v := range pod.Labels {
		c.Labels[k] = v
	}
	c.Labels[LabelPodName], c.Labels[LabelPodNamespace], c.Labels[LabelPodUID] = pod.Name, pod.Namespace, string(pod.UID)
	for k, v := range pod.Annotations {
		c.Annotations[k] = v
	}
	if sc := pod.Spec.SecurityContext; sc != nil {
		for _, s := range sc.Sysctls {
			c.Linux.Sysctls[s.Name] = s.Value
		}
	}
	opts := resourcehelper.PodResourcesOptions{ExcludeOverhead: true}
	c.Linux.Resources = in.resources(resourcehelper.PodRequests(pod, opts), resourcehelper.PodLimits(pod, opts))
	if pod.Spec.Overhead != nil {
		c.Linux.Overhead = in.resources(pod.Spec.Overhead, pod.Spec.Overhead)
	}
	return c
}

func (in *Input) resources(requests, limits v1.ResourceList) *runtimeapi.LinuxContainerResources {
	request, has := requests[v1.ResourceCPU]
	if !has {
		request = limits[v1.ResourceCPU]
	}
	r := &runtimeapi.LinuxContainerResources{
		CpuShares:          int64(cgroups.Shares(model.MilliCPU(request.MilliValue()))),
		MemoryLimitInBytes: limits.Memory().Value(),
	}
	if in.CFSQuota {
		r.CpuPeriod = int64(in.CFSPeriodMicros)
		r.CpuQuota = cgroups.Quota(model.MilliCPU(limits.Cpu().MilliValue()), in.CFSPeriodMicros)
	}
	return r
}

func ports(pod *v1.Pod) []*runtimeapi.PortMapping {
	type key struct {
		protocol v1.Protocol
		ip       string
		host     int32
		port     int32
	}
	var out []*runtimeapi.PortMapping
	seen := map[key]bool{}
	add := func(c *v1.Container) {
		for _, p := range c.Ports {
			k := key{p.Protocol, p.HostIP, p.HostPort, p.ContainerPort}
			if seen[k] {
				continue
			}
			seen[k] = true
			m := &runtimeapi.PortMapping{HostIp: p.HostIP, HostPort: p.HostPort, ContainerPort: p.ContainerPort}
			switch p.Protocol {
			case v1.ProtocolUDP:
				m.Protocol = runtimeapi.Protocol_UDP
			case v1.ProtocolSCTP:
				m.Protocol = runtimeapi.Protocol_SCTP
			case v1.ProtocolTCP:
			}
			out = append(out, m)
		}
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	return out
}

func security(pod *v1.Pod, userns *runtimeapi.UserNamespace) *runtimeapi.LinuxSandboxSecurityContext {
	s := &runtimeapi.LinuxSandboxSecurityContext{
		Privileged:       privileged(pod),
		Seccomp:          &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
		NamespaceOptions: Namespaces(pod, userns),
	}
	sc := pod.Spec.SecurityContext
	if sc == nil {
		return s
	}
	if sc.RunAsUser != nil {
		s.RunAsUser = &runtimeapi.Int64Value{Value: *sc.RunAsUser}
	}
	if sc.RunAsGroup != nil {
		s.RunAsGroup = &runtimeapi.Int64Value{Value: *sc.RunAsGroup}
	}
	s.SupplementalGroups = Groups(sc)
	s.SupplementalGroupsPolicy = GroupsPolicy(sc)
	if o := sc.SELinuxOptions; o != nil {
		s.SelinuxOptions = &runtimeapi.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
	}
	return s
}

// Groups are the supplemental groups of a pod's processes: fsGroup first.
func Groups(sc *v1.PodSecurityContext) []int64 {
	var out []int64
	if sc.FSGroup != nil {
		out = append(out, *sc.FSGroup)
	}
	return append(out, sc.SupplementalGroups...)
}

// GroupsPolicy translates supplementalGroupsPolicy.
func GroupsPolicy(sc *v1.PodSecurityContext) runtimeapi.SupplementalGroupsPolicy {
	if sc.SupplementalGroupsPolicy != nil && *sc.SupplementalGroupsPolicy == v1.SupplementalGroupsPolicyStrict {
		return runtimeapi.SupplementalGroupsPolicy_Strict
	}
	return runtimeapi.SupplementalGroupsPolicy_Merge
}

func privileged(pod *v1.Pod) bool {
	is := func(sc *v1.SecurityContext) bool { return sc != nil && sc.Privileged != nil && *sc.Privileged }
	for i := range pod.Spec.InitContainers {
		if is(pod.Spec.InitContainers[i].SecurityContext) {
			return true
		}
	}
	for i := range pod.Spec.Containers {
		if is(pod.Spec.Containers[i].SecurityContext) {
			return true
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if is(pod.Spec.EphemeralContainers[i].SecurityContext) {
			return true
		}
	}
	return false
}

// Namespaces says which namespaces a pod shares with the node, within itself, or not at all.
func Namespaces(pod *v1.Pod, userns *runtimeapi.UserNamespace) *runtimeapi.NamespaceOption {
	o := &runtimeapi.NamespaceOption{
		Network: runtimeapi.NamespaceMode_POD, Ipc: runtimeapi.NamespaceMode_POD, Pid: runtimeapi.NamespaceMode_CONTAINER, UsernsOptions: userns,
	}
	if userns == nil {
		o.UsernsOptions = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_NODE}
	}
	if pod.Spec.HostNetwork {
		o.Network = runtimeapi.NamespaceMode_NODE
	}
	if pod.Spec.HostIPC {
		o.Ipc = runtimeapi.NamespaceMode_NODE
	}
	switch {
	case pod.Spec.HostPID:
		o.Pid = runtimeapi.NamespaceMode_NODE
	case pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace:
		o.Pid = runtimeapi.NamespaceMode_POD
	}
	return o
}
