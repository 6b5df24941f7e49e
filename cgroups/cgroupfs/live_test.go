package cgroupfs_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/cgroups/cgstat"
	"github.com/troupe-dev/troupe/messages/model"
)

// These tests run on the kernel's cgroups, whichever version this machine has; test/cgroup2.sh runs them on v2.

// TestMain also plays the processes that tests put into cgroups.
func TestMain(m *testing.M) {
	switch os.Getenv("TROUPE_CGROUP_ROLE") {
	case "":
		os.Exit(m.Run())
	case "sleeper":
		// Ends with its parent: standard input closes.
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "hog":
		bufio.NewReader(os.Stdin).ReadString('\n')
		var keep [][]byte
		for range 1024 {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			keep = append(keep, b)
		}
		fmt.Println(len(keep))
	case "burner":
		bufio.NewReader(os.Stdin).ReadString('\n')
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		}
	}
}

// host detects the cgroups and makes a private root, removed at the end.
func host(t *testing.T) (*cgroupfs.Host, cgroups.Layout) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to write cgroups")
	}
	h, err := cgroupfs.Detect(cgroupfs.DefaultRoot)
	if err != nil {
		t.Fatal(err)
	}
	root := cgroups.Name{fmt.Sprintf("troupe-test-%d-%s", os.Getpid(), strings.ToLower(t.Name()))}
	a := cgroupfs.New(h)
	if err := a.Apply(context.Background(), cgroups.Desired{Name: root}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Remove(context.Background(), root); err != nil {
			t.Error(err)
		}
		for _, dir := range h.Dirs(root.String()) {
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s is left", dir)
			}
		}
	})
	return h, cgroups.Layout{Root: root, PerQOS: true}
}

func tree(t *testing.T, a cgroups.Applier, l cgroups.Layout) {
	t.Helper()
	node := cgroups.Kubepods(cgroups.NodeConfig{Layout: l, Enforce: []string{cgroups.EnforcePods}, Capacity: v1.ResourceList{
		v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("1Gi"),
	}})
	for _, d := range append([]cgroups.Desired{node}, cgroups.QOSTiers(l, 500, nil)...) {
		if err := a.Apply(context.Background(), d); err != nil {
			t.Fatal(err)
		}
	}
}

// start runs this binary in a role inside the cgroup. The process waits for a line before it works.
func start(t *testing.T, h *cgroupfs.Host, path, role string) (*exec.Cmd, io.WriteCloser) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "TROUPE_CGROUP_ROLE="+role, "GOMAXPROCS=2")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for _, dir := range h.Dirs(path) {
		if _, err := os.Stat(dir); err != nil {
			continue // a hierarchy that Troupe does not use
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Appendf(nil, "%d", cmd.Process.Pid), 0); err != nil {
			t.Fatal(err)
		}
	}
	return cmd, in
}

func read(t *testing.T, h *cgroupfs.Host, controller, path, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(h.Dir(controller, path), file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func pod(uid string, res v1.ResourceRequirements) *v1.Pod {
	p := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Resources: res}}}}
	p.UID = model.UID(uid)
	return p
}

func list(cpu, memory string) v1.ResourceList {
	return v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse(memory)}
}

func TestValuesReachTheKernel(t *testing.T) {
	h, l := host(t)
	a := cgroupfs.New(h)
	tree(t, a, l)
	d := cgroups.PodResources(pod("11-22", v1.ResourceRequirements{Requests: list("250m", "32Mi"), Limits: list("500m", "64Mi")}),
		cgroups.PodConfig{Layout: l, EnforceCPULimits: true, PidsLimit: 50})
	begin := time.Now()
	if err := a.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	t.Logf("a pod cgroup took %v", time.Since(begin))
	p := d.Name.String()
	if want := l.Root.String() + "/kubepods/burstable/pod11-22"; p != want {
		t.Fatalf("name %s, want %s", p, want)
	}
	type value struct{ controller, path, file, want string }
	values := []value{
		{"cpu", p, "cpu.shares", "256"}, {"cpu", p, "cpu.cfs_quota_us", "50000"}, {"cpu", p, "cpu.cfs_period_us", "100000"},
		{"memory", p, "memory.limit_in_bytes", "67108864"}, {"pids", p, "pids.max", "50"},
		{"cpu", l.QOS(v1.PodQOSBurstable).String(), "cpu.shares", "512"},
		{"cpu", l.QOS(v1.PodQOSBestEffort).String(), "cpu.shares", "2"},
		{"cpu", l.Kubepods().String(), "cpu.shares", "2048"},
		{"memory", l.Kubepods().String(), "memory.limit_in_bytes", "1073741824"},
	}
	if h.Version == cgroupfs.V2 {
		values = []value{
			{"", p, "cpu.weight", "10"}, {"", p, "cpu.max", "50000 100000"}, {"", p, "memory.max", "67108864"}, {"", p, "pids.max", "50"},
			{"", l.QOS(v1.PodQOSBurstable).String(), "cpu.weight", "20"},
			{"", l.QOS(v1.PodQOSBestEffort).String(), "cpu.weight", "1"},
			{"", l.Kubepods().String(), "cpu.weight", "79"},
			{"", l.Kubepods().String(), "memory.max", "1073741824"},
		}
	}
	for _, v := range values {
		if got := read(t, h, v.controller, v.path, v.file); got != v.want {
			t.Errorf("%s/%s = %s, want %s", v.path, v.file, got, v.want)
		}
	}
	if !a.Exists(d.Name) {
		t.Error("the pod's cgroup does not exist with all controllers")
	}
	if h.Version == cgroupfs.V1 {
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if got, want := read(t, h, "cpuset", p, file), read(t, h, "cpuset", "/", file); got != want || got == "" {
				t.Errorf("%s is %q, the root's %q: no process could join", file, got, want)
			}
		}
	}
	kids, err := a.Children(l.QOS(v1.PodQOSBurstable))
	if err != nil || len(kids) != 1 || kids[0].String() != p {
		t.Errorf("children %v, %v", kids, err)
	}
	// Apply again, with another quota and a raw file.
	d.Resources.CPU.Quota = ptr.To[int64](20000)
	if h.Version == cgroupfs.V2 {
		d.Resources.Unified = map[string]string{"memory.oom.group": "1"}
	}
	if err := a.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if h.Version == cgroupfs.V2 {
		if got := read(t, h, "", p, "cpu.max") + "," + read(t, h, "", p, "memory.oom.group"); got != "20000 100000,1" {
			t.Errorf("after the second apply: %s", got)
		}
	} else if got := read(t, h, "cpu", p, "cpu.cfs_quota_us"); got != "20000" {
		t.Errorf("after the second apply: %s", got)
	}
	if err := a.Remove(t.Context(), d.Name); err != nil {
		t.Fatal(err)
	}
	if err := a.Remove(t.Context(), d.Name); err != nil {
		t.Errorf("a second removal: %v", err)
	}
	if err := a.Update(t.Context(), d); err == nil || a.Exists(d.Name) {
		t.Errorf("an update made a removed cgroup again (%v)", err)
	}
}

func TestMemoryLimitKills(t *testing.T) {
	h, l := host(t)
	a := cgroupfs.New(h)
	tree(t, a, l)
	d := cgroups.PodResources(pod("hog", v1.ResourceRequirements{Limits: list("1", "24Mi")}), cgroups.PodConfig{Layout: l, EnforceCPULimits: true})
	if err := a.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	path := d.Name.String()
	cmd, in := start(t, h, path, "hog")
	if n, err := cgstat.OOMKills(h, path); err != nil || n != 0 {
		t.Fatalf("oom kills %d, %v", n, err)
	}
	fmt.Fprintln(in)
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the hog ended with %v", err)
	}
	if n, err := cgstat.OOMKills(h, path); err != nil || n == 0 {
		t.Errorf("oom kills %d, %v", n, err)
	}
}

func TestCPULimitHoldsAndUsageIsRead(t *testing.T) {
	h, l := host(t)
	a := cgroupfs.New(h)
	tree(t, a, l)
	d := cgroups.PodResources(pod("burner", v1.ResourceRequirements{Limits: list("200m", "128Mi")}), cgroups.PodConfig{Layout: l, EnforceCPULimits: true})
	if err := a.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	path := d.Name.String()
	_, in := start(t, h, path, "burner")
	fmt.Fprintln(in)
	usage := func() cgstat.Usage {
		u, err := cgstat.Read(h, path)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	var first cgstat.Usage
	for first.CPUNanos < uint64(20*time.Millisecond) { // it burns: the quota's first slice is used up
		first = usage()
	}
	begin := time.Now()
	for usage().CPUNanos-first.CPUNanos < uint64(200*time.Millisecond) {
		time.Sleep(5 * time.Millisecond) // the measured process runs in real time
	}
	// 200 ms of CPU at a fifth of a core take a second.
	if took := time.Since(begin); took < 700*time.Millisecond {
		t.Errorf("200 ms of CPU took only %v under a limit of 200m", took)
	}
	u := usage()
	if u.Pids == 0 || u.Memory == 0 || u.WorkingSet == 0 || u.WorkingSet > u.Memory || u.RSS > u.Memory {
		t.Errorf("implausible usage %+v", u)
	}
	if _, err := cgstat.Read(h, path+"-none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("usage of a cgroup that is not there: %v", err)
	}
}

func TestRemoveKillsTheWholeSubtree(t *testing.T) {
	h, l := host(t)
	a := cgroupfs.New(h)
	tree(t, a, l)
	d := cgroups.PodResources(pod("left", v1.ResourceRequirements{}), cgroups.PodConfig{Layout: l})
	if err := a.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	// As a runtime does: cgroups of its own below the pod's, two deep, with processes.
	var cmds []*exec.Cmd
	for _, sub := range []cgroups.Name{d.Name.Child("c1"), d.Name.Child("c2").Child("inner")} {
		if err := a.Apply(t.Context(), cgroups.Desired{Name: sub, Resources: specs.LinuxResources{}}); err != nil {
			t.Fatal(err)
		}
		cmd, _ := start(t, h, sub.String(), "sleeper")
		cmds = append(cmds, cmd)
	}
	begin := time.Now()
	if err := a.Remove(t.Context(), d.Name); err != nil {
		t.Fatal(err)
	}
	t.Logf("killed and removed in %v", time.Since(begin))
	for _, cmd := range cmds {
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("a process of the pod ended with %v", err)
		}
	}
	for _, dir := range h.Dirs(d.Name.String()) {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
}

func TestRemoveNeverWaitsForEver(t *testing.T) {
	h, l := host(t)
	a := cgroupfs.New(h)
	d := cgroups.Desired{Name: l.Root.Child("stuck")}
	if err := a.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	start(t, h, d.Name.String(), "sleeper")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// With no time at all it kills, but cannot wait for the end; it must say so instead of hanging.
	if err := a.Remove(ctx, d.Name); err != nil && !errors.Is(err, cgroups.ErrBusy) {
		t.Fatalf("want ErrBusy or success, got %v", err)
	}
}

func TestDetectExplains(t *testing.T) {
	_, err := cgroupfs.Detect(filepath.Join(t.TempDir(), "nothing"))
	if !errors.Is(err, cgroups.ErrNotMounted) {
		t.Errorf("a missing mount point: %v", err)
	}
	if _, err = cgroupfs.Detect(t.TempDir()); !errors.Is(err, cgroups.ErrNotMounted) {
		t.Errorf("an empty folder: %v", err)
	}
}

func BenchmarkPodCgroup(b *testing.B) {
	h, err := cgroupfs.Detect(cgroupfs.DefaultRoot)
	if err != nil || os.Geteuid() != 0 {
		b.Skip(err)
	}
	a := cgroupfs.New(h)
	root := cgroups.Name{fmt.Sprintf("troupe-bench-%d", os.Getpid())}
	defer a.Remove(context.Background(), root)
	l := cgroups.Layout{Root: root, PerQOS: true}
	a.Apply(context.Background(), cgroups.Desired{Name: l.QOS(v1.PodQOSBurstable)})
	cfg := cgroups.PodConfig{Layout: l, EnforceCPULimits: true, PidsLimit: 100}
	i := 0
	for b.Loop() {
		i++
		d := cgroups.PodResources(pod(fmt.Sprint(i), v1.ResourceRequirements{Requests: list("1", "1Gi"), Limits: list("2", "2Gi")}), cfg)
		if err := a.Apply(b.Context(), d); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		a.Remove(b.Context(), d.Name)
		b.StartTimer()
	}
}

// TestSwapAccountedHere: what was detected is true of the cgroups that pods get.
func TestSwapAccountedHere(t *testing.T) {
	_, l := host(t)
	h, err := cgroupfs.Detect(cgroupfs.DefaultRoot) // again, now that there is a cgroup below the root
	if err != nil {
		t.Fatal(err)
	}
	file := "memory.memsw.limit_in_bytes"
	if h.Version == cgroupfs.V2 {
		file = "memory.swap.max"
	}
	_, err = os.Stat(filepath.Join(h.Dir("memory", l.Root.Path(cgroups.Cgroupfs)), file))
	if h.SwapAccounted != (err == nil) {
		t.Errorf("v%d: detected %v, but %s: %v", h.Version, h.SwapAccounted, file, err)
	}
}
