package node

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mayLowerOOMScore tells whether the kernel lets us make a process less likely to be killed than it is by default.
func mayLowerOOMScore() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// configure writes the configuration of the runtime, its network and the agent.
func configure(l Layout, m Images) error {
	network := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni-addresses"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`, podRange)
	runtime := fmt.Sprintf(`version = 3
root = "%[1]s/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = %[2]q
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = %[3]q
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "%[1]s/registries"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = %[4]t
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["%[5]s/cni"]
    conf_dir = "%[1]s/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "%[5]s/bin/runc"
`, Home, socket, m.Sandbox, !mayLowerOOMScore(), l.Runtime)
	// Beside what any node needs: enough requests and pods for a suite that runs several specs at a time, disk thresholds
	// that a developer's machine meets, and no lower OOM score, which needs a capability that not every machine has.
	agent := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
cgroupRoot: %[1]s
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix://%[2]s
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[3]s/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: %[3]s/pki/node.crt
tlsPrivateKeyFile: %[3]s/pki/node.key
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: %[3]s/resolv.conf
maxPods: 500
serializeImagePulls: false
evictionHard: {memory.available: 100Mi, nodefs.available: 1%%, imagefs.available: 1%%}
imageGCHighThresholdPercent: 100
kubeAPIQPS: 500
kubeAPIBurst: 1000
`, Cgroup, socket, Home)
	all := map[string]string{"cni/10-pods.conflist": network, "containerd.toml": runtime, "agent.yaml": agent, "resolv.conf": "nameserver " + address + "\n"}
	for _, r := range m.Hosts {
		all["registries/"+r+"/hosts.toml"] = fmt.Sprintf("[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", "http://"+mirror)
	}
	for file, text := range all {
		to := filepath.Join(Home, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
