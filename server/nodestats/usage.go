package nodestats

import (
	"errors"
	"io/fs"
	"time"

	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/troupe-dev/troupe/cgroups/cgstat"
)

// usage is what is told of one cgroup.
type usage struct {
	cpu    *statsapi.CPUStats
	memory *statsapi.MemoryStats
	swap   *statsapi.SwapStats
	io     *statsapi.IOStats
}

// group measures a cgroup at a driver's path. ok is false for one that is gone.
func (s *measurement) group(path string) (u usage, ok bool) {
	h, at := s.deps.Cgroups, time.Now()
	use, err := cgstat.Read(h, path)
	if err != nil {
		s.complain(err)
		return usage{}, false
	}
	limits, err := cgstat.ReadLimits(h, path)
	if err != nil {
		s.complain(err)
		return usage{}, false
	}
	u.cpu = &statsapi.CPUStats{Time: stamp(at), UsageCoreNanoSeconds: &use.CPUNanos, UsageNanoCores: s.rates.add(path, use.CPUNanos, at)}
	u.memory = &statsapi.MemoryStats{
		Time: stamp(at), UsageBytes: ptrTo(uint64(use.Memory)), WorkingSetBytes: ptrTo(uint64(use.WorkingSet)), RSSBytes: ptrTo(uint64(use.RSS)),
		PageFaults: &use.PageFaults, MajorPageFaults: &use.MajorPageFaults,
	}
	if l := limits.Memory; l != nil {
		u.memory.AvailableBytes = ptrTo(uint64(max(*l-use.WorkingSet, 0)))
	}
	if swapped, err := cgstat.Swap(h, path); err == nil && swapped != nil {
		u.swap = &statsapi.SwapStats{Time: stamp(at), SwapUsageBytes: ptrTo(uint64(*swapped))}
		if l := limits.Swap; l != nil {
			u.swap.SwapAvailableBytes = ptrTo(uint64(max(*l-*swapped, 0)))
		}
	}
	if s.full {
		read := func(resource string) *statsapi.PSIStats {
			p, err := cgstat.ReadPressure(h, path, resource)
			if err != nil {
				s.complain(err)
			}
			return pressure(p)
		}
		u.cpu.PSI, u.memory.PSI = read("cpu"), read("memory")
		if p := read("io"); p != nil {
			u.io = &statsapi.IOStats{Time: stamp(at), PSI: p}
		}
	}
	return u, true
}

// complain tells of what could not be read, unless it is simply gone.
func (s *measurement) complain(err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		s.deps.Log.V(4).Info("Could not measure", "err", err)
	}
}

func pressure(p *cgstat.Pressure) *statsapi.PSIStats {
	if p == nil {
		return nil
	}
	data := func(w cgstat.Waited) statsapi.PSIData {
		return statsapi.PSIData{Total: uint64(w.Total.Nanoseconds()), Avg10: w.Avg10, Avg60: w.Avg60, Avg300: w.Avg300}
	}
	return &statsapi.PSIStats{Some: data(p.Some), Full: data(p.Full)}
}
