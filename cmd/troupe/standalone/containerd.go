package standalone

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"github.com/troupe-dev/troupe/actors/runtime/child"
)

// Network of a run's pods. The bridge's name is ours alone: the end of the run removes it.
const (
	BridgeName    = "troupe0"
	DefaultSubnet = "10.85.0.0/16"
)

// PauseImage holds the sandboxes. It is imported at start, never pulled.
const PauseImage = "localhost/troupe-pause:1"

// runtimeGrace is how long containerd may take to end: it closes its databases.
const runtimeGrace = 10 * time.Second

var containerdConfig = template.Must(template.New("containerd.toml").Parse(`# Written by troupe at each start of the runtime.
version = 3
root = "{{.Dir}}/containerd"
state = "{{.Dir}}/containerd-state"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{{.Socket}}"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{{.Pause}}"
[plugins.'io.containerd.cri.v1.runtime']
  # without CAP_SYS_RESOURCE the kernel refuses a lower oom_score_adj than one's own
  restrict_oom_score_adj = {{.RestrictOOM}}
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{{.CNIDir}}"]
    conf_dir = "{{.Dir}}/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "{{.Runc}}"
      SystemdCgroup = false
`))

// PrivateRuntime is a containerd of our own: configuration, network and data below the state folder.
type PrivateRuntime struct {
	Layout Layout
	Tools  Toolset
	Subnet string
}

// Endpoint is its CRI endpoint.
func (r PrivateRuntime) Endpoint() string { return "unix://" + r.Layout.ContainerdSocket() }

// Launcher starts it. It is not started yet.
func (r PrivateRuntime) Launcher() *child.Launcher {
	return &child.Launcher{
		Spec: child.Spec{
			Name: "containerd", Path: r.Tools.Containerd, Args: []string{"--config", r.configFile()},
			Env:     append(withoutPath(os.Environ()), "PATH="+r.Tools.BinDir+":"+systemPath()),
			LogPath: r.Layout.RuntimeLog(),
		},
		Grace:  runtimeGrace,
		Before: r.prepare,
	}
}

func (r PrivateRuntime) configFile() string { return r.Layout.path("containerd.toml") }

// prepare writes the configuration and removes a socket that nobody serves any more.
func (r PrivateRuntime) prepare() error {
	var b bytes.Buffer
	if err := containerdConfig.Execute(&b, map[string]any{
		"Dir": r.Layout.Dir, "Socket": r.Layout.ContainerdSocket(), "Pause": PauseImage, "RestrictOOM": !hasCapSysResource(),
		"CNIDir": r.Tools.CNIDir, "Runc": r.Tools.Runc,
	}); err != nil {
		return err
	}
	if err := os.WriteFile(r.configFile(), b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the runtime's configuration: %w", err)
	}
	cni, err := json.MarshalIndent(r.network(), "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.Layout.path("cni"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(r.Layout.path("cni", "10-troupe.conflist"), cni, 0o644); err != nil {
		return fmt.Errorf("write the network's configuration: %w", err)
	}
	if err := os.Remove(r.Layout.ContainerdSocket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// network is the CNI configuration: a bridge whose pods the host reaches at their IPs, masquerading and host ports
// where the machine has a packet filter tool for them.
func (r PrivateRuntime) network() map[string]any {
	backend := filterBackend()
	bridge := map[string]any{
		"type": "bridge", "bridge": BridgeName, "isGateway": true, "ipMasq": backend != "", "hairpinMode": true,
		"ipam": map[string]any{
			"type": "host-local", "dataDir": r.Layout.path("ipam"),
			"ranges": [][]map[string]string{{{"subnet": r.Subnet}}}, "routes": []map[string]string{{"dst": "0.0.0.0/0"}},
		},
	}
	plugins := []map[string]any{bridge}
	if backend != "" {
		bridge["ipMasqBackend"] = backend
		plugins = append(plugins, map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}, "backend": backend})
	}
	return map[string]any{"cniVersion": "1.0.0", "name": "troupe", "plugins": plugins}
}

// filterBackend is what the CNI plugins can use for host ports and masquerading; "" when there is nothing.
func filterBackend() string {
	switch {
	case lookPath("iptables") != "":
		return "iptables"
	case lookPath("nft") != "":
		return "nftables"
	}
	return ""
}

// systemPath is PATH with the sbin folders, which a login shell of a plain user lacks.
func systemPath() string {
	return os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
}

func lookPath(name string) string {
	for _, d := range filepath.SplitList(systemPath()) {
		if p, err := exec.LookPath(filepath.Join(d, name)); err == nil {
			return p
		}
	}
	return ""
}

func withoutPath(env []string) []string {
	var out []string
	for _, e := range env {
		if !strings.HasPrefix(e, "PATH=") {
			out = append(out, e)
		}
	}
	return out
}

func hasCapSysResource() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}
