package kubeletconfig

import (
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/utils/cpuset"
)

func (v *validator) server() {
	c := v.c
	v.between("port", int64(c.Port), 1, 65535)
	v.between("readOnlyPort", int64(c.ReadOnlyPort), 0, 65535)
	v.between("healthzPort", int64(*c.HealthzPort), 0, 65535)
	v.ip("address", c.Address)
	v.ip("healthzBindAddress", c.HealthzBindAddress)
	v.oneOf("authorization.mode", string(c.Authorization.Mode), "AlwaysAllow", "Webhook")
	if (c.TLSCertFile == "") != (c.TLSPrivateKeyFile == "") {
		v.bad("tlsCertFile", "and tlsPrivateKeyFile belong together; set both or neither")
	}
	if _, err := cliflag.TLSCipherSuites(c.TLSCipherSuites); err != nil {
		v.bad("tlsCipherSuites", "%w", err)
	}
	if _, err := cliflag.TLSVersion(c.TLSMinVersion); err != nil {
		v.bad("tlsMinVersion", "%q is not one of %s", c.TLSMinVersion, strings.Join(cliflag.TLSPossibleVersions(), ", "))
	}
	if _, err := cliflag.TLSCurvePreferences(c.TLSCurvePreferences); err != nil {
		v.bad("tlsCurvePreferences", "%w", err)
	}
	if c.ContainerRuntimeEndpoint == "" {
		v.bad("containerRuntimeEndpoint", "is empty; name the runtime's socket, such as %s", DefaultRuntimeEndpoint)
	}
	for _, path := range []string{"containerRuntimeEndpoint", "imageServiceEndpoint"} {
		endpoint := c.ContainerRuntimeEndpoint
		if path == "imageServiceEndpoint" {
			endpoint = c.ImageServiceEndpoint
		}
		if endpoint != "" && !strings.HasPrefix(endpoint, "unix://") && !strings.HasPrefix(endpoint, "/") {
			v.bad(path, "%q is not a unix socket; write unix:///path/to/runtime.sock", endpoint)
		}
	}
}

func (v *validator) ip(path, text string) {
	if _, err := netip.ParseAddr(text); text != "" && err != nil {
		v.bad(path, "%q is not an IP address", text)
	}
}

func (v *validator) names() {
	c := v.c
	v.oneOf("topologyManagerPolicy", c.TopologyManagerPolicy, "none", "best-effort", "restricted", "single-numa-node")
	v.oneOf("topologyManagerScope", c.TopologyManagerScope, "container", "pod")
	v.oneOf("cpuManagerPolicy", c.CPUManagerPolicy, "none", "static")
	v.oneOf("memoryManagerPolicy", c.MemoryManagerPolicy, "None", "Static")
	v.oneOf("hairpinMode", c.HairpinMode, "hairpin-veth", "promiscuous-bridge", "none")
	v.oneOf("cgroupDriver", c.CgroupDriver, "cgroupfs", "systemd")
	v.oneOf("configMapAndSecretChangeDetectionStrategy", string(c.ConfigMapAndSecretChangeDetectionStrategy), "Watch", "Cache", "Get")
	if c.PodCIDR != "" {
		for part := range strings.SplitSeq(c.PodCIDR, ",") {
			if _, err := netip.ParsePrefix(strings.TrimSpace(part)); err != nil {
				v.bad("podCIDR", "%q is not a network such as 10.88.0.0/24", part)
			}
		}
	}
}

// allocatable covers node allocatable: reservations and what is enforced.
func (v *validator) allocatable() {
	c := v.c
	v.reserved("kubeReserved", c.KubeReserved)
	v.reserved("systemReserved", c.SystemReserved)
	const at = "enforceNodeAllocatable"
	seen := map[string]bool{}
	for _, level := range c.EnforceNodeAllocatable {
		if seen[level] {
			v.bad(at, "%q is listed twice", level)
			continue
		}
		seen[level] = true
		switch level {
		case "pods":
		case "system-reserved", "system-reserved-compressible":
			if c.SystemReservedCgroup == "" {
				v.bad(at, "%q needs systemReservedCgroup (--system-reserved-cgroup)", level)
			}
		case "kube-reserved", "kube-reserved-compressible":
			if c.KubeReservedCgroup == "" {
				v.bad(at, "%q needs kubeReservedCgroup (--kube-reserved-cgroup)", level)
			}
		case "none":
			if len(c.EnforceNodeAllocatable) > 1 {
				v.bad(at, `"none" must stand alone`)
			}
			continue
		default:
			v.bad(at, "%q is not one of %s", level, strings.Join(quoted([]string{"pods", "system-reserved", "kube-reserved", "system-reserved-compressible", "kube-reserved-compressible", "none"}), ", "))
			continue
		}
		if !*c.CgroupsPerQOS {
			v.bad(at, "%q needs cgroupsPerQOS: true", level)
		}
	}
	for _, who := range []string{"system-reserved", "kube-reserved"} {
		if seen[who] && seen[who+"-compressible"] {
			v.bad(at, "%q and %q exclude each other; keep one", who, who+"-compressible")
		}
	}
	if c.ReservedSystemCPUs == "" {
		return
	}
	if c.SystemReservedCgroup != "" || c.KubeReservedCgroup != "" {
		v.bad("reservedSystemCPUs", "cannot be set together with systemReservedCgroup or kubeReservedCgroup")
	}
	if _, err := cpuset.Parse(c.ReservedSystemCPUs); err != nil {
		v.bad("reservedSystemCPUs", "%q is not a list of CPUs such as 0-1,4: %w", c.ReservedSystemCPUs, err)
	}
}

func (v *validator) reserved(at string, amounts map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(amounts)) {
		if !slices.Contains([]string{"cpu", "memory", "ephemeral-storage", "pid"}, name) {
			v.bad(at+"."+name, "cannot be reserved; only cpu, memory, ephemeral-storage and pid can")
			continue
		}
		v.quantity(at+"."+name, amounts[name], false)
	}
}

func (v *validator) quantity(at, text string, positive bool) {
	q, err := resource.ParseQuantity(text)
	switch {
	case err != nil:
		v.bad(at, "%q is not an amount such as 500Mi", text)
	case q.Sign() < 0:
		v.bad(at, "%s is negative", text)
	case positive && q.IsZero():
		v.bad(at, "%s is not positive", text)
	}
}

// signals are the eviction signals of the kubelet (pkg/kubelet/eviction/api).
func signals() []string {
	return []string{
		"memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree",
		"containerfs.available", "containerfs.inodesFree", "allocatableMemory.available", "pid.available",
	}
}

func (v *validator) eviction() {
	c := v.c
	v.thresholds("evictionHard", c.EvictionHard)
	v.thresholds("evictionSoft", c.EvictionSoft)
	for _, signal := range slices.Sorted(maps.Keys(c.EvictionSoft)) {
		if _, ok := c.EvictionSoftGracePeriod[signal]; !ok {
			v.bad("evictionSoft."+signal, "needs a time in evictionSoftGracePeriod.%s", signal)
		}
	}
	for _, signal := range slices.Sorted(maps.Keys(c.EvictionSoftGracePeriod)) {
		at, text := "evictionSoftGracePeriod."+signal, c.EvictionSoftGracePeriod[signal]
		v.oneOf(at, signal, signals()...)
		if d, err := time.ParseDuration(text); err != nil || d < 0 {
			v.bad(at, "%q is not a time such as 1m30s", text)
		}
	}
	for _, signal := range slices.Sorted(maps.Keys(c.EvictionMinimumReclaim)) {
		at, text := "evictionMinimumReclaim."+signal, c.EvictionMinimumReclaim[signal]
		v.oneOf(at, signal, signals()...)
		if percent, ok := strings.CutSuffix(text, "%"); ok {
			if f, err := strconv.ParseFloat(percent, 32); err != nil || f <= 0 {
				v.bad(at, "%q is not a positive percentage", text)
			}
			continue
		}
		v.quantity(at, text, false)
	}
}

func (v *validator) thresholds(at string, thresholds map[string]string) {
	for _, signal := range slices.Sorted(maps.Keys(thresholds)) {
		path, text := at+"."+signal, thresholds[signal]
		v.oneOf(path, signal, signals()...)
		if percent, ok := strings.CutSuffix(text, "%"); ok {
			if f, err := strconv.ParseFloat(percent, 32); err != nil || f < 0 || f > 100 {
				v.bad(path, "%q is not a percentage between 0%% and 100%%", text)
			}
			continue
		}
		v.quantity(path, text, true)
	}
}

func (v *validator) reservedMemory() {
	type key struct {
		node int32
		name corev1.ResourceName
	}
	seen := map[key]bool{}
	for i, entry := range v.c.ReservedMemory {
		at := fmt.Sprintf("reservedMemory[%d].limits", i)
		for _, name := range slices.Sorted(maps.Keys(entry.Limits)) {
			amount := entry.Limits[name]
			if name != corev1.ResourceMemory && !strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
				v.bad(at, "%q is neither memory nor hugepages-<size>", name)
			}
			if amount.IsZero() {
				v.bad(at, "%s of NUMA node %d is zero", name, entry.NumaNode)
			}
			k := key{entry.NumaNode, name}
			if seen[k] {
				v.bad(at, "%s of NUMA node %d is listed twice", name, entry.NumaNode)
			}
			seen[k] = true
		}
	}
}

func (v *validator) taints() {
	for i, t := range v.c.RegisterWithTaints {
		at := fmt.Sprintf("registerWithTaints[%d]", i)
		if problems := TaintProblems(t); len(problems) > 0 {
			v.bad(at, "%s", strings.Join(problems, "; "))
		}
		if t.TimeAdded != nil {
			v.bad(at+".timeAdded", "is set by the API server; remove it")
		}
	}
}

// TaintProblems lists what the API server would refuse about a taint. An empty
// effect is allowed here, as in the kubelet's configuration.
func TaintProblems(t corev1.Taint) []string {
	var out []string
	for _, p := range validation.IsQualifiedName(t.Key) {
		out = append(out, fmt.Sprintf("key %q: %s", t.Key, p))
	}
	if t.Value != "" {
		for _, p := range validation.IsValidLabelValue(t.Value) {
			out = append(out, fmt.Sprintf("value %q: %s", t.Value, p))
		}
	}
	switch t.Effect {
	case "", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
	default:
		out = append(out, fmt.Sprintf("effect %q is not one of NoSchedule, PreferNoSchedule, NoExecute", t.Effect))
	}
	return out
}

func (v *validator) logs() {
	c := v.c
	v.quantity("containerLogMaxSize", c.ContainerLogMaxSize, false)
	if *c.ContainerLogMaxFiles <= 1 {
		v.bad("containerLogMaxFiles", "%d is not greater than 1", *c.ContainerLogMaxFiles)
	}
	if *c.ContainerLogMaxWorkers < 1 {
		v.bad("containerLogMaxWorkers", "%d is not at least 1", *c.ContainerLogMaxWorkers)
	}
	if d := c.ContainerLogMonitorInterval.Duration; d < 3*time.Second {
		v.bad("containerLogMonitorInterval", "%s is not at least 3s", d)
	}
	dir := c.PodLogsDir
	switch {
	case dir == "":
		v.bad("podLogsDir", "is empty")
	case !path.IsAbs(dir):
		v.bad("podLogsDir", "%q is not an absolute path", dir)
	case path.Clean(dir) != dir:
		v.bad("podLogsDir", "%q is not in its shortest form; write %s", dir, path.Clean(dir))
	}
	if strings.ContainsFunc(dir, func(r rune) bool { return r > 127 }) {
		v.bad("podLogsDir", "%q has characters outside ASCII (it becomes part of metrics)", dir)
	}
}
