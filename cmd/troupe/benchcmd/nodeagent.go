package benchcmd

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"
)

// floorAgent is the command of the floor agent with the latencies of the simulated runtime.
func floorAgent(o *podsOptions) string {
	l := &o.latencies
	return fmt.Sprintf("{self} bench floor --kubeconfig {kubeconfig} --node {node} --sandbox %s --create %s --start %s --stop %s --stop-sandbox %s", l.sandbox, l.create, l.start, l.stop, l.stopSandbox)
}

// kubeletCommand is the command of a kubelet, or of what takes its flags.
func kubeletCommand(binary, nodeIP string) string {
	s := binary + " --config {config} --kubeconfig {kubeconfig} --hostname-override {node} --root-dir {dir}/root --cert-dir {dir}/pki"
	if nodeIP != "" {
		s += " --node-ip " + nodeIP
	}
	return s
}

// arguments makes the command line of the turn's agent.
func (t *turn) arguments(conf *rest.Config) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := t.spec.command
	if command == "" {
		command = kubeletCommand("{self} node", t.nodeIP) + " --socket {dir}/socket/troupe.sock"
	}
	kubeconfig := t.nodeKubeconfig
	if kubeconfig == "" {
		kubeconfig = t.kubeconfig
	}
	file := filepath.Join(t.dir, "config.yaml")
	if err := t.writeConfig(file, conf); err != nil {
		return nil, err
	}
	command = strings.NewReplacer("{self}", self, "{config}", file, "{kubeconfig}", kubeconfig, "{node}", t.node, "{endpoint}", t.socket, "{dir}", t.dir).Replace(command)
	return []string{"/bin/sh", "-c", "exec " + command}, nil
}

// writeConfig writes a KubeletConfiguration in which agents are compared: no limit of the API client or of pulls in the way.
func (t *turn) writeConfig(file string, conf *rest.Config) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	t.port = ports[0]
	ca := filepath.Join(t.dir, "ca.crt")
	pem := conf.CAData
	if len(pem) == 0 && conf.CAFile != "" {
		if pem, err = os.ReadFile(conf.CAFile); err != nil {
			return err
		}
	}
	if err := os.WriteFile(ca, pem, 0o644); err != nil {
		return err
	}
	k := kubeletconfig.KubeletConfiguration{
		TypeMeta:     metav1.TypeMeta{APIVersion: kubeletconfig.SchemeGroupVersion.String(), Kind: "KubeletConfiguration"},
		CgroupDriver: "cgroupfs", CgroupRoot: t.cgroup.Path, FailCgroupV1: ptr.To(false), FailSwapOn: ptr.To(false), OOMScoreAdj: ptr.To[int32](0),
		ContainerRuntimeEndpoint: t.socket, Address: "127.0.0.1", Port: ports[0], HealthzPort: ptr.To(ports[1]), PodLogsDir: filepath.Join(t.dir, "logs"),
		Authentication: kubeletconfig.KubeletAuthentication{X509: kubeletconfig.KubeletX509Authentication{ClientCAFile: ca}, Webhook: kubeletconfig.KubeletWebhookAuthentication{Enabled: ptr.To(true)}, Anonymous: kubeletconfig.KubeletAnonymousAuthentication{Enabled: ptr.To(false)}},
		Authorization:  kubeletconfig.KubeletAuthorization{Mode: kubeletconfig.KubeletAuthorizationModeWebhook},
		ClusterDNS:     []string{"192.0.2.53"}, ClusterDomain: "cluster.local",
		MaxPods: int32(t.plan.Pods + 100), SerializeImagePulls: ptr.To(false), KubeAPIQPS: ptr.To[int32](500), KubeAPIBurst: 1000,
		EvictionHard:                map[string]string{"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
		ImageGCHighThresholdPercent: ptr.To[int32](100),
	}
	raw, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o644) // JSON is YAML
}

// freePorts finds TCP ports that nobody listens on.
func freePorts(n int) ([]int32, error) {
	var out []int32
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at the end, so that they differ
		out = append(out, int32(l.Addr().(*net.TCPAddr).Port))
	}
	return out, nil
}

// profileLength is how much of the load a CPU profile of a node agent covers.
const profileLength = 15 * time.Second

// profileNode takes a CPU profile from the agent's node API while the load begins. stop waits for it.
func (t *turn) profileNode(conf *rest.Config) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := t.fetchProfile(conf); err != nil {
			fmt.Fprintln(t.show.w, "no profile:", err)
		}
	}()
	return func() { <-done }
}

func (t *turn) fetchProfile(conf *rest.Config) error {
	c := rest.CopyConfig(conf)
	tlsConfig, err := rest.TLSConfigFor(c)
	if err != nil {
		return err
	}
	if tlsConfig == nil {
		tlsConfig = &tls.Config{}
	}
	tlsConfig.InsecureSkipVerify = true // the agent has made its certificate itself, on this machine
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig}}
	ctx, cancel := context.WithTimeout(context.Background(), profileLength+startTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/debug/pprof/profile?seconds=%d", t.port, int(profileLength.Seconds())), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, raw)
	}
	return os.WriteFile(filepath.Join(t.dir, "cpu.pprof"), raw, 0o644)
}
