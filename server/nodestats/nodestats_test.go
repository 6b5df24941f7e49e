package nodestats

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
)

const (
	web  = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
	side = "deadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeef"
	box  = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"
)

// tree is a fake host: a cgroup file system of one version, /proc, and the agent's directories.
type tree struct {
	t     *testing.T
	dir   string
	host  *cgroupfs.Host
	names func(id string) string // of a container's cgroup
	pod   string
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func trees(t *testing.T) map[string]*tree {
	one, two := t.TempDir(), t.TempDir()
	return map[string]*tree{
		"v1": {t: t, dir: one, pod: "/kubepods/burstable/poduid-web", names: func(id string) string { return id }, host: &cgroupfs.Host{Version: cgroupfs.V1, Root: one, Hierarchies: map[string]string{
			"memory": one + "/memory", "cpu": one + "/cpu,cpuacct", "cpuacct": one + "/cpu,cpuacct", "pids": one + "/pids"}}},
		"v2": {t: t, dir: two, pod: "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poduid_web.slice",
			names: func(id string) string { return "cri-containerd-" + id + ".scope" }, host: &cgroupfs.Host{Version: cgroupfs.V2, Root: two + "/unified", Hierarchies: map[string]string{"": two + "/unified"}}},
	}
}

// group writes a cgroup: CPU in nanoseconds, the rest in bytes; limit 0 is none.
func (f *tree) group(path string, nanos, used, inactive, rss, swap, limit uint64, pids string) {
	text := func(n uint64) string { return itoa(n) + "\n" }
	mem := f.host.Dir("memory", path)
	if f.host.Version == cgroupfs.V2 {
		write(f.t, mem+"/cpu.stat", "usage_usec "+itoa(nanos/1000)+"\nuser_usec 1\n")
		write(f.t, mem+"/cgroup.procs", pids)
		for _, r := range []string{"cpu", "memory", "io"} {
			write(f.t, mem+"/"+r+".pressure", "some avg10=1.50 avg60=0.50 avg300=0.10 total=2000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1000\n")
		}
		if path == "/" {
			return
		}
		write(f.t, mem+"/memory.current", text(used))
		write(f.t, mem+"/memory.stat", "anon "+itoa(rss)+"\ninactive_file "+itoa(inactive)+"\npgfault 7\npgmajfault 2\n")
		write(f.t, mem+"/memory.swap.current", text(swap))
		write(f.t, mem+"/memory.swap.max", "max\n")
		write(f.t, mem+"/memory.max", "max\n")
		if limit > 0 {
			write(f.t, mem+"/memory.max", text(limit))
		}
		return
	}
	write(f.t, f.host.Dir("cpuacct", path)+"/cpuacct.usage", text(nanos))
	write(f.t, mem+"/cgroup.procs", pids)
	write(f.t, mem+"/memory.usage_in_bytes", text(used))
	write(f.t, mem+"/memory.stat", "total_inactive_file "+itoa(inactive)+"\ntotal_rss "+itoa(rss)+"\ntotal_swap "+itoa(swap)+"\ntotal_pgfault 7\ntotal_pgmajfault 2\n")
	if limit == 0 {
		limit = 9223372036854771712
	}
	write(f.t, mem+"/memory.limit_in_bytes", text(limit))
}

func itoa(n uint64) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// fill writes a pod with a sandbox and two containers, and everything above it.
func (f *tree) fill(webNanos uint64) {
	f.group("/", 9e9, 3<<30, 1<<30, 1<<29, 0, 0, "1\n")
	f.group("/kubepods", 5e9, 1<<30, 1<<20, 1<<20, 0, 0, "")
	f.group(f.pod, webNanos+2e9, 300<<20, 100<<20, 150<<20, 0, 1<<30, "")
	f.group(f.pod+"/"+f.names(box), 1e6, 1<<20, 0, 1<<20, 0, 0, "100\n")
	f.group(f.pod+"/"+f.names(web), webNanos, 200<<20, 80<<20, 100<<20, 4<<20, 512<<20, "200\n201\n")
	f.group(f.pod+"/"+f.names(side), 1e9, 50<<20, 80<<20, 10<<20, 0, 0, "300\n")
	write(f.t, f.dir+"/proc/stat", "cpu  100 0 50 900 10 0 0 0 0 0\nbtime 1700000000\n")
	write(f.t, f.dir+"/proc/meminfo", "MemTotal: 4194304 kB\nMemFree: 1048576 kB\nInactive(file): 1048576 kB\nAnonPages: 524288 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n")
	write(f.t, f.dir+"/proc/vmstat", "pgfault 7\npgmajfault 2\n")
	write(f.t, f.dir+"/proc/loadavg", "0.1 0.2 0.3 2/345 999\n")
	write(f.t, f.dir+"/proc/sys/kernel/pid_max", "4194304\n")
	write(f.t, f.dir+"/proc/sys/kernel/threads-max", "31000\n")
	write(f.t, f.dir+"/proc/pressure/cpu", "some avg10=9.00 avg60=0.00 avg300=0.00 total=5\n")
	net := "Inter-|   Receive\n face |bytes\n    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n  eth0: 1000 10 1 0 0 0 0 0 2000 20 2 0 0 0 0 0\nveth12: 5 5 0 0 0 0 0 0 5 5 0 0 0 0 0 0\n  eth1: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n"
	write(f.t, f.dir+"/proc/100/net/dev", net)
	write(f.t, f.dir+"/proc/1/net/dev", net)
	write(f.t, f.dir+"/logs/default_web_uid-web/web/0.log", strings.Repeat("x", 10000))
	write(f.t, f.dir+"/root/pods/uid-web/volumes/kubernetes.io~empty-dir/cache/data", strings.Repeat("x", 100000))
}

type list []*v1.Pod

func (l list) List() []*v1.Pod { return append([]*v1.Pod(nil), l...) }

type images struct{ mount string }

func (i images) ImageFsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{
		FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: i.mount}, UsedBytes: &runtimeapi.UInt64Value{Value: 77}, InodesUsed: &runtimeapi.UInt64Value{Value: 7},
	}}}, nil
}

func webPod() *v1.Pod {
	at := metav1.NewTime(time.Unix(1e9, 0))
	running := v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: at}}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "uid-web"},
		Spec:       v1.PodSpec{Volumes: []v1.Volume{{Name: "cache", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}}},
		Status: v1.PodStatus{Phase: v1.PodRunning, StartTime: &at,
			InitContainerStatuses: []v1.ContainerStatus{{Name: "side", ContainerID: "containerd://" + side, State: running}},
			ContainerStatuses: []v1.ContainerStatus{
				{Name: "web", ContainerID: "containerd://" + web, State: running},
				{Name: "late", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{}}},
			}},
	}
}

func (f *tree) source(pods ...*v1.Pod) *Source {
	return New(Deps{Pods: list(pods), Images: images{f.dir}, Cgroups: f.host, PodCgroup: func(p *v1.Pod) string {
		if p.UID != "uid-web" {
			return "/kubepods/gone"
		}
		return f.pod
	}, Log: klog.Background()}, Config{NodeName: "node-1", Kubepods: "/kubepods", MemoryCapacity: 4 << 30, RootDir: f.dir + "/root", LogsRoot: f.dir + "/logs", Proc: f.dir + "/proc"})
}

func val(p *uint64) uint64 {
	if p == nil {
		return 1<<64 - 1
	}
	return *p
}

func TestSummary(t *testing.T) {
	for name, f := range trees(t) {
		f.fill(3e9)
		gone := webPod()
		gone.Name, gone.UID = "gone", "uid-gone"
		done := webPod()
		done.Name, done.Status.Phase = "done", v1.PodSucceeded
		sum, err := f.source(webPod(), gone, done).Summary(t.Context(), false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		check := func(what string, got, want uint64) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %s is %d, want %d", name, what, int64(got), want)
			}
		}
		n := sum.Node
		check("node CPU", val(n.CPU.UsageCoreNanoSeconds), 9e9)
		check("node memory", val(n.Memory.UsageBytes), 3<<30)
		check("node working set", val(n.Memory.WorkingSetBytes), 2<<30)
		check("node memory left", val(n.Memory.AvailableBytes), 2<<30)
		check("node rss", val(n.Memory.RSSBytes), 1<<29)
		check("node swap", val(n.Swap.SwapUsageBytes), 1<<20)
		check("node received", val(n.Network.RxBytes), 1000)
		check("tasks", uint64(*n.Rlimit.NumOfRunningProcesses), 345)
		check("most tasks", uint64(*n.Rlimit.MaxPID), 31000)
		check("images", val(n.Runtime.ImageFs.UsedBytes), 77)
		if n.NodeName != "node-1" || n.StartTime.Unix() != 1700000000 || val(n.Fs.CapacityBytes) == 0 || n.CPU.PSI == nil || n.CPU.PSI.Some.Avg10 != 9 {
			t.Errorf("%s: node %+v", name, n)
		}
		if len(n.SystemContainers) != 1 || n.SystemContainers[0].Name != "pods" || val(n.SystemContainers[0].CPU.UsageCoreNanoSeconds) != 5e9 {
			t.Errorf("%s: system containers %+v", name, n.SystemContainers)
		}
		if len(sum.Pods) != 1 {
			t.Fatalf("%s: pods %+v", name, sum.Pods)
		}
		p := sum.Pods[0]
		check("pod CPU", val(p.CPU.UsageCoreNanoSeconds), 5e9)
		check("pod working set", val(p.Memory.WorkingSetBytes), 200<<20)
		check("pod memory left", val(p.Memory.AvailableBytes), 1<<30-200<<20)
		check("processes", val(p.ProcessStats.ProcessCount), 4)
		check("sent", val(p.Network.TxBytes), 2000)
		check("receive errors", val(p.Network.RxErrors), 1)
		if len(p.Network.Interfaces) != 2 || p.Network.Name != "eth0" {
			t.Errorf("%s: interfaces %+v", name, p.Network.Interfaces)
		}
		if (p.IO != nil) != (name == "v2") || (p.CPU.PSI != nil) != (name == "v2") {
			t.Errorf("%s: pressure %+v %+v", name, p.IO, p.CPU.PSI)
		}
		if name == "v2" && (p.CPU.PSI.Some.Avg10 != 1.5 || p.CPU.PSI.Some.Total != 2e6 || p.IO.PSI.Full.Total != 1e6) {
			t.Errorf("pressure %+v", p.CPU.PSI)
		}
		if len(p.VolumeStats) != 1 || val(p.VolumeStats[0].UsedBytes) < 100000 || val(p.VolumeStats[0].InodesUsed) != 2 {
			t.Errorf("%s: volumes %+v", name, p.VolumeStats)
		}
		if got := val(p.EphemeralStorage.UsedBytes); got < 110000 || got > 200000 {
			t.Errorf("%s: ephemeral storage %d", name, got)
		}
		cs := map[string]statsapi.ContainerStats{}
		for _, c := range p.Containers {
			cs[c.Name] = c
		}
		if len(cs) != 2 {
			t.Fatalf("%s: containers %+v", name, p.Containers)
		}
		check("container CPU", val(cs["web"].CPU.UsageCoreNanoSeconds), 3e9)
		check("container working set", val(cs["web"].Memory.WorkingSetBytes), 120<<20)
		check("container memory left", val(cs["web"].Memory.AvailableBytes), 392<<20)
		check("container swap", val(cs["web"].Swap.SwapUsageBytes), 4<<20)
		check("container faults", val(cs["web"].Memory.PageFaults)+val(cs["web"].Memory.MajorPageFaults), 9)
		check("more inactive than used", val(cs["side"].Memory.WorkingSetBytes), 0)
		if cs["side"].Memory.AvailableBytes != nil {
			t.Errorf("%s: a container without a limit has %d left", name, *cs["side"].Memory.AvailableBytes)
		}
		if cs["web"].StartTime.Unix() != 1e9 || val(cs["web"].Logs.UsedBytes) < 10000 || cs["web"].CPU.UsageNanoCores != nil {
			t.Errorf("%s: %+v", name, cs["web"])
		}
	}
}

// The usage is the rate since the request before; requests that follow quickly are answered from the same measurement.
func TestUsageNanoCores(t *testing.T) {
	f := trees(t)["v1"]
	synctest.Test(t, func(t *testing.T) {
		f.fill(3e9)
		s := f.source(webPod())
		read := func(only bool) *uint64 {
			t.Helper()
			sum, err := s.Summary(t.Context(), only)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range sum.Pods[0].Containers {
				if c.Name == "web" {
					return c.CPU.UsageNanoCores
				}
			}
			t.Fatal("no container")
			return nil
		}
		if got := read(true); got != nil {
			t.Errorf("after one request: %d", *got)
		}
		time.Sleep(10 * time.Second)
		f.fill(8e9)
		if got := val(read(true)); got != 5e8 {
			t.Errorf("5 s of CPU in 10 s: %d", got)
		}
		f.fill(9e9)
		time.Sleep(500 * time.Millisecond)
		if got := val(read(true)); got != 5e8 {
			t.Errorf("half a second later: %d", got)
		}
		time.Sleep(1500 * time.Millisecond)
		if got := val(read(true)); got != 5e8 {
			t.Errorf("1 s of CPU in 2 s: %d", got)
		}
		if got := read(false); got != nil {
			t.Errorf("the full kind has rates of its own: %d", *got)
		}
		f.fill(1e9) // made anew
		time.Sleep(10 * time.Second)
		if got := read(true); got != nil {
			t.Errorf("a counter that fell: %d", *got)
		}
		f.group(f.pod, 0, 0, 0, 0, 0, 0, "")
		s.deps.Pods = list{}
		time.Sleep(10 * time.Second)
		if _, err := s.Summary(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if len(s.short.rates.of) != 2 {
			t.Errorf("counters of what is gone: %v", s.short.rates.of)
		}
	})
}

func TestSummaryWithoutCgroups(t *testing.T) {
	for name, f := range trees(t) {
		if _, err := f.source().Summary(t.Context(), true); err == nil {
			t.Errorf("%s: nothing to measure and no error", name)
		}
		f.fill(1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.source().Summary(ctx, true); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContainerCgroupNames(t *testing.T) {
	dir := t.TempDir()
	h := &cgroupfs.Host{Version: cgroupfs.V2, Root: dir}
	for _, d := range []string{web, "cri-containerd-" + web + ".scope", "crio-" + web + ".scope", "crio-" + web, "crio-conmon-" + web + ".scope", "init.scope"} {
		if err := os.MkdirAll(filepath.Join(dir, "pod", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m := measurement{Source: New(Deps{Cgroups: h, Log: klog.Background()}, Config{})}
	n := 0
	for _, b := range m.containers("/pod") {
		if b.id == web {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d names were recognized, want 4", n)
	}
}
