package nodestats

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/cgroups/cgstat"
)

// node measures the machine.
func (s *measurement) node(ctx context.Context) (*statsapi.NodeStats, error) {
	at := time.Now()
	m, err := readMachine(s.cfg.Proc)
	if err != nil {
		return nil, err
	}
	n := &statsapi.NodeStats{NodeName: s.cfg.NodeName, StartTime: metav1.NewTime(m.boot), SystemContainers: s.system()}
	u, ok := s.root(at, m)
	if !ok {
		return nil, fmt.Errorf("the root cgroup cannot be measured")
	}
	n.CPU, n.Memory, n.Swap = u.cpu, u.memory, u.swap
	if s.cfg.MemoryCapacity > 0 {
		n.Memory.AvailableBytes = ptrTo(s.cfg.MemoryCapacity - min(s.cfg.MemoryCapacity, *n.Memory.WorkingSetBytes))
	}
	if !s.full {
		return n, nil
	}
	read := func(resource string) *statsapi.PSIStats {
		p, err := cgstat.ReadPressureFile(filepath.Join(s.cfg.Proc, "pressure", resource))
		if err != nil {
			s.complain(err)
		}
		return pressure(p)
	}
	n.CPU.PSI, n.Memory.PSI = read("cpu"), read("memory")
	if p := read("io"); p != nil {
		n.IO = &statsapi.IOStats{Time: stamp(at), PSI: p}
	}
	n.Network = readNetwork(filepath.Join(s.cfg.Proc, "1/net/dev"), at)
	n.Rlimit = &statsapi.RlimitStats{Time: stamp(at), MaxPID: m.maxPID, NumOfRunningProcesses: m.tasks}
	n.Fs = fileSystem(s.cfg.RootDir, at)
	n.Runtime = s.runtimeFs(ctx, at)
	return n, nil
}

// root measures all processes of the machine. On v2 the root cgroup has no memory files: the kernel tells the same in
// meminfo and vmstat.
func (s *measurement) root(at time.Time, m machine) (usage, bool) {
	h := s.deps.Cgroups
	if h.Version != cgroupfs.V2 {
		u, ok := s.group("/")
		if ok {
			u.swap = m.swap(at)
		}
		return u, ok
	}
	nanos := m.cpuNanos
	if v, err := cgstat.CPUNanos(h, "/"); err == nil {
		nanos = v
	}
	used := m.memTotal - min(m.memTotal, m.memFree)
	return usage{
		cpu: &statsapi.CPUStats{Time: stamp(at), UsageCoreNanoSeconds: &nanos, UsageNanoCores: s.rates.add("/", nanos, at)},
		memory: &statsapi.MemoryStats{
			Time: stamp(at), UsageBytes: &used, WorkingSetBytes: ptrTo(used - min(used, m.inactiveFile)), RSSBytes: &m.anon, PageFaults: &m.faults, MajorPageFaults: &m.majorFaults,
		},
		swap: m.swap(at),
	}, true
}

// system measures the agent itself and all pods together.
func (s *measurement) system() []statsapi.ContainerStats {
	var out []statsapi.ContainerStats
	add := func(name, path string) {
		if path == "" || path == "/" {
			return // it has none of its own
		}
		if u, ok := s.group(path); ok {
			out = append(out, statsapi.ContainerStats{Name: name, StartTime: stamp(created(s.deps.Cgroups.Dir("memory", path))), CPU: u.cpu, Memory: u.memory, Swap: u.swap, IO: u.io})
		}
	}
	add(statsapi.SystemContainerKubelet, s.own())
	add(statsapi.SystemContainerPods, s.cfg.Kubepods)
	return out
}

// own is the agent's own cgroup.
func (s *measurement) own() string {
	b, err := os.ReadFile(filepath.Join(s.cfg.Proc, "self/cgroup"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && (s.deps.Cgroups.Version == cgroupfs.V2 && parts[0] == "0" || strings.Contains(","+parts[1]+",", ",memory,")) {
			return parts[2]
		}
	}
	return ""
}

func created(dir string) time.Time {
	info, err := os.Stat(dir)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// machine is what /proc tells of the whole.
type machine struct {
	boot                                                                 time.Time
	cpuNanos, memTotal, memFree, inactiveFile, anon, swapTotal, swapFree uint64
	faults, majorFaults                                                  uint64
	maxPID, tasks                                                        *int64
}

func (m machine) swap(at time.Time) *statsapi.SwapStats {
	return &statsapi.SwapStats{Time: stamp(at), SwapUsageBytes: ptrTo(m.swapTotal - min(m.swapTotal, m.swapFree)), SwapAvailableBytes: &m.swapFree}
}

// ticks is how many of /proc/stat's units are a second (USER_HZ, fixed on every architecture that Kubernetes runs on).
const ticks = 100

func readMachine(proc string) (machine, error) {
	var m machine
	stat, err := table(filepath.Join(proc, "stat"))
	if err != nil {
		return m, err
	}
	if f := stat["btime"]; len(f) > 0 {
		m.boot = time.Unix(int64(f[0]), 0)
	}
	// user nice system idle iowait irq softirq steal
	for i, v := range stat["cpu"] {
		if i < 8 && i != 3 && i != 4 {
			m.cpuNanos += v * uint64(time.Second) / ticks
		}
	}
	info, err := table(filepath.Join(proc, "meminfo"))
	if err != nil {
		return m, err
	}
	kib := func(name string) uint64 {
		if f := info[name]; len(f) > 0 {
			return f[0] << 10
		}
		return 0
	}
	m.memTotal, m.memFree, m.inactiveFile, m.anon = kib("MemTotal"), kib("MemFree"), kib("Inactive(file)"), kib("AnonPages")
	m.swapTotal, m.swapFree = kib("SwapTotal"), kib("SwapFree")
	if vm, err := table(filepath.Join(proc, "vmstat")); err == nil {
		if f, g := vm["pgfault"], vm["pgmajfault"]; len(f) > 0 && len(g) > 0 {
			m.faults, m.majorFaults = f[0], g[0]
		}
	}
	m.maxPID, m.tasks = tasks(proc)
	return m, nil
}

// tasks are how many tasks there may be and how many there are.
func tasks(proc string) (most, now *int64) {
	for _, file := range []string{"sys/kernel/pid_max", "sys/kernel/threads-max"} {
		if b, err := os.ReadFile(filepath.Join(proc, file)); err == nil {
			if v, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && (most == nil || v < *most) {
				most = &v
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(proc, "loadavg")); err == nil {
		if f := strings.Fields(string(b)); len(f) > 3 {
			if _, all, ok := strings.Cut(f[3], "/"); ok {
				if v, err := strconv.ParseInt(all, 10, 64); err == nil {
					now = &v
				}
			}
		}
	}
	return most, now
}

// table reads a file of lines that begin with a name; what is not a number ends a line.
func table(file string) (map[string][]uint64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	out := map[string][]uint64{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		var v []uint64
		for _, text := range f[1:] {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				break
			}
			v = append(v, n)
		}
		out[strings.TrimSuffix(f[0], ":")] = v
	}
	return out, nil
}
