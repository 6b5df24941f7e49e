package systemd

import (
	"math"
	"strconv"
	"strings"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
)

// Versions of systemd since which it knows a property; before, the value is only written to the file system.
const (
	sinceQuotaPeriod = 242
	sinceAllowedCPUs = 244
)

// systemd's quota is in whole percents of a core: hundredths of a second per second.
const quotaStepMicros = 10_000

func prop(name string, value any) sd.Property {
	return sd.Property{Name: name, Value: dbus.MakeVariant(value)}
}

// sliceProperties describe a new slice. Accounting makes systemd enable the controllers at once: a process that joins
// before its memory controller is never charged. A slice hangs below its parent by its name; Wants starts that parent.
// Delegate is not among them: systemd has it for services and scopes only, where processes are.
func sliceProperties(n cgroups.Name) []sd.Property {
	return []sd.Property{
		sd.PropDescription("Troupe cgroup " + n.String()),
		sd.PropWants(n.Parent().Unit()),
		prop("DefaultDependencies", false),
		prop("CPUAccounting", true),
		prop("MemoryAccounting", true),
		prop("TasksAccounting", true),
		prop("IOAccounting", true),
	}
}

// resourceProperties translates what systemd manages and returns the resources with the quota that systemd will really
// set: rounded up to whole percents, so that the file system gets the same and no container's quota exceeds it.
func resourceProperties(version cgroupfs.Version, systemdVersion int, r specs.LinuxResources) ([]sd.Property, specs.LinuxResources) {
	var props []sd.Property
	unlimited := func(v int64) uint64 {
		if v <= 0 {
			return math.MaxUint64 // "infinity"
		}
		return uint64(v)
	}
	if r.CPU != nil {
		cpu := *r.CPU
		r.CPU = &cpu
		if cpu.Shares != nil {
			if version == cgroupfs.V2 {
				props = append(props, prop("CPUWeight", cgroups.Weight(*cpu.Shares)))
			} else {
				props = append(props, prop("CPUShares", *cpu.Shares))
			}
		}
		if cpu.Quota != nil {
			period := cgroups.DefaultPeriodMicros
			if cpu.Period != nil {
				period = *cpu.Period
			}
			if systemdVersion >= sinceQuotaPeriod {
				props = append(props, prop("CPUQuotaPeriodUSec", period))
			}
			perSecond := uint64(math.MaxUint64)
			if q := *cpu.Quota; q > 0 {
				perSecond = uint64(q) * 1_000_000 / period
				if rest := perSecond % quotaStepMicros; rest != 0 {
					perSecond += quotaStepMicros - rest
					q = int64(perSecond * period / 1_000_000)
					cpu.Quota = &q
				}
			}
			props = append(props, prop("CPUQuotaPerSecUSec", perSecond))
		}
		if cpu.Cpus != "" && systemdVersion >= sinceAllowedCPUs {
			if mask := cpuMask(cpu.Cpus); mask != nil {
				props = append(props, prop("AllowedCPUs", mask))
			}
		}
	}
	if r.Memory != nil && r.Memory.Limit != nil {
		name := "MemoryLimit"
		if version == cgroupfs.V2 {
			name = "MemoryMax"
		}
		props = append(props, prop(name, unlimited(*r.Memory.Limit)))
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		props = append(props, prop("TasksMax", unlimited(*r.Pids.Limit)))
	}
	for k, name := range map[string]string{"memory.min": "MemoryMin", "memory.low": "MemoryLow", "memory.high": "MemoryHigh", "memory.swap.max": "MemorySwapMax"} {
		if v, ok := r.Unified[k]; ok && version == cgroupfs.V2 {
			if n, err := strconv.ParseUint(v, 10, 64); err == nil {
				props = append(props, prop(name, n))
			} else if v == "max" {
				props = append(props, prop(name, uint64(math.MaxUint64)))
			}
		}
	}
	return props, r
}

// cpuMask turns a list such as "0-3,7" into systemd's bit mask, lowest CPU first; nil when it is malformed.
func cpuMask(list string) []byte {
	var mask []byte
	for _, part := range strings.Split(list, ",") {
		first, last, ranged := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.ParseUint(first, 10, 16)
		if err != nil {
			return nil
		}
		b := a
		if ranged {
			if b, err = strconv.ParseUint(last, 10, 16); err != nil || b < a {
				return nil
			}
		}
		for ; a <= b; a++ {
			for uint64(len(mask)) <= a/8 {
				mask = append(mask, 0)
			}
			mask[a/8] |= 1 << (a % 8)
		}
	}
	return mask
}

// parseVersion reads systemd's Version property: "252.39-1~deb12u1" in quotes, "v245"; 0 when it is not understood.
func parseVersion(s string) int {
	s = strings.TrimLeft(s, `"v`)
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		s = s[:end]
	}
	n, _ := strconv.Atoi(s)
	return n
}
