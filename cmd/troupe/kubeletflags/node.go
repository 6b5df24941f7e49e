// Package kubeletflags is the kubelet's command line: every flag of the kubelet
// 1.36 is accepted. A flag is honoured, or its user is told in a sentence why
// not; none is silently ignored.
package kubeletflags

import (
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // makes --logging-format=json known

	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
)

// Group names, in the order of the help. The first ones are shown by the short help.
const (
	groupStart   = "essential"
	groupNode    = "node"
	groupLogging = "logging"
	groupRuntime = "runtime and images"
	groupServer  = "server and API client"
	groupPods    = "pods"
	groupReserve = "resources and eviction"
	groupNoop    = "accepted without effect"
)

// short lists the groups that --help shows; --help-all shows every group.
func short() []string { return []string{groupStart, groupNode, groupLogging} }

// register adds every flag to sets, bound to f and c. c must have its defaults.
func register(sets *cliflag.NamedFlagSets, f *kubeletconfig.Flags, c *kubeletconfig.Configuration) {
	registerStart(sets, f, c)
	registerNode(sets, f, c)
	registerLogging(sets, c)
	registerRuntime(sets, f, c)
	registerServer(sets, f, c)
	registerPods(sets, c)
	registerResources(sets, f, c)
	registerNoop(sets)
}

func registerStart(sets *cliflag.NamedFlagSets, f *kubeletconfig.Flags, c *kubeletconfig.Configuration) {
	fs := sets.FlagSet(groupStart)
	fs.StringVar(&f.Config, "config", f.Config, "KubeletConfiguration `file`; flags override it")
	fs.StringVar(&f.ConfigDir, "config-dir", f.ConfigDir, "`folder` of *.conf files merged over --config in lexical order")
	fs.StringVar(&f.Kubeconfig, "kubeconfig", f.Kubeconfig, "kubeconfig `file` for the API server; without it only static pods run")
	fs.StringVar(&f.BootstrapKubeconfig, "bootstrap-kubeconfig", f.BootstrapKubeconfig, "kubeconfig `file` to request a client certificate with while --kubeconfig does not exist")
	fs.StringVar(&f.RootDir, "root-dir", f.RootDir, "`folder` for pods, volumes, plugins and state")
	fs.StringVar(&c.ContainerRuntimeEndpoint, "container-runtime-endpoint", c.ContainerRuntimeEndpoint, "CRI `socket` of the container runtime")
	fs.StringVar(&f.Socket, "socket", f.Socket, "root-only unix `socket` for `troupe tree` and `troupe explain`; empty turns it off")
	fs.Var(cliflag.NewMapStringBool(&c.FeatureGates), "feature-gates", "`gates` to turn on or off: Name=true,Other=false")
}

func registerNode(sets *cliflag.NamedFlagSets, f *kubeletconfig.Flags, c *kubeletconfig.Configuration) {
	fs := sets.FlagSet(groupNode)
	fs.StringVar(&f.HostnameOverride, "hostname-override", f.HostnameOverride, "node `name` instead of the host name")
	fs.StringVar(&f.NodeIP, "node-ip", f.NodeIP, "node `IP`, or two of different families with a comma; :: prefers the default IPv6 address")
	labels := cliflag.ConfigurationMap(f.NodeLabels)
	fs.Var(&labels, "node-labels", "`labels` to register the node with: key=value,key=value")
	fs.Var(taints{&c.RegisterWithTaints}, "register-with-taints", "`taints` to register the node with: key=value:effect,…")
	fs.BoolVar(c.RegisterNode, "register-node", *c.RegisterNode, "create the node object")
	fs.StringVar(&c.ProviderID, "provider-id", c.ProviderID, "`ID` of the machine in its cloud")
	fs.StringVar(&f.CloudProvider, "cloud-provider", f.CloudProvider, "`external` if a cloud controller manager sets the node up, else empty")
	fs.Int32Var(&c.MaxPods, "max-pods", c.MaxPods, "most pods on this node")
	fs.Int32Var(&c.PodsPerCore, "pods-per-core", c.PodsPerCore, "most pods for each core, at most --max-pods in total; 0: no such limit")
	fs.StringVar(&c.PodCIDR, "pod-cidr", c.PodCIDR, "`network` of the pods, without an API server only")
	fs.DurationVar(&c.NodeStatusUpdateFrequency.Duration, "node-status-update-frequency", c.NodeStatusUpdateFrequency.Duration, "time between looks at the node's own status")
	fs.Int32Var(c.NodeStatusMaxImages, "node-status-max-images", *c.NodeStatusMaxImages, "most images in the node status; -1: all")
	fs.Int32Var(c.OOMScoreAdj, "oom-score-adj", *c.OOMScoreAdj, "OOM score of the agent itself, -1000 to 1000")
	fs.Int64Var(&c.MaxOpenFiles, "max-open-files", c.MaxOpenFiles, "most open files of the agent itself")
	fs.BoolVar(c.FailCgroupV1, "fail-cgroupv1", *c.FailCgroupV1, "refuse to start on cgroup v1")
	fs.BoolVar(c.FailSwapOn, "fail-swap-on", *c.FailSwapOn, "refuse to start while swap is on")
	fs.StringVar(&f.LockFile, "lock-file", f.LockFile, "`file` to hold a lock on, so that one agent runs")
	fs.BoolVar(&f.ExitOnLockContention, "exit-on-lock-contention", f.ExitOnLockContention, "end when another process opens the lock file")
	fs.BoolVar(&c.RunOnce, "runonce", c.RunOnce, "removed from Kubernetes; true is refused")
	fs.BoolVar(c.EnableControllerAttachDetach, "enable-controller-attach-detach", *c.EnableControllerAttachDetach, "leave attaching volumes to the controller manager")
}

// registerLogging takes the flags from the library that acts on them, in fewer words.
func registerLogging(sets *cliflag.NamedFlagSets, c *kubeletconfig.Configuration) {
	fs := sets.FlagSet(groupLogging)
	logsapi.AddFlags(&c.Logging, fs)
	for name, usage := range map[string]string{
		"v":                         "how much to log; 2 is usual, 4 is for debugging",
		"vmodule":                   "`levels` of single files: pattern=N,…; text format only",
		"logging-format":            "text or json",
		"log-flush-frequency":       "longest time that a line waits in memory",
		"log-text-split-stream":     "text: errors to stderr, the rest to stdout; needs gate LoggingAlphaOptions",
		"log-json-split-stream":     "json: errors to stderr, the rest to stdout; needs gate LoggingAlphaOptions",
		"log-text-info-buffer-size": "text: buffer for what goes to stdout; needs gate LoggingAlphaOptions",
		"log-json-info-buffer-size": "json: buffer for what goes to stdout; needs gate LoggingAlphaOptions",
	} {
		fs.Lookup(name).Usage = usage
	}
}
