package root

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/cri/sim"
)

// A probe's command that fails and leaves a process behind has failed, also when its output stays open for longer than
// the probe's timeout ("sleep 10 & exit 1").
func TestExecProbeWhoseOutputStaysOpen(t *testing.T) {
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		w.sim.HandleExec(sim.Match{Pod: "a0"}, func([]string) sim.ExecResult { return sim.ExecResult{ExitCode: 1, Held: 10 * time.Second} })
		uid := w.fill(1, "a", func(p *v1.Pod) {
			p.Spec.Containers[0].LivenessProbe = &v1.Probe{
				InitialDelaySeconds: 15, PeriodSeconds: 10, TimeoutSeconds: 1, FailureThreshold: 1, SuccessThreshold: 1,
				ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"fail"}}},
			}
		})[0]
		w.until(time.Minute, "the container is restarted", func() bool { return restarts(w.get(uid)) == 1 })
	})
}
