package kubeletflags

import (
	cliflag "k8s.io/component-base/cli/flag"
)

// noop is a flag that parses and then has no effect, with the reason.
type noop struct {
	name    string
	initial string
	boolean bool
	why     string
}

// noops are flags of the kubelet 1.36 that cannot mean anything here.
func noops() []noop {
	const cadvisor = "Troupe has no cAdvisor inside, statistics are read when somebody asks"
	const files = "the machine's own files are read"
	const store = "statistics are not written to a database"
	return []noop{
		{"application-metrics-count-limit", "100", false, cadvisor},
		{"boot-id-file", "/proc/sys/kernel/random/boot_id", false, files},
		{"container-hints", "/etc/cadvisor/container_hints.json", false, cadvisor},
		{"containerd", "/run/containerd/containerd.sock", false, "the runtime is reached through --container-runtime-endpoint alone"},
		{"containerd-namespace", "k8s.io", false, "the runtime is reached through --container-runtime-endpoint alone"},
		{"enable-load-reader", "false", true, cadvisor},
		{"event-storage-age-limit", "default=0", false, cadvisor},
		{"event-storage-event-limit", "default=0", false, cadvisor},
		{"experimental-mounter-path", "", false, "volumes are mounted with system calls"},
		{"global-housekeeping-interval", "1m0s", false, cadvisor},
		{"housekeeping-interval", "10s", false, cadvisor},
		{"log-cadvisor-usage", "false", true, cadvisor},
		{"machine-id-file", "/etc/machine-id,/var/lib/dbus/machine-id", false, files},
		{"storage-driver-buffer-duration", "1m0s", false, store},
		{"storage-driver-db", "cadvisor", false, store},
		{"storage-driver-host", "localhost:8086", false, store},
		{"storage-driver-password", "root", false, store},
		{"storage-driver-secure", "false", true, store},
		{"storage-driver-table", "stats", false, store},
		{"storage-driver-user", "root", false, store},
	}
}

// removed are flags that earlier kubelets had and 1.36 has not. Units outlive
// them, so they parse, and their user is told once.
func removed() []noop {
	const dockershim = "the Docker support it belonged to left Kubernetes in 1.24"
	const cni = "the container runtime runs the CNI plugins; configure them there"
	const klog = "log to stderr and let systemd or a redirection keep it"
	const gone = "the kubelet dropped it years ago"
	return []noop{
		{"pod-infra-container-image", "", false, "the runtime chooses the sandbox image (containerd: pinned_images.sandbox)"},
		{"container-runtime", "", false, "every runtime is reached through CRI, at --container-runtime-endpoint"},
		{"network-plugin", "", false, cni},
		{"network-plugin-mtu", "", false, cni},
		{"network-plugin-dir", "", false, cni},
		{"cni-bin-dir", "", false, cni},
		{"cni-conf-dir", "", false, cni},
		{"cni-cache-dir", "", false, cni},
		{"docker", "", false, dockershim},
		{"docker-endpoint", "", false, dockershim},
		{"docker-env-metadata-whitelist", "", false, dockershim},
		{"docker-only", "", true, dockershim},
		{"docker-root", "", false, dockershim},
		{"docker-tls", "", true, dockershim},
		{"docker-tls-ca", "", false, dockershim},
		{"docker-tls-cert", "", false, dockershim},
		{"docker-tls-key", "", false, dockershim},
		{"docker-disable-shared-pid", "", true, dockershim},
		{"docker-exec-handler", "", false, dockershim},
		{"experimental-dockershim", "", true, dockershim},
		{"experimental-dockershim-root-directory", "", false, dockershim},
		{"image-pull-progress-deadline", "", false, dockershim},
		{"redirect-container-streaming", "", true, dockershim},
		{"disk-metrics", "", true, gone},
		{"non-masquerade-cidr", "", false, "masquerading belongs to the CNI plugins"},
		{"hairpin-veth", "", true, cni},
		{"master-service-namespace", "", false, "service variables always come from the pod's namespace and default"},
		{"register-schedulable", "", true, "use --register-with-taints"},
		{"keep-terminated-pod-volumes", "", true, "volumes of an ended pod are always removed"},
		{"cloud-config", "", false, "cloud providers live outside the node agent; use --cloud-provider=external"},
		{"azure-container-registry-config", "", false, "use --image-credential-provider-config"},
		{"google-json-key", "", false, "use --image-credential-provider-config"},
		{"iptables-drop-bit", "", false, "set the configuration field iptablesDropBit"},
		{"iptables-masquerade-bit", "", false, "set the configuration field iptablesMasqueradeBit"},
		{"experimental-kernel-memcg-notification", "", true, "set the configuration field kernelMemcgNotification"},
		{"experimental-bootstrap-kubeconfig", "", false, "use --bootstrap-kubeconfig"},
		{"experimental-check-node-capabilities-before-mount", "", true, gone},
		{"experimental-mounter-rootfs", "", false, gone},
		{"experimental-qos-reserved", "", false, "use --qos-reserved"},
		{"experimental-fail-swap-on", "", true, "use --fail-swap-on"},
		{"experimental-allowed-unsafe-sysctls", "", false, "use --allowed-unsafe-sysctls"},
		{"seccomp-profile-root", "", false, "profiles are read below seccomp in --root-dir"},
		{"dynamic-config-dir", "", false, "configuration through the API left Kubernetes in 1.24; use --config-dir"},
		{"init-config-dir", "", false, "use --config"},
		{"enable-cadvisor-json-endpoints", "", true, gone},
		{"cadvisor-port", "", false, gone},
		{"allow-privileged", "", true, "what may be privileged is decided by admission in the API server"},
		{"host-network-sources", "", false, "what may use the host's network is decided by admission in the API server"},
		{"host-pid-sources", "", false, "what may use the host's PIDs is decided by admission in the API server"},
		{"host-ipc-sources", "", false, "what may use the host's IPC is decided by admission in the API server"},
		{"containerized", "", true, gone},
		{"bootstrap-checkpoint-path", "", false, gone},
		{"chaos-chance", "", false, gone},
		{"really-crash-for-testing", "", true, gone},
		{"require-kubeconfig", "", true, "giving --kubeconfig is enough"},
		{"api-servers", "", false, "use --kubeconfig"},
		{"configure-cbr0", "", true, cni},
		{"reconcile-cidr", "", true, cni},
		{"babysit-daemons", "", true, gone},
		{"enable-custom-metrics", "", true, gone},
		{"enable-cri", "", true, "CRI is the only way to the runtime"},
		{"low-diskspace-threshold-mb", "", false, "use --eviction-hard"},
		{"outofdisk-transition-frequency", "", false, "use --eviction-pressure-transition-period"},
		{"logtostderr", "", true, klog},
		{"alsologtostderr", "", true, klog},
		{"log-dir", "", false, klog},
		{"log-file", "", false, klog},
		{"log-file-max-size", "", false, klog},
		{"log-backtrace-at", "", false, klog},
		{"one-output", "", true, klog},
		{"add-dir-header", "", true, klog},
		{"skip-headers", "", true, klog},
		{"skip-log-headers", "", true, klog},
		{"stderrthreshold", "", false, klog},
	}
}

// registerNoop adds both kinds. The removed ones stay out of every help text.
func registerNoop(sets *cliflag.NamedFlagSets) {
	fs := sets.FlagSet(groupNoop)
	for _, n := range noops() {
		addNoop(fs, n, n.why)
	}
	for _, n := range removed() {
		addNoop(fs, n, n.why)
		fs.Lookup(n.name).Hidden = true
	}
}
