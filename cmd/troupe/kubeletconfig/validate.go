package kubeletconfig

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
	logsapi "k8s.io/component-base/logs/api/v1"
	tracingapi "k8s.io/component-base/tracing/api/v1"

	"github.com/troupe-dev/troupe/cmd/troupe/featuregates"
	"github.com/troupe-dev/troupe/cmd/troupe/version"
)

// Host holds the facts about the machine that validity depends on.
type Host struct {
	// CgroupV1 is true unless the unified hierarchy is mounted at /sys/fs/cgroup.
	CgroupV1 bool
}

// errCgroupV1 is the kubelet's own sentence: people search for it.
var errCgroupV1 = errors.New("kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is unsupported and will be removed in a future release" +
	" (set failCgroupV1: false, or --fail-cgroupv1=false, to run here all the same)")

// Validate checks a complete configuration (after SetDefaults) and returns
// everything that is wrong with it, each error with the path of the field and
// its flag. Rules: pkg/kubelet/apis/config/validation of Kubernetes v1.36.3,
// and those that the kubelet checks only later in its start.
func Validate(c *Configuration, gates featuregates.Gates, host Host) error {
	v := &validator{c: c, gates: gates, host: host}
	v.numbers()
	v.images()
	v.server()
	v.names()
	v.shutdown()
	v.gated()
	v.allocatable()
	v.eviction()
	v.reservedMemory()
	v.taints()
	v.logs()
	v.hostRules()
	v.libraries()
	return errors.Join(v.errs...)
}

type validator struct {
	c     *Configuration
	gates featuregates.Gates
	host  Host
	errs  []error
}

// bad records one error. path is that of the field in the file.
func (v *validator) bad(path, format string, args ...any) {
	where := path
	if flag := flagOf(path); flag != "" {
		where += " (--" + flag + ")"
	}
	v.errs = append(v.errs, fmt.Errorf("%s: "+format, append([]any{where}, args...)...))
}

func (v *validator) notNegative(path string, n int64) {
	if n < 0 {
		v.bad(path, "%d is negative", n)
	}
}

func (v *validator) between(path string, n, low, high int64) {
	if n < low || n > high {
		v.bad(path, "%d is not between %d and %d", n, low, high)
	}
}

func (v *validator) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.bad(path, "%q is not one of %s", value, strings.Join(quoted(allowed), ", "))
	}
}

func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w)
	}
	return out
}

func (v *validator) numbers() {
	c := v.c
	if c.NodeLeaseDurationSeconds <= 0 {
		v.bad("nodeLeaseDurationSeconds", "%d is not greater than 0", c.NodeLeaseDurationSeconds)
	}
	v.notNegative("eventBurst", int64(c.EventBurst))
	v.notNegative("eventRecordQPS", int64(*c.EventRecordQPS))
	v.notNegative("kubeAPIBurst", int64(c.KubeAPIBurst))
	v.notNegative("kubeAPIQPS", int64(*c.KubeAPIQPS))
	v.notNegative("maxOpenFiles", c.MaxOpenFiles)
	v.notNegative("maxPods", int64(c.MaxPods))
	v.notNegative("podsPerCore", int64(c.PodsPerCore))
	v.notNegative("registryBurst", int64(c.RegistryBurst))
	v.notNegative("registryPullQPS", int64(*c.RegistryPullQPS))
	v.between("iptablesDropBit", int64(*c.IPTablesDropBit), 0, 31)
	v.between("iptablesMasqueradeBit", int64(*c.IPTablesMasqueradeBit), 0, 31)
	v.between("oomScoreAdj", int64(*c.OOMScoreAdj), -1000, 1000)
	if *c.NodeStatusMaxImages < -1 {
		v.bad("nodeStatusMaxImages", "%d is below -1 (-1 means no limit)", *c.NodeStatusMaxImages)
	}
	if c.SystemCgroups != "" && c.CgroupRoot == "" {
		v.bad("systemCgroups", "needs cgroupRoot (--cgroup-root) to be set too")
	}
	if c.RunOnce {
		v.bad("runOnce", "was removed; the agent does not end after one round (use `troupe run` for that)")
	}
}

func (v *validator) images() {
	c := v.c
	high, low := *c.ImageGCHighThresholdPercent, *c.ImageGCLowThresholdPercent
	v.between("imageGCHighThresholdPercent", int64(high), 0, 100)
	v.between("imageGCLowThresholdPercent", int64(low), 0, 100)
	if low >= high {
		v.bad("imageGCLowThresholdPercent", "%d is not below imageGCHighThresholdPercent, %d", low, high)
	}
	youngest, oldest := c.ImageMinimumGCAge.Duration, c.ImageMaximumGCAge.Duration
	if youngest < 0 {
		v.bad("imageMinimumGCAge", "%s is negative", youngest)
	}
	if oldest < 0 {
		v.bad("imageMaximumGCAge", "%s is negative", oldest)
	}
	if oldest > 0 && oldest <= youngest {
		v.bad("imageMaximumGCAge", "%s is not greater than imageMinimumGCAge, %s", oldest, youngest)
	}
	if c.MaxParallelImagePulls != nil {
		if *c.MaxParallelImagePulls < 1 {
			v.bad("maxParallelImagePulls", "%d is not positive", *c.MaxParallelImagePulls)
		}
		if *c.SerializeImagePulls && *c.MaxParallelImagePulls > 1 {
			v.bad("maxParallelImagePulls", "%d needs serializeImagePulls: false", *c.MaxParallelImagePulls)
		}
	}
	v.pulledSecrets()
}

// pulledSecrets covers the fields of KubeletEnsureSecretPulledImages.
func (v *validator) pulledSecrets() {
	c := v.c
	if !v.gates.Enabled("KubeletEnsureSecretPulledImages") {
		if c.ImagePullCredentialsVerificationPolicy != "" {
			v.bad("imagePullCredentialsVerificationPolicy", "needs feature gate KubeletEnsureSecretPulledImages")
		}
		if len(c.PreloadedImagesVerificationAllowlist) > 0 {
			v.bad("preloadedImagesVerificationAllowlist", "needs feature gate KubeletEnsureSecretPulledImages")
		}
		return
	}
	const allowlisted = "NeverVerifyAllowlistedImages"
	policy := string(c.ImagePullCredentialsVerificationPolicy)
	v.oneOf("imagePullCredentialsVerificationPolicy", policy, "NeverVerify", "NeverVerifyPreloadedImages", allowlisted, "AlwaysVerify")
	if len(c.PreloadedImagesVerificationAllowlist) > 0 && policy != allowlisted {
		v.bad("preloadedImagesVerificationAllowlist", "needs imagePullCredentialsVerificationPolicy: %s", allowlisted)
		return
	}
	for i, pattern := range c.PreloadedImagesVerificationAllowlist {
		if why := imagePattern(pattern); why != "" {
			v.bad(fmt.Sprintf("preloadedImagesVerificationAllowlist[%d]", i), "%q %s", pattern, why)
		}
	}
}

// imagePattern says what is wrong with an image name or a "prefix/*" pattern.
func imagePattern(p string) string {
	trimmed, wildcard := strings.CutSuffix(p, "/*")
	switch {
	case p != strings.TrimSpace(p):
		return "has spaces around it"
	case p == "" || trimmed == "":
		return "names no registry"
	case strings.Contains(trimmed, "*"):
		return "has a wildcard that is not a final /*"
	case !wildcard && (strings.Contains(p, "@") || strings.LastIndexByte(p, ':') > strings.LastIndexByte(p, '/')):
		return "has a tag or a digest; write the name alone"
	}
	return ""
}

func (v *validator) shutdown() {
	c := v.c
	all, critical := c.ShutdownGracePeriod.Duration, c.ShutdownGracePeriodCriticalPods.Duration
	if v.gates.Enabled("GracefulNodeShutdown") {
		if critical > all {
			v.bad("shutdownGracePeriodCriticalPods", "%s is above shutdownGracePeriod, %s", critical, all)
		}
		for path, d := range map[string]time.Duration{"shutdownGracePeriod": all, "shutdownGracePeriodCriticalPods": critical} {
			if d < 0 || (d > 0 && d < time.Second) {
				v.bad(path, "%s is neither 0 nor at least 1s", d)
			}
		}
	} else if all > 0 || critical > 0 {
		v.bad("shutdownGracePeriod", "needs feature gate GracefulNodeShutdown")
	}
	if len(c.ShutdownGracePeriodByPodPriority) == 0 {
		return
	}
	if !v.gates.Enabled("GracefulNodeShutdownBasedOnPodPriority") {
		v.bad("shutdownGracePeriodByPodPriority", "needs feature gate GracefulNodeShutdownBasedOnPodPriority")
	} else if all > 0 || critical > 0 {
		v.bad("shutdownGracePeriodByPodPriority", "cannot be set together with shutdownGracePeriod; keep one")
	}
}

func (v *validator) gated() {
	c := v.c
	period := c.CPUCFSQuotaPeriod.Duration
	if !v.gates.Enabled("CustomCPUCFSQuotaPeriod") {
		if period != 100*time.Millisecond {
			v.bad("cpuCFSQuotaPeriod", "%s needs feature gate CustomCPUCFSQuotaPeriod", period)
		}
	} else if period < time.Millisecond || period > time.Second {
		v.bad("cpuCFSQuotaPeriod", "%s is not between 1ms and 1s", period)
	}
	if c.ServerTLSBootstrap && !v.gates.Enabled("RotateKubeletServerCertificate") {
		v.bad("serverTLSBootstrap", "needs feature gate RotateKubeletServerCertificate")
	}
	v.oneOf("memorySwap.swapBehavior", c.MemorySwap.SwapBehavior, "", "LimitedSwap", "NoSwap")
	restart := c.CrashLoopBackOff.MaxContainerRestartPeriod
	switch on := v.gates.Enabled("KubeletCrashLoopBackOffMax"); {
	case !on && restart != nil:
		v.bad("crashLoopBackOff.maxContainerRestartPeriod", "needs feature gate KubeletCrashLoopBackOffMax")
	case on && restart == nil:
		v.bad("crashLoopBackOff.maxContainerRestartPeriod", "is missing; set a time between 1s and 300s")
	case on && (restart.Duration < time.Second || restart.Duration > 300*time.Second):
		v.bad("crashLoopBackOff.maxContainerRestartPeriod", "%s is not between 1s and 300s", restart.Duration)
	}
	if f := c.MemoryThrottlingFactor; f != nil && (*f <= 0 || *f > 1) {
		v.bad("memoryThrottlingFactor", "%v is not above 0 and at most 1", *f)
	}
	v.oneOf("memoryReservationPolicy", string(c.MemoryReservationPolicy), "None", "TieredReservation")
	if c.MemoryReservationPolicy == "TieredReservation" && !v.gates.Enabled("MemoryQoS") {
		v.bad("memoryReservationPolicy", "TieredReservation needs feature gate MemoryQoS")
	}
	if c.EnableSystemLogQuery != nil && *c.EnableSystemLogQuery && !*c.EnableSystemLogHandler {
		v.bad("enableSystemLogQuery", "needs enableSystemLogHandler: true")
	}
	if len(c.QOSReserved) > 0 && !v.gates.Enabled("QOSReserved") {
		v.bad("qosReserved", "needs feature gate QOSReserved")
	}
}

// hostRules covers what depends on the machine, last so that the message about
// cgroup v1 stands alone when the file itself is right.
func (v *validator) hostRules() {
	c := v.c
	if v.host.CgroupV1 {
		if *c.FailCgroupV1 {
			v.errs = append(v.errs, errCgroupV1)
		}
		if c.SingleProcessOOMKill != nil && !*c.SingleProcessOOMKill {
			v.bad("singleProcessOOMKill", "false is not possible with cgroup v1")
		}
		if c.MemorySwap.SwapBehavior == "LimitedSwap" {
			v.bad("memorySwap.swapBehavior", "LimitedSwap is not possible with cgroup v1")
		}
	}
	if u := c.UserNamespaces; u != nil && u.IDsPerPod != nil {
		const unit, most = 65536, int64(1<<32 - 1)
		if n := *u.IDsPerPod; n < unit || n%unit != 0 || n > most {
			v.bad("userNamespaces.idsPerPod", "%d is not a multiple of %d up to %d", n, unit, most)
		}
	}
}

// libraries asks the component libraries about the parts that they own, and
// does for metrics what the library does with a version set at link time.
func (v *validator) libraries() {
	previous := fmt.Sprintf("%d.%d", version.Major, version.Minor-1)
	if shown := v.c.ShowHiddenMetricsForVersion; shown != "" && shown != previous {
		v.bad("showHiddenMetricsForVersion", "%q is not %s, the only version whose hidden metrics can be shown", shown, previous)
	}
	gates := v.gates.Component()
	for _, err := range logsapi.Validate(&v.c.Logging, gates, field.NewPath("logging")) {
		v.errs = append(v.errs, err)
	}
	for _, err := range tracingapi.ValidateTracingConfiguration(v.c.Tracing, gates, field.NewPath("tracing")) {
		v.errs = append(v.errs, err)
	}
}
