package benchcmd

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri/sim"
)

// latencies are how long a simulated runtime's calls take, as flags.
type latencies struct {
	sandbox, create, start          time.Duration
	stop, stopSandbox, remove, read time.Duration
	jitter                          float64
	seed                            uint64
}

func (l *latencies) flags(f *pflag.FlagSet) {
	d := sim.DefaultLatency()
	f.DurationVar(&l.sandbox, "sandbox", d["RunPodSandbox"].Base, "RunPodSandbox of the simulated runtime takes this long")
	f.DurationVar(&l.create, "create", d["CreateContainer"].Base, "CreateContainer takes this long")
	f.DurationVar(&l.start, "start", d["StartContainer"].Base, "StartContainer takes this long")
	f.DurationVar(&l.stop, "stop", d["StopContainer"].Base, "StopContainer takes this long")
	f.DurationVar(&l.stopSandbox, "stop-sandbox", d["StopPodSandbox"].Base, "StopPodSandbox takes this long")
	f.DurationVar(&l.remove, "remove", d["RemoveContainer"].Base, "RemoveContainer and RemovePodSandbox take this long")
	f.DurationVar(&l.read, "read", d["ContainerStatus"].Base, "status reads and lists take this long")
	f.Float64Var(&l.jitter, "jitter", 0.1, "calls take longer by up to this `share`")
	f.Uint64Var(&l.seed, "seed", 1, "decides jitter and ids")
}

// config is that of a runtime with these latencies, in which every image is there.
func (l *latencies) config() sim.Config {
	c := sim.Config{Seed: l.seed, Latency: sim.DefaultLatency(), AnyImage: true, WriteLogs: true, CgroupDriver: runtimeapi.CgroupDriver_CGROUPFS}
	for op, d := range map[string]time.Duration{
		"RunPodSandbox": l.sandbox, "CreateContainer": l.create, "StartContainer": l.start, "StopContainer": l.stop, "StopPodSandbox": l.stopSandbox,
		"RemoveContainer": l.remove, "RemovePodSandbox": l.remove,
	} {
		c.Latency[op] = sim.Duration{Base: d, Jitter: time.Duration(float64(d) * l.jitter)}
	}
	for _, op := range []string{"PodSandboxStatus", "ContainerStatus", "ListPodSandbox", "ListContainers"} {
		c.Latency[op] = sim.Duration{Base: l.read}
	}
	return c
}

// up and down are what one pod of one container needs.
func (l *latencies) up() time.Duration   { return l.sandbox + l.create + l.start }
func (l *latencies) down() time.Duration { return l.stop + l.stopSandbox }

func (l *latencies) String() string {
	return fmt.Sprintf("simulated, sandbox %s, create %s, start %s, stop %s, stop sandbox %s, remove %s, read %s, jitter %g", l.sandbox, l.create, l.start, l.stop, l.stopSandbox, l.remove, l.read, l.jitter)
}
