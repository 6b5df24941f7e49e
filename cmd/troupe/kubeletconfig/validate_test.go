package kubeletconfig

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"

	"github.com/troupe-dev/troupe/cmd/troupe/featuregates"
)

func ptr[T any](v T) *T { return &v }

func TestDefaultsAreValid(t *testing.T) {
	for _, c := range []*Configuration{NewDefault(), NewLegacyDefault()} {
		if err := Validate(c, featuregates.Defaults(), Host{}); err != nil {
			t.Error(err)
		}
	}
}

// Each row breaks the defaults in one way; the error starts with the path.
func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*Configuration)
	}{
		{"lease", "nodeLeaseDurationSeconds:", func(c *Configuration) { c.NodeLeaseDurationSeconds = -1 }},
		{"max pods", "maxPods (--max-pods): -1 is negative", func(c *Configuration) { c.MaxPods = -1 }},
		{"pods per core", "podsPerCore (--pods-per-core):", func(c *Configuration) { c.PodsPerCore = -1 }},
		{"event burst", "eventBurst (--event-burst):", func(c *Configuration) { c.EventBurst = -1 }},
		{"event qps", "eventRecordQPS (--event-qps):", func(c *Configuration) { *c.EventRecordQPS = -1 }},
		{"api burst", "kubeAPIBurst (--kube-api-burst):", func(c *Configuration) { c.KubeAPIBurst = -1 }},
		{"api qps", "kubeAPIQPS (--kube-api-qps):", func(c *Configuration) { *c.KubeAPIQPS = -1 }},
		{"open files", "maxOpenFiles (--max-open-files):", func(c *Configuration) { c.MaxOpenFiles = -1 }},
		{"registry burst", "registryBurst (--registry-burst):", func(c *Configuration) { c.RegistryBurst = -1 }},
		{"registry qps", "registryPullQPS (--registry-qps):", func(c *Configuration) { *c.RegistryPullQPS = -1 }},
		{"drop bit", "iptablesDropBit: 32 is not between 0 and 31", func(c *Configuration) { *c.IPTablesDropBit = 32 }},
		{"masquerade bit", "iptablesMasqueradeBit:", func(c *Configuration) { *c.IPTablesMasqueradeBit = -1 }},
		{"oom", "oomScoreAdj (--oom-score-adj):", func(c *Configuration) { *c.OOMScoreAdj = -1001 }},
		{"images", "nodeStatusMaxImages (--node-status-max-images):", func(c *Configuration) { *c.NodeStatusMaxImages = -2 }},
		{"system cgroups", "systemCgroups (--system-cgroups): needs cgroupRoot", func(c *Configuration) { c.SystemCgroups = "/x" }},
		{"run once", "runOnce (--runonce): was removed", func(c *Configuration) { c.RunOnce = true }},
		{"gc high", "imageGCHighThresholdPercent (--image-gc-high-threshold):", func(c *Configuration) { *c.ImageGCHighThresholdPercent = 101 }},
		{"gc low", "imageGCLowThresholdPercent (--image-gc-low-threshold): -1 is not", func(c *Configuration) { *c.ImageGCLowThresholdPercent = -1 }},
		{"gc order", "imageGCLowThresholdPercent (--image-gc-low-threshold): 85 is not below", func(c *Configuration) { *c.ImageGCLowThresholdPercent = 85 }},
		{"gc ages", "imageMaximumGCAge: 1m0s is not greater than imageMinimumGCAge, 2m0s", func(c *Configuration) { c.ImageMaximumGCAge.Duration = time.Minute }},
		{"gc min age", "imageMinimumGCAge (--minimum-image-ttl-duration):", func(c *Configuration) { c.ImageMinimumGCAge.Duration = -1 }},
		{"parallel 0", "maxParallelImagePulls: 0 is not positive", func(c *Configuration) { c.MaxParallelImagePulls = ptr(int32(0)) }},
		{"parallel and serial", "maxParallelImagePulls: 4 needs serializeImagePulls: false", func(c *Configuration) { c.MaxParallelImagePulls = ptr(int32(4)) }},
		{"verification", "imagePullCredentialsVerificationPolicy:", func(c *Configuration) { c.ImagePullCredentialsVerificationPolicy = "x" }},
		{"allowlist policy", "preloadedImagesVerificationAllowlist: needs", func(c *Configuration) { c.PreloadedImagesVerificationAllowlist = []string{"a/*"} }},
		{"allowlist tag", "preloadedImagesVerificationAllowlist[1]:", func(c *Configuration) {
			c.ImagePullCredentialsVerificationPolicy = kubeletconfigv1beta1.NeverVerifyAllowlistedImages
			c.PreloadedImagesVerificationAllowlist = []string{"host:5000/a", "a/b:1"}
		}},
		{"port", "port (--port):", func(c *Configuration) { c.Port = 0 }},
		{"read-only port", "readOnlyPort (--read-only-port):", func(c *Configuration) { c.ReadOnlyPort = 70000 }},
		{"healthz port", "healthzPort (--healthz-port):", func(c *Configuration) { *c.HealthzPort = -1 }},
		{"address", "address (--address):", func(c *Configuration) { c.Address = "host" }},
		{"authorization", "authorization.mode (--authorization-mode):", func(c *Configuration) { c.Authorization.Mode = "RBAC" }},
		{"half a pair", "tlsCertFile (--tls-cert-file): and tlsPrivateKeyFile", func(c *Configuration) { c.TLSCertFile = "/x" }},
		{"ciphers", "tlsCipherSuites (--tls-cipher-suites):", func(c *Configuration) { c.TLSCipherSuites = []string{"x"} }},
		{"tls version", "tlsMinVersion (--tls-min-version):", func(c *Configuration) { c.TLSMinVersion = "1.2" }},
		{"endpoint", "containerRuntimeEndpoint (--container-runtime-endpoint): is empty", func(c *Configuration) { c.ContainerRuntimeEndpoint = "" }},
		{"tcp endpoint", "imageServiceEndpoint (--image-service-endpoint):", func(c *Configuration) { c.ImageServiceEndpoint = "tcp://1.2.3.4" }},
		{"topology policy", "topologyManagerPolicy (--topology-manager-policy):", func(c *Configuration) { c.TopologyManagerPolicy = "x" }},
		{"topology scope", "topologyManagerScope (--topology-manager-scope):", func(c *Configuration) { c.TopologyManagerScope = "x" }},
		{"cpu policy", "cpuManagerPolicy (--cpu-manager-policy):", func(c *Configuration) { c.CPUManagerPolicy = "x" }},
		{"memory policy", "memoryManagerPolicy (--memory-manager-policy):", func(c *Configuration) { c.MemoryManagerPolicy = "none" }},
		{"hairpin", "hairpinMode (--hairpin-mode):", func(c *Configuration) { c.HairpinMode = "x" }},
		{"driver", "cgroupDriver (--cgroup-driver):", func(c *Configuration) { c.CgroupDriver = "x" }},
		{"cidr", "podCIDR (--pod-cidr):", func(c *Configuration) { c.PodCIDR = "10.0.0.0" }},
		{"shutdown order", "shutdownGracePeriodCriticalPods: 10s is above", func(c *Configuration) { c.ShutdownGracePeriodCriticalPods.Duration = 10 * time.Second }},
		{"shutdown short", "shutdownGracePeriod: 1ms is neither", func(c *Configuration) { c.ShutdownGracePeriod.Duration = time.Millisecond }},
		{"shutdown both", "shutdownGracePeriodByPodPriority: cannot", func(c *Configuration) {
			c.ShutdownGracePeriod.Duration = time.Second
			c.ShutdownGracePeriodByPodPriority = []kubeletconfigv1beta1.ShutdownGracePeriodByPodPriority{{}}
		}},
		{"cfs period", "cpuCFSQuotaPeriod (--cpu-cfs-quota-period):", func(c *Configuration) { c.CPUCFSQuotaPeriod = &metav1.Duration{Duration: 2 * time.Second} }},
		{"swap", "memorySwap.swapBehavior:", func(c *Configuration) { c.MemorySwap.SwapBehavior = "x" }},
		{"restart period", "crashLoopBackOff.maxContainerRestartPeriod: 5m1s", func(c *Configuration) {
			c.CrashLoopBackOff.MaxContainerRestartPeriod = &metav1.Duration{Duration: 301 * time.Second}
		}},
		{"throttling", "memoryThrottlingFactor:", func(c *Configuration) { c.MemoryThrottlingFactor = ptr(1.5) }},
		{"reservation policy", "memoryReservationPolicy: TieredReservation needs", func(c *Configuration) { c.MemoryReservationPolicy = "TieredReservation" }},
		{"log query", "enableSystemLogQuery:", func(c *Configuration) { c.EnableSystemLogQuery, c.EnableSystemLogHandler = ptr(true), ptr(false) }},
		{"qos reserved", "qosReserved (--qos-reserved):", func(c *Configuration) { c.QOSReserved = map[string]string{"memory": "50%"} }},
		{"allocatable level", "enforceNodeAllocatable (--enforce-node-allocatable): \"x\" is not one of", func(c *Configuration) { c.EnforceNodeAllocatable = []string{"x"} }},
		{"allocatable twice", "is listed twice", func(c *Configuration) { c.EnforceNodeAllocatable = []string{"pods", "pods"} }},
		{"allocatable none", `"none" must stand alone`, func(c *Configuration) { c.EnforceNodeAllocatable = []string{"pods", "none"} }},
		{"allocatable cgroup", "needs systemReservedCgroup", func(c *Configuration) { c.EnforceNodeAllocatable = []string{"system-reserved"} }},
		{"allocatable kube cgroup", "needs kubeReservedCgroup", func(c *Configuration) { c.EnforceNodeAllocatable = []string{"kube-reserved-compressible"} }},
		{"allocatable exclusive", "exclude each other", func(c *Configuration) {
			c.SystemReservedCgroup = "/s"
			c.EnforceNodeAllocatable = []string{"system-reserved", "system-reserved-compressible"}
		}},
		{"allocatable qos", "needs cgroupsPerQOS: true", func(c *Configuration) { *c.CgroupsPerQOS = false }},
		{"reserved cpus", "reservedSystemCPUs (--reserved-cpus):", func(c *Configuration) { c.ReservedSystemCPUs = "a-b" }},
		{"reserved cpus and cgroup", "reservedSystemCPUs (--reserved-cpus): cannot", func(c *Configuration) { c.ReservedSystemCPUs, c.SystemReservedCgroup = "0", "/s" }},
		{"reserve what", "kubeReserved.disk: cannot be reserved", func(c *Configuration) { c.KubeReserved = map[string]string{"disk": "1"} }},
		{"reserve how much", "systemReserved.cpu: \"lots\" is not an amount", func(c *Configuration) { c.SystemReserved = map[string]string{"cpu": "lots"} }},
		{"reserve negative", "systemReserved.cpu: -1 is negative", func(c *Configuration) { c.SystemReserved = map[string]string{"cpu": "-1"} }},
		{"signal", "evictionHard.memory.free:", func(c *Configuration) { c.EvictionHard = map[string]string{"memory.free": "1Gi"} }},
		{"threshold", "evictionHard.memory.available: 0 is not positive", func(c *Configuration) { c.EvictionHard = map[string]string{"memory.available": "0"} }},
		{"percentage", "evictionHard.memory.available: \"120%\" is not a percentage", func(c *Configuration) { c.EvictionHard = map[string]string{"memory.available": "120%"} }},
		{"soft without time", "evictionSoft.memory.available: needs a time", func(c *Configuration) { c.EvictionSoft = map[string]string{"memory.available": "1Gi"} }},
		{"soft time", "evictionSoftGracePeriod.memory.available:", func(c *Configuration) { c.EvictionSoftGracePeriod = map[string]string{"memory.available": "soon"} }},
		{"reclaim", "evictionMinimumReclaim.nodefs.available:", func(c *Configuration) { c.EvictionMinimumReclaim = map[string]string{"nodefs.available": "-1%"} }},
		{"numa type", "is neither memory nor hugepages", func(c *Configuration) {
			c.ReservedMemory = []kubeletconfigv1beta1.MemoryReservation{{Limits: corev1.ResourceList{"cpu": resource.MustParse("1")}}}
		}},
		{"numa twice", "is listed twice", func(c *Configuration) {
			m := kubeletconfigv1beta1.MemoryReservation{Limits: corev1.ResourceList{"memory": resource.MustParse("1Gi")}}
			c.ReservedMemory = []kubeletconfigv1beta1.MemoryReservation{m, m}
		}},
		{"numa zero", "is zero", func(c *Configuration) {
			c.ReservedMemory = []kubeletconfigv1beta1.MemoryReservation{{Limits: corev1.ResourceList{"memory": resource.MustParse("0")}}}
		}},
		{"taint", "registerWithTaints[0]: key", func(c *Configuration) { c.RegisterWithTaints = []corev1.Taint{{Key: "a b"}} }},
		{"taint time", "registerWithTaints[0].timeAdded:", func(c *Configuration) { c.RegisterWithTaints = []corev1.Taint{{Key: "a", TimeAdded: &metav1.Time{}}} }},
		{"log size", "containerLogMaxSize (--container-log-max-size):", func(c *Configuration) { c.ContainerLogMaxSize = "big" }},
		{"log files", "containerLogMaxFiles (--container-log-max-files):", func(c *Configuration) { *c.ContainerLogMaxFiles = 1 }},
		{"log workers", "containerLogMaxWorkers:", func(c *Configuration) { *c.ContainerLogMaxWorkers = 0 }},
		{"log interval", "containerLogMonitorInterval:", func(c *Configuration) { c.ContainerLogMonitorInterval.Duration = time.Second }},
		{"logs relative", "podLogsDir:", func(c *Configuration) { c.PodLogsDir = "var/log" }},
		{"logs unclean", "write /var/log", func(c *Configuration) { c.PodLogsDir = "/var/log/" }},
		{"logs ascii", "podLogsDir:", func(c *Configuration) { c.PodLogsDir = "/var/lög" }},
		{"user namespaces", "userNamespaces.idsPerPod:", func(c *Configuration) {
			c.UserNamespaces = &kubeletconfigv1beta1.UserNamespaces{IDsPerPod: ptr(int64(65537))}
		}},
		{"log format", "logging.format:", func(c *Configuration) { c.Logging.Format = "xml" }},
		{"metrics version", "showHiddenMetricsForVersion: \"x\" is not 1.35", func(c *Configuration) { c.ShowHiddenMetricsForVersion = "x" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := NewDefault()
			c.change(config)
			err := Validate(config, featuregates.Defaults(), Host{})
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error lacks %q:\n%v", c.want, err)
			}
			if n := strings.Count(err.Error(), "\n"); n > 0 {
				t.Errorf("one mistake gives %d errors:\n%v", n+1, err)
			}
		})
	}
}

func TestValidateHost(t *testing.T) {
	v1 := Host{CgroupV1: true}
	c := NewDefault()
	err := Validate(c, featuregates.Defaults(), v1)
	if err == nil || !strings.Contains(err.Error(), "kubelet is configured to not run on a host using cgroup v1") {
		t.Errorf("cgroup v1 gives %v", err)
	}
	*c.FailCgroupV1 = false
	if err := Validate(c, featuregates.Defaults(), v1); err != nil {
		t.Error(err)
	}
	c.SingleProcessOOMKill = ptr(false)
	if err := Validate(c, featuregates.Defaults(), v1); err == nil || !strings.Contains(err.Error(), "singleProcessOOMKill:") {
		t.Errorf("singleProcessOOMKill gives %v", err)
	}
	if err := Validate(c, featuregates.Defaults(), Host{}); err != nil {
		t.Error(err)
	}
}

// A gate that a field needs is asked for by name; the names must exist.
func TestGateNamesExist(t *testing.T) {
	known := featuregates.Defaults()
	asked := regexp.MustCompile(`Enabled\("(\w+)"\)`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range asked.FindAllStringSubmatch(string(raw), -1) {
			count++
			if !known.Known(m[1]) {
				t.Errorf("%s asks for the unknown gate %s", f, m[1])
			}
		}
	}
	if count < 5 {
		t.Errorf("found %d questions only: the pattern no longer matches", count)
	}
}

func TestValidateFlags(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*Flags)
	}{
		{"fine", "", func(f *Flags) {
			f.NodeLabels = map[string]string{"a": "b", "node.kubernetes.io/x": "y", "kubernetes.io/os": "linux"}
		}},
		{"reserved label", "a node may not set \"kubernetes.io/x\"", func(f *Flags) { f.NodeLabels["kubernetes.io/x"] = "" }},
		{"reserved label below", "may not set", func(f *Flags) { f.NodeLabels["a.k8s.io/x"] = "" }},
		{"bad key", "--node-labels: key", func(f *Flags) { f.NodeLabels["a b"] = "" }},
		{"bad value", "--node-labels: value", func(f *Flags) { f.NodeLabels["a"] = "b c" }},
		{"cloud", "--cloud-provider:", func(f *Flags) { f.CloudProvider = "aws" }},
		{"lock", "needs --lock-file", func(f *Flags) { f.ExitOnLockContention = true }},
		{"half a pair", "belong together", func(f *Flags) { f.ImageCredentialProviderBinDir = "/x" }},
	} {
		f := NewFlags()
		c.change(f)
		err := ValidateFlags(f)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
