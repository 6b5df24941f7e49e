package root

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/cri/proxy"
	"github.com/troupe-dev/troupe/messages/model"
)

// realRuntime is a containerd of these tests alone, so that they may kill it.
type realRuntime struct {
	t     *testing.T
	dir   string
	tools string
	group string // cgroup root
	cmd   *exec.Cmd
}

const (
	realBridge = "troupefault0"
	realImage  = "localhost/troupe-busybox:1"
)

func (r *realRuntime) endpoint() string { return "unix://" + r.dir + "/containerd.sock" }

// newReal starts a containerd, or skips the test where there is none. test/rig/test.sh runs the tests in a network
// namespace of their own, with TROUPE_RUNTIME_DIR and TROUPE_TEST_IMAGES.
func newReal(t *testing.T) *realRuntime {
	t.Helper()
	if os.Getenv("TROUPE_TEST_REQUIRE_RUNTIME") == "" {
		t.Skip("needs root, a container runtime and a network namespace of its own: run test/rig/test.sh")
	}
	dir, err := os.MkdirTemp("", "troupe-fault-")
	if err != nil {
		t.Fatal(err)
	}
	r := &realRuntime{t: t, dir: dir, tools: os.Getenv("TROUPE_RUNTIME_DIR"), group: "/" + filepath.Base(dir)}
	t.Cleanup(r.end)
	restrict := !hasSysResource()
	r.write("containerd.toml", fmt.Sprintf(`version = 3
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "%[1]s/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "localhost/troupe-pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = %[3]v
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["%[2]s/cni"]
    conf_dir = "%[1]s/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "%[2]s/bin/runc"
`, dir, r.tools, restrict))
	r.write("cni/10-bridge.conflist", fmt.Sprintf(`{"cniVersion":"1.0.0","name":"fault","plugins":[{"type":"bridge","bridge":%q,"isGateway":true,
"ipam":{"type":"host-local","ranges":[[{"subnet":"10.186.0.0/16"}]],"routes":[{"dst":"0.0.0.0/0"}],"dataDir":"%s/ipam"}}]}`, realBridge, dir))
	a := r.applier()
	if err := a.Apply(t.Context(), cgroups.Desired{Name: cgroups.ParseName(cgroups.Cgroupfs, r.group)}); err != nil {
		t.Fatal(err)
	}
	r.start()
	for _, name := range []string{"pause", "busybox"} {
		out, err := exec.Command(r.tools+"/bin/ctr", "-a", r.dir+"/containerd.sock", "-n", "k8s.io", "images", "import", "--local", filepath.Join(os.Getenv("TROUPE_TEST_IMAGES"), name+".tar")).CombinedOutput()
		if err != nil {
			t.Fatalf("import %s: %v: %s", name, err, out)
		}
	}
	return r
}

func hasSysResource() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&hdr, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

func (r *realRuntime) write(name, text string) {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *realRuntime) applier() cgroups.Applier {
	r.t.Helper()
	host, err := cgroupfs.Detect(cgroupfs.DefaultRoot)
	if err != nil {
		r.t.Fatal(err)
	}
	return cgroupfs.New(host)
}

// start starts containerd and waits until it answers.
func (r *realRuntime) start() {
	r.t.Helper()
	log, err := os.OpenFile(r.dir+"/containerd.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	r.cmd = exec.Command(r.tools+"/bin/containerd", "-c", r.dir+"/containerd.toml")
	r.cmd.Env = append(os.Environ(), "PATH="+r.tools+"/bin:"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	r.cmd.Stdout, r.cmd.Stderr = log, log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	w := &world{t: r.t, real: r}
	c := w.dial()
	defer c.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if _, err := c.CheckVersion(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// kill is kill -9.
func (r *realRuntime) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// end removes everything that this runtime made, also after a failure.
func (r *realRuntime) end() {
	r.kill()
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range procs {
		line, _ := os.ReadFile(f)
		if strings.Contains(string(line), "containerd-shim") && strings.Contains(string(line), r.dir+"/containerd.sock") {
			var pid int
			if _, err := fmt.Sscanf(f, "/proc/%d/", &pid); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	if err := r.applier().Remove(context.Background(), cgroups.ParseName(cgroups.Cgroupfs, r.group)); err != nil {
		r.t.Error(err)
	}
	for _, m := range r.mounts() {
		_ = unix.Unmount(m, unix.MNT_DETACH)
	}
	_ = exec.Command("ip", "link", "delete", realBridge).Run()
	if err := os.RemoveAll(r.dir); err != nil {
		r.t.Error(err)
	}
}

// mounts are what is mounted below our folder, deepest first.
func (r *realRuntime) mounts() []string {
	data, _ := os.ReadFile("/proc/self/mounts")
	var out []string
	for _, line := range strings.Split(string(data), "\n") {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], r.dir+"/") {
			out = append([]string{f[1]}, out...)
		}
	}
	return out
}

// unified says that the machine has cgroup v2.
func unified() bool {
	_, err := os.Stat(cgroupfs.DefaultRoot + "/cgroup.controllers")
	return err == nil
}

// podGroups are the cgroups of pods.
func (r *realRuntime) podGroups() []string {
	var out []string
	for _, pattern := range []string{"/sys/fs/cgroup/*" + r.group + "/kubepods", "/sys/fs/cgroup" + r.group + "/kubepods"} {
		for _, tier := range []string{"/pod*", "/*/pod*"} {
			found, _ := filepath.Glob(pattern + tier)
			out = append(out, found...)
		}
	}
	return out
}

// file reads a file of a pod's cgroup; on v1 controller names the hierarchy.
func (r *realRuntime) file(controller string, uid model.UID, name string) string {
	r.t.Helper()
	for _, g := range r.podGroups() {
		if filepath.Base(g) == "pod"+string(uid) && (strings.HasPrefix(g, "/sys/fs/cgroup/"+controller+"/") || strings.HasPrefix(g, "/sys/fs/cgroup"+r.group)) {
			if data, err := os.ReadFile(filepath.Join(g, name)); err == nil {
				return strings.TrimSpace(string(data))
			}
		}
	}
	r.t.Fatalf("pod %s has no %s", uid, name)
	return ""
}

// newRealWorld is a world around a real containerd.
func newRealWorld(t *testing.T, r *realRuntime, options ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, real: r, dir: r.dir + "/agent", store: map[model.UID]*v1.Pod{}, asked: map[model.UID]*int64{}, facts: map[model.UID]*fact{}}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.rec = proxy.NewRecorder(&w.log)
	for _, o := range options {
		o(w)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agent's log:\n%s", w.words.bytes())
		}
		if w.agent != nil {
			w.kill()
		}
	})
	w.start()
	return w
}

// noTrace says that nothing of any pod is left on the machine.
func (w *world) noTrace() {
	w.t.Helper()
	r := w.real
	c := w.dial()
	defer c.Close()
	w.until(time.Minute, "nothing of a pod is left", func() bool {
		boxes, err := c.ListPodSandbox(w.t.Context(), cri.SandboxFilter{})
		return err == nil && len(boxes) == 0 && len(r.podGroups()) == 0 && len(r.mounts()) == 0
	})
	for _, d := range []string{"agent/pods", "agent/logs", "state/netns"} {
		if left, _ := os.ReadDir(filepath.Join(r.dir, d)); len(left) > 0 {
			w.t.Errorf("left in %s: %v", d, left)
		}
	}
}
