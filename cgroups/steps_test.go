package cgroups_test

import (
	"math"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/cgroups"
)

// chain draws a parent and a child whose limits fit: the child's are within the parent's where both are set.
func chain(t *rapid.T, label string) [2]cgroups.Desired {
	names := [2]cgroups.Name{{"p"}, {"p", "c"}}
	var out [2]cgroups.Desired
	quotas, memories := [2]int64{-1, -1}, [2]int64{-1, -1}
	for i := range 2 {
		ceiling := func(v [2]int64) int64 {
			if i == 1 && v[0] > 0 {
				return v[0]
			}
			return 100
		}
		if rapid.Bool().Draw(t, label+" quota") {
			quotas[i] = rapid.Int64Range(1, ceiling(quotas)).Draw(t, label+" q") * 1
		}
		if rapid.Bool().Draw(t, label+" memory") {
			memories[i] = rapid.Int64Range(1, ceiling(memories)).Draw(t, label+" m")
		}
		period := cgroups.DefaultPeriodMicros
		out[i] = cgroups.Desired{Name: names[i], Resources: specs.LinuxResources{
			CPU:    &specs.LinuxCPU{Quota: &quotas[i], Period: &period},
			Memory: &specs.LinuxMemory{Limit: &memories[i]},
		}}
	}
	return out
}

// Every step leaves a tree in which no finite limit of a child exceeds its parent's, and the last one is what was asked.
func TestStepsNeverSqueeze(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := chain(t, "have"), chain(t, "want")
		type state struct{ quota, memory float64 }
		inf := func(v int64) float64 {
			if v <= 0 {
				return math.Inf(1)
			}
			return float64(v)
		}
		now := map[string]*state{}
		for _, d := range have {
			now[d.Name.String()] = &state{inf(*d.Resources.CPU.Quota), inf(*d.Resources.Memory.Limit)}
		}
		check := func() {
			p, c := now["/p"], now["/p/c"]
			if !math.IsInf(c.quota, 1) && c.quota > p.quota {
				t.Fatalf("the child's quota %v exceeds its parent's %v", c.quota, p.quota)
			}
			if !math.IsInf(c.memory, 1) && c.memory > p.memory {
				t.Fatalf("the child's memory %v exceeds its parent's %v", c.memory, p.memory)
			}
		}
		check()
		for _, step := range cgroups.Steps(have[:], want[:]) {
			s := now[step.Name.String()]
			if c := step.Resources.CPU; c != nil && c.Quota != nil {
				s.quota = inf(*c.Quota)
			}
			if m := step.Resources.Memory; m != nil {
				s.memory = inf(*m.Limit)
			}
			check()
		}
		for _, d := range want {
			if s := now[d.Name.String()]; s.quota != inf(*d.Resources.CPU.Quota) || s.memory != inf(*d.Resources.Memory.Limit) {
				t.Fatalf("%s ended as %+v", d.Name, *s)
			}
		}
		if again := cgroups.Steps(want[:], want[:]); len(again) != 0 {
			t.Fatalf("nothing changes, yet %d steps", len(again))
		}
	})
}
