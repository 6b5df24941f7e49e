package kubeletconfig

import (
	"maps"
	"slices"
)

// FlagFields maps each kubelet flag that sets a configuration field to the
// path of that field. Fresh on each call.
func FlagFields() map[string]string {
	return map[string]string{
		"address":                                      "address",
		"allowed-unsafe-sysctls":                       "allowedUnsafeSysctls",
		"anonymous-auth":                               "authentication.anonymous.enabled",
		"authentication-token-webhook":                 "authentication.webhook.enabled",
		"authentication-token-webhook-cache-ttl":       "authentication.webhook.cacheTTL",
		"authorization-mode":                           "authorization.mode",
		"authorization-webhook-cache-authorized-ttl":   "authorization.webhook.cacheAuthorizedTTL",
		"authorization-webhook-cache-unauthorized-ttl": "authorization.webhook.cacheUnauthorizedTTL",
		"cgroup-driver":                                "cgroupDriver",
		"cgroup-root":                                  "cgroupRoot",
		"cgroups-per-qos":                              "cgroupsPerQOS",
		"client-ca-file":                               "authentication.x509.clientCAFile",
		"cluster-dns":                                  "clusterDNS",
		"cluster-domain":                               "clusterDomain",
		"container-log-max-files":                      "containerLogMaxFiles",
		"container-log-max-size":                       "containerLogMaxSize",
		"container-runtime-endpoint":                   "containerRuntimeEndpoint",
		"contention-profiling":                         "enableContentionProfiling",
		"cpu-cfs-quota":                                "cpuCFSQuota",
		"cpu-cfs-quota-period":                         "cpuCFSQuotaPeriod",
		"cpu-manager-policy":                           "cpuManagerPolicy",
		"cpu-manager-policy-options":                   "cpuManagerPolicyOptions",
		"cpu-manager-reconcile-period":                 "cpuManagerReconcilePeriod",
		"enable-controller-attach-detach":              "enableControllerAttachDetach",
		"enable-debugging-handlers":                    "enableDebuggingHandlers",
		"enable-server":                                "enableServer",
		"enforce-node-allocatable":                     "enforceNodeAllocatable",
		"event-burst":                                  "eventBurst",
		"event-qps":                                    "eventRecordQPS",
		"eviction-hard":                                "evictionHard",
		"eviction-max-pod-grace-period":                "evictionMaxPodGracePeriod",
		"eviction-minimum-reclaim":                     "evictionMinimumReclaim",
		"eviction-pressure-transition-period":          "evictionPressureTransitionPeriod",
		"eviction-soft":                                "evictionSoft",
		"eviction-soft-grace-period":                   "evictionSoftGracePeriod",
		"fail-cgroupv1":                                "failCgroupV1",
		"fail-swap-on":                                 "failSwapOn",
		"feature-gates":                                "featureGates",
		"file-check-frequency":                         "fileCheckFrequency",
		"hairpin-mode":                                 "hairpinMode",
		"healthz-bind-address":                         "healthzBindAddress",
		"healthz-port":                                 "healthzPort",
		"http-check-frequency":                         "httpCheckFrequency",
		"image-gc-high-threshold":                      "imageGCHighThresholdPercent",
		"image-gc-low-threshold":                       "imageGCLowThresholdPercent",
		"image-service-endpoint":                       "imageServiceEndpoint",
		"kernel-memcg-notification":                    "kernelMemcgNotification",
		"kube-api-burst":                               "kubeAPIBurst",
		"kube-api-content-type":                        "contentType",
		"kube-api-qps":                                 "kubeAPIQPS",
		"kube-reserved":                                "kubeReserved",
		"kube-reserved-cgroup":                         "kubeReservedCgroup",
		"kubelet-cgroups":                              "kubeletCgroups",
		"local-storage-capacity-isolation":             "localStorageCapacityIsolation",
		"log-flush-frequency":                          "logging.flushFrequency",
		"log-json-info-buffer-size":                    "logging.options.json.infoBufferSize",
		"log-json-split-stream":                        "logging.options.json.splitStream",
		"log-text-info-buffer-size":                    "logging.options.text.infoBufferSize",
		"log-text-split-stream":                        "logging.options.text.splitStream",
		"logging-format":                               "logging.format",
		"make-iptables-util-chains":                    "makeIPTablesUtilChains",
		"manifest-url":                                 "staticPodURL",
		"manifest-url-header":                          "staticPodURLHeader",
		"max-open-files":                               "maxOpenFiles",
		"max-pods":                                     "maxPods",
		"memory-manager-policy":                        "memoryManagerPolicy",
		"minimum-image-ttl-duration":                   "imageMinimumGCAge",
		"node-status-max-images":                       "nodeStatusMaxImages",
		"node-status-update-frequency":                 "nodeStatusUpdateFrequency",
		"oom-score-adj":                                "oomScoreAdj",
		"pod-cidr":                                     "podCIDR",
		"pod-manifest-path":                            "staticPodPath",
		"pod-max-pids":                                 "podPidsLimit",
		"pods-per-core":                                "podsPerCore",
		"port":                                         "port",
		"protect-kernel-defaults":                      "protectKernelDefaults",
		"provider-id":                                  "providerID",
		"qos-reserved":                                 "qosReserved",
		"read-only-port":                               "readOnlyPort",
		"register-node":                                "registerNode",
		"register-with-taints":                         "registerWithTaints",
		"registry-burst":                               "registryBurst",
		"registry-qps":                                 "registryPullQPS",
		"reserved-cpus":                                "reservedSystemCPUs",
		"reserved-memory":                              "reservedMemory",
		"resolv-conf":                                  "resolvConf",
		"rotate-certificates":                          "rotateCertificates",
		"rotate-server-certificates":                   "serverTLSBootstrap",
		"runonce":                                      "runOnce",
		"runtime-request-timeout":                      "runtimeRequestTimeout",
		"seccomp-default":                              "seccompDefault",
		"serialize-image-pulls":                        "serializeImagePulls",
		"streaming-connection-idle-timeout":            "streamingConnectionIdleTimeout",
		"sync-frequency":                               "syncFrequency",
		"system-cgroups":                               "systemCgroups",
		"system-reserved":                              "systemReserved",
		"system-reserved-cgroup":                       "systemReservedCgroup",
		"tls-cert-file":                                "tlsCertFile",
		"tls-cipher-suites":                            "tlsCipherSuites",
		"tls-min-version":                              "tlsMinVersion",
		"tls-private-key-file":                         "tlsPrivateKeyFile",
		"topology-manager-policy":                      "topologyManagerPolicy",
		"topology-manager-policy-options":              "topologyManagerPolicyOptions",
		"topology-manager-scope":                       "topologyManagerScope",
		"v":                                            "logging.verbosity",
		"vmodule":                                      "logging.vmodule",
		"volume-plugin-dir":                            "volumePluginDir",
		"volume-stats-agg-period":                      "volumeStatsAggPeriod",
	}
}

// FlagOnly lists the settings that exist as a flag but in no configuration
// field. Fresh on each call.
func FlagOnly() []string {
	return []string{
		"bootstrap-kubeconfig", "cert-dir", "cloud-provider", "config", "config-dir",
		"exit-on-lock-contention", "experimental-allocatable-ignore-eviction", "experimental-mounter-path",
		"hostname-override", "image-credential-provider-bin-dir", "image-credential-provider-config",
		"kubeconfig", "lock-file", "maximum-dead-containers", "maximum-dead-containers-per-container",
		"minimum-container-ttl-duration", "node-ip", "node-labels", "root-dir", "runtime-cgroups",
	}
}

// flagOf returns the flag that sets the field at path, or "".
func flagOf(path string) string {
	fields := FlagFields()
	for _, flag := range slices.Sorted(maps.Keys(fields)) {
		if fields[flag] == path {
			return flag
		}
	}
	return ""
}
