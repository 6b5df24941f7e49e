package kubeletconfig

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// state says whether the agent acts on a field.
type state int

const (
	// honoured: the agent behaves as the field says.
	honoured state = iota
	// notYet: the field is read and checked, but nothing acts on it; a value
	// that differs from the default is named in the warning at start.
	notYet
	// moot: every value has the same effect here, which the table explains.
	moot
)

type support struct {
	state state
	why   string // for moot only
}

// supported has one row for each field of the configuration; a test compares
// it with the type.
func supported() map[string]support {
	yes, no := support{state: honoured}, support{state: notYet}
	return map[string]support{
		"address":              yes,
		"allowedUnsafeSysctls": no,
		"authentication":       yes,
		"authorization":        yes,
		"cgroupDriver":         yes,
		"cgroupRoot":           yes,
		"cgroupsPerQOS":        yes,
		"clusterDNS":           yes,
		"clusterDomain":        yes,
		"configMapAndSecretChangeDetectionStrategy": {moot, "objects are always watched, one watch for each that a pod refers to"},
		"containerLogMaxFiles":                      yes,
		"containerLogMaxSize":                       yes,
		"containerLogMaxWorkers":                    yes,
		"containerLogMonitorInterval":               yes,
		"containerRuntimeEndpoint":                  yes,
		"contentType":                               yes,
		"cpuCFSQuota":                               yes,
		"cpuCFSQuotaPeriod":                         yes,
		"cpuManagerPolicy":                          no,
		"cpuManagerPolicyOptions":                   no,
		"cpuManagerReconcilePeriod":                 {moot, "CPU sets are written when they change, not on a timer"},
		"crashLoopBackOff":                          yes,
		"enableContentionProfiling":                 no,
		"enableControllerAttachDetach":              no,
		"enableDebugFlagsHandler":                   no,
		"enableDebuggingHandlers":                   yes,
		"enableProfilingHandler":                    no,
		"enableServer":                              yes,
		"enableSystemLogHandler":                    no,
		"enableSystemLogQuery":                      no,
		"enforceNodeAllocatable":                    yes,
		"eventBurst":                                yes,
		"eventRecordQPS":                            yes,
		"evictionHard":                              no,
		"evictionMaxPodGracePeriod":                 no,
		"evictionMinimumReclaim":                    no,
		"evictionPressureTransitionPeriod":          no,
		"evictionSoft":                              no,
		"evictionSoftGracePeriod":                   no,
		"failCgroupV1":                              yes,
		"failSwapOn":                                yes,
		"featureGates":                              yes,
		"fileCheckFrequency":                        yes,
		"hairpinMode":                               {moot, "the network belongs to the CNI plugins since the kubelet lost its own"},
		"healthzBindAddress":                        yes,
		"healthzPort":                               yes,
		"httpCheckFrequency":                        yes,
		"imageGCHighThresholdPercent":               yes,
		"imageGCLowThresholdPercent":                yes,
		"imageMaximumGCAge":                         yes,
		"imageMinimumGCAge":                         yes,
		"imagePullCredentialsVerificationPolicy":    yes,
		"imageServiceEndpoint":                      yes,
		"iptablesDropBit":                           no,
		"iptablesMasqueradeBit":                     no,
		"kernelMemcgNotification":                   no,
		"kubeAPIBurst":                              yes,
		"kubeAPIQPS":                                yes,
		"kubeReserved":                              yes,
		"kubeReservedCgroup":                        no,
		"kubeletCgroups":                            no,
		"localStorageCapacityIsolation":             no,
		"logging":                                   yes,
		"makeIPTablesUtilChains":                    no,
		"maxOpenFiles":                              yes,
		"maxParallelImagePulls":                     yes,
		"maxPods":                                   yes,
		"memoryManagerPolicy":                       no,
		"memoryReservationPolicy":                   no,
		"memorySwap":                                yes,
		"memoryThrottlingFactor":                    no,
		"mergeDefaultEvictionSettings":              yes,
		"nodeLeaseDurationSeconds":                  yes,
		"nodeStatusMaxImages":                       yes,
		"nodeStatusReportFrequency":                 yes,
		"nodeStatusUpdateFrequency":                 yes,
		"oomScoreAdj":                               yes,
		"podCIDR":                                   yes,
		"podLogsDir":                                yes,
		"podPidsLimit":                              yes,
		"podsPerCore":                               yes,
		"port":                                      yes,
		"preloadedImagesVerificationAllowlist":      yes,
		"protectKernelDefaults":                     no,
		"providerID":                                yes,
		"qosReserved":                               no,
		"readOnlyPort":                              no,
		"registerNode":                              yes,
		"registerWithTaints":                        yes,
		"registryBurst":                             yes,
		"registryPullQPS":                           yes,
		"reservedMemory":                            no,
		"reservedSystemCPUs":                        no,
		"resolvConf":                                yes,
		"rotateCertificates":                        no,
		"runOnce":                                   yes,
		"runtimeRequestTimeout":                     yes,
		"seccompDefault":                            yes,
		"serializeImagePulls":                       yes,
		"serverTLSBootstrap":                        no,
		"showHiddenMetricsForVersion":               no,
		"shutdownGracePeriod":                       no,
		"shutdownGracePeriodByPodPriority":          no,
		"shutdownGracePeriodCriticalPods":           no,
		"singleProcessOOMKill":                      yes,
		"staticPodPath":                             yes,
		"staticPodURL":                              yes,
		"staticPodURLHeader":                        yes,
		"streamingConnectionIdleTimeout":            no,
		"syncFrequency":                             {moot, "pods are looked at when something happened to them, not on a timer"},
		"systemCgroups":                             no,
		"systemReserved":                            yes,
		"systemReservedCgroup":                      no,
		"tlsCertFile":                               yes,
		"tlsCipherSuites":                           yes,
		"tlsCurvePreferences":                       yes,
		"tlsMinVersion":                             yes,
		"tlsPrivateKeyFile":                         yes,
		"topologyManagerPolicy":                     no,
		"topologyManagerPolicyOptions":              no,
		"topologyManagerScope":                      no,
		"tracing":                                   no,
		"userNamespaces":                            no,
		"volumePluginDir":                           no,
		"volumeStatsAggPeriod":                      no,
	}
}

// Warnings returns sentences about settings that will not do what they say:
// first one that lists every changed field nothing acts on yet, then one for
// each changed field that is moot. legacy selects the defaults to compare with.
func Warnings(c *Configuration, legacy bool) ([]string, error) {
	base := NewDefault()
	base.EvictionHard = DefaultEvictionHard()
	if legacy {
		base = NewLegacyDefault()
	}
	was, err := asFields(base)
	if err != nil {
		return nil, err
	}
	is, err := asFields(c)
	if err != nil {
		return nil, err
	}
	var waiting, out []string
	table := supported()
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if reflect.DeepEqual(was[name], is[name]) {
			continue
		}
		switch table[name].state {
		case honoured:
		case notYet:
			waiting = append(waiting, name)
		case moot:
			out = append(out, fmt.Sprintf("configuration field %s makes no difference: %s", name, table[name].why))
		}
	}
	if len(waiting) > 0 {
		out = slices.Insert(out, 0, "configuration fields that are set but not honoured yet: "+strings.Join(waiting, ", "))
	}
	for i, server := range c.ClusterDNS {
		if _, err := netip.ParseAddr(server); err != nil {
			out = append(out, fmt.Sprintf("clusterDNS[%d]: %q is not an IP address and is left out", i, server))
		}
	}
	return out, nil
}

func asFields(c *Configuration) (map[string]any, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("compare configuration with its defaults: %w", err)
	}
	return parseObject(raw)
}

// Changed lists the fields, by name, in which two configurations differ.
func Changed(a, b *Configuration) []string {
	was, err := asFields(a)
	if err != nil {
		return nil
	}
	is, err := asFields(b)
	if err != nil {
		return nil
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(supported())) {
		if !reflect.DeepEqual(was[name], is[name]) {
			out = append(out, name)
		}
	}
	return out
}
