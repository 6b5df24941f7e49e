// Package kubeletconfig turns what the user wrote (a KubeletConfiguration
// file, drop-in files, flags) into one complete, validated configuration.
//
// Order, later wins: defaults < --config < --config-dir < flags. Values and
// rules are those of the kubelet 1.36; errors name the file, the line, the
// field and what to write instead.
package kubeletconfig

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logsapi "k8s.io/component-base/logs/api/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"

	"github.com/troupe-dev/troupe/cmd/troupe/featuregates"
)

// Configuration is the versioned kubelet configuration. After SetDefaults
// every pointer that has a default is set, and no two configurations share one.
type Configuration = kubeletconfigv1beta1.KubeletConfiguration

// Well-known values of the kubelet (ports: pkg/cluster/ports; the rest:
// pkg/kubelet/apis/config/v1beta1 and pkg/kubelet/eviction of v1.36.3).
const (
	// Port is the HTTPS port.
	Port = 10250
	// ReadOnlyPort serves plain HTTP when no config file says otherwise.
	ReadOnlyPort = 10255
	// HealthzPort is on the loopback address only.
	HealthzPort = 10248
	// OOMScoreAdj keeps the agent alive when memory runs out.
	OOMScoreAdj = -999
	// DefaultRuntimeEndpoint is containerd's socket.
	DefaultRuntimeEndpoint = "unix:///run/containerd/containerd.sock"
)

// DefaultEvictionHard returns the hard eviction thresholds that apply when a
// config file sets none. The kubelet applies them only to a config file: with
// flags alone nothing is evicted.
func DefaultEvictionHard() map[string]string {
	return map[string]string{
		"memory.available":   "100Mi",
		"nodefs.available":   "10%",
		"nodefs.inodesFree":  "5%",
		"imagefs.available":  "15%",
		"imagefs.inodesFree": "5%",
	}
}

// NewDefault returns the defaults of a configuration file.
func NewDefault() *Configuration {
	c := &Configuration{}
	SetDefaults(c)
	return c
}

// NewLegacyDefault returns the defaults that hold when there is no config
// file: a kubelet configured by flags alone keeps its old, open API.
func NewLegacyDefault() *Configuration {
	c := NewDefault()
	*c.Authentication.Anonymous.Enabled = true
	*c.Authentication.Webhook.Enabled = false
	c.Authorization.Mode = kubeletconfigv1beta1.KubeletAuthorizationModeAlwaysAllow
	c.ReadOnlyPort = ReadOnlyPort
	return c
}

// SetDefaults fills every field that is unset. A zero duration, number or
// empty string in a field without a pointer counts as unset, as in the kubelet.
func SetDefaults(c *Configuration) {
	defaultServer(c)
	defaultNode(c)
	defaultImages(c)
	defaultResources(c)
	defaultLogs(c)
	defaultGated(c)
}

func defaultServer(c *Configuration) {
	pointer(&c.EnableServer, true)
	value(&c.Address, "0.0.0.0")
	value(&c.Port, Port)
	pointer(&c.Authentication.Anonymous.Enabled, false)
	pointer(&c.Authentication.Webhook.Enabled, true)
	duration(&c.Authentication.Webhook.CacheTTL, 2*time.Minute)
	value(&c.Authorization.Mode, kubeletconfigv1beta1.KubeletAuthorizationModeWebhook)
	duration(&c.Authorization.Webhook.CacheAuthorizedTTL, 5*time.Minute)
	duration(&c.Authorization.Webhook.CacheUnauthorizedTTL, 30*time.Second)
	pointer(&c.EnableDebuggingHandlers, true)
	pointer(&c.HealthzPort, int32(HealthzPort))
	value(&c.HealthzBindAddress, "127.0.0.1")
	duration(&c.StreamingConnectionIdleTimeout, 4*time.Hour)
	pointer(&c.EnableSystemLogHandler, true)
	pointer(&c.EnableProfilingHandler, true)
	pointer(&c.EnableDebugFlagsHandler, true)
}

func defaultNode(c *Configuration) {
	duration(&c.SyncFrequency, time.Minute)
	duration(&c.FileCheckFrequency, 20*time.Second)
	duration(&c.HTTPCheckFrequency, 20*time.Second)
	pointer(&c.EventRecordQPS, int32(50))
	value(&c.EventBurst, 100)
	pointer(&c.OOMScoreAdj, int32(OOMScoreAdj))
	// Whoever set only the update frequency expects a report each time.
	if c.NodeStatusUpdateFrequency.Duration != 0 {
		duration(&c.NodeStatusReportFrequency, c.NodeStatusUpdateFrequency.Duration)
	}
	duration(&c.NodeStatusReportFrequency, 5*time.Minute)
	duration(&c.NodeStatusUpdateFrequency, 10*time.Second)
	value(&c.NodeLeaseDurationSeconds, 40)
	duration(&c.VolumeStatsAggPeriod, time.Minute)
	value(&c.MaxPods, 110)
	value(&c.MaxOpenFiles, 1_000_000)
	value(&c.ContentType, "application/vnd.kubernetes.protobuf")
	pointer(&c.KubeAPIQPS, int32(50))
	value(&c.KubeAPIBurst, 100)
	pointer(&c.EnableControllerAttachDetach, true)
	pointer(&c.MakeIPTablesUtilChains, true)
	pointer(&c.IPTablesMasqueradeBit, int32(14))
	pointer(&c.IPTablesDropBit, int32(15))
	value(&c.ConfigMapAndSecretChangeDetectionStrategy, kubeletconfigv1beta1.WatchChangeDetectionStrategy)
	value(&c.VolumePluginDir, "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/")
	pointer(&c.RegisterNode, true)
	value(&c.ContainerRuntimeEndpoint, DefaultRuntimeEndpoint)
	duration(&c.RuntimeRequestTimeout, 2*time.Minute)
	value(&c.HairpinMode, kubeletconfigv1beta1.PromiscuousBridge)
	pointer(&c.ResolverConfig, "/etc/resolv.conf")
	pointer(&c.SeccompDefault, false)
}

func defaultImages(c *Configuration) {
	pointer(&c.RegistryPullQPS, int32(5))
	value(&c.RegistryBurst, 10)
	duration(&c.ImageMinimumGCAge, 2*time.Minute)
	pointer(&c.ImageGCHighThresholdPercent, int32(85))
	pointer(&c.ImageGCLowThresholdPercent, int32(80))
	pointer(&c.NodeStatusMaxImages, int32(50))
	// A limit above one says that pulls may run side by side.
	pointer(&c.SerializeImagePulls, c.MaxParallelImagePulls == nil || *c.MaxParallelImagePulls < 2)
}

func defaultResources(c *Configuration) {
	pointer(&c.CgroupsPerQOS, true)
	value(&c.CgroupDriver, "cgroupfs")
	value(&c.CPUManagerPolicy, "none")
	duration(&c.CPUManagerReconcilePeriod, 10*time.Second)
	value(&c.MemoryManagerPolicy, kubeletconfigv1beta1.NoneMemoryManagerPolicy)
	value(&c.TopologyManagerPolicy, kubeletconfigv1beta1.NoneTopologyManagerPolicy)
	value(&c.TopologyManagerScope, kubeletconfigv1beta1.ContainerTopologyManagerScope)
	pointer(&c.PodPidsLimit, int64(-1))
	if *c.PodPidsLimit < 0 {
		*c.PodPidsLimit = -1
	}
	pointer(&c.CPUCFSQuota, true)
	pointer(&c.CPUCFSQuotaPeriod, metav1.Duration{Duration: 100 * time.Millisecond})
	duration(&c.EvictionPressureTransitionPeriod, 5*time.Minute)
	pointer(&c.MergeDefaultEvictionSettings, false)
	pointer(&c.FailSwapOn, true)
	if c.EnforceNodeAllocatable == nil {
		c.EnforceNodeAllocatable = []string{"pods"}
	}
	pointer(&c.FailCgroupV1, true)
	pointer(&c.MemoryThrottlingFactor, 0.9)
	value(&c.MemoryReservationPolicy, kubeletconfigv1beta1.NoneMemoryReservationPolicy)
	pointer(&c.LocalStorageCapacityIsolation, true)
}

func defaultLogs(c *Configuration) {
	value(&c.ContainerLogMaxSize, "10Mi")
	pointer(&c.ContainerLogMaxFiles, int32(5))
	pointer(&c.ContainerLogMaxWorkers, int32(1))
	pointer(&c.ContainerLogMonitorInterval, metav1.Duration{Duration: 10 * time.Second})
	value(&c.PodLogsDir, "/var/log/pods")
	logsapi.SetRecommendedLoggingConfiguration(&c.Logging)
}

// defaultGated sets fields that may only be set while their gate is on. Gates
// that do not resolve are reported by Validate, not here.
func defaultGated(c *Configuration) {
	gates, _, err := featuregates.Resolve(c.FeatureGates)
	if err != nil {
		return
	}
	if gates.Enabled("KubeletCrashLoopBackOffMax") {
		pointer(&c.CrashLoopBackOff.MaxContainerRestartPeriod, metav1.Duration{Duration: 300 * time.Second})
	}
	if gates.Enabled("KubeletEnsureSecretPulledImages") {
		value(&c.ImagePullCredentialsVerificationPolicy, kubeletconfigv1beta1.NeverVerifyPreloadedImages)
	}
}

func value[T comparable](field *T, v T) {
	var zero T
	if *field == zero {
		*field = v
	}
}

func pointer[T any](field **T, v T) {
	if *field == nil {
		*field = &v
	}
}

func duration(field *metav1.Duration, d time.Duration) {
	if field.Duration == 0 {
		field.Duration = d
	}
}
