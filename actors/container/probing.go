package container

import (
	"context"
	"math/rand/v2"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/troupe-dev/troupe/actors/container/probeplan"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Prober runs one probe once. It blocks until the probe has ended or ctx, whose deadline is the probe's timeout, ends.
type Prober interface {
	Probe(ctx context.Context, t ProbeTarget, spec *v1.Probe) (result probeplan.Result, output string)
}

// ProbeTarget is an instance to probe.
type ProbeTarget struct {
	Pod       *v1.Pod
	Container *v1.Container
	ID        model.ContainerID
	IPs       []string
	// Timeout of this run.
	Timeout time.Duration
}

// probing is the part of the shell that carries probes out: it belongs to the actor's goroutine. Probes cost a timer and,
// while one runs, a job of the runner; no goroutine waits.
type probing struct {
	state  probeplan.State
	target ProbeTarget
	gen    int
	timer  func()
}

// Messages of a container to itself about its probes; gen tells instances apart.
type (
	probeTick struct{ gen int }
	probeDone struct {
		gen     int
		outcome probeplan.Outcome
	}
)

// probeNames are used in events, as the kubelet's.
var probeNames = [...]string{containermsg.Liveness: "Liveness", containermsg.Readiness: "Readiness", containermsg.Startup: "Startup"}

// resultNames are used in metrics, as the kubelet's.
var resultNames = [...]string{probeplan.Success: "successful", probeplan.Warning: "successful", probeplan.Failure: "failed", probeplan.Unknown: "unknown"}

func (a *Actor) startProbes(c *spawn.Cell, id model.ContainerID) {
	a.stopProbes(c, false)
	started := time.Now()
	if cur := a.state.Cur; cur != nil && !cur.StartedAt.IsZero() {
		started = cur.StartedAt
	}
	spec := a.state.Spec
	var delay time.Duration
	if adopted := started.Before(a.cfg.AgentStarted); adopted {
		delay = time.Duration(rand.Int64N(int64(longestPeriod(spec)))) // spread them: the agent has just restarted
		started = time.Now()
	}
	p := a.probing
	p.gen++
	p.target = ProbeTarget{Pod: a.state.Pod, Container: spec, ID: id, IPs: a.grant.IPs}
	p.state = probeplan.New(spec, started, a.state.Started, a.state.Ready, delay)
	a.probing = p
	a.probe(c, probeplan.Tick{})
}

func longestPeriod(c *v1.Container) time.Duration {
	longest := time.Second
	for _, p := range []*v1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if p != nil {
			longest = max(longest, time.Duration(p.PeriodSeconds)*time.Second)
		}
	}
	return longest
}

func (a *Actor) stopProbes(c *spawn.Cell, keepReadiness bool) {
	if !keepReadiness {
		a.probing.gen++ // what still runs is of no interest
	}
	a.probe(c, probeplan.Stop{KeepReadiness: keepReadiness})
}

func (a *Actor) probe(c *spawn.Cell, ev probeplan.Event) {
	var acts []probeplan.Action
	a.probing.state, acts = probeplan.Next(a.probing.state, time.Now(), ev)
	for _, act := range acts {
		switch x := act.(type) {
		case probeplan.Run:
			a.runProbe(c, x)
		case probeplan.Report:
			a.step(c, containermsg.ProbeResult{Kind: x.Kind, Container: a.probing.target.ID, OK: x.OK, Message: x.Message})
		case probeplan.SetTimer:
			if a.probing.timer != nil {
				a.probing.timer()
				a.probing.timer = nil
			}
			if !x.At.IsZero() {
				a.probing.timer = c.After(time.Until(x.At), probeTick{a.probing.gen})
			}
		}
	}
}

func (a *Actor) runProbe(c *spawn.Cell, x probeplan.Run) {
	target, self, gen := a.probing.target, c.Self(), a.probing.gen
	target.Timeout = max(time.Second, time.Duration(x.Spec.TimeoutSeconds)*time.Second)
	observer, pod := a.deps.Observer, a.state.Pod
	// The runtime ends a command that takes too long, and answers when nothing holds the command's output open any more:
	// that may be long after, and still is the answer.
	timeout := target.Timeout + probeSlack
	if x.Spec.Exec != nil {
		timeout = target.Timeout + a.cfg.CallTimeout
	}
	prober, recorder, ref := a.deps.Probes, a.deps.Recorder, Reference(a.state.Pod, FieldPath(a.state.Kind, a.state.Name))
	a.deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.Probes, Op: "probe", Owner: a.state.Pod.Namespace + "/" + a.state.Pod.Name + "/" + a.state.Name, Timeout: timeout,
		Fn: func(ctx context.Context) error {
			began := time.Now()
			result, output := prober.Probe(ctx, target, x.Spec)
			observer.Probed(probeNames[x.Kind], target.Container.Name, pod.Name, pod.Namespace, string(pod.UID), resultNames[result], time.Since(began))
			if ctx.Err() == nil || result != probeplan.Unknown {
				tellProbe(recorder, ref, probeNames[x.Kind], result, output)
			}
			self.Tell(probeDone{gen, probeplan.Outcome{Kind: x.Kind, Result: result, Message: output}})
			return nil
		},
		OnPanic: func(any) { self.Tell(probeDone{gen, probeplan.Outcome{Kind: x.Kind, Result: probeplan.Unknown}}) },
	})
}

// probeSlack lets a probe report its own timeout before the runner's ends it.
const probeSlack = 2 * time.Second

func tellProbe(r record.EventRecorder, ref *v1.ObjectReference, name string, result probeplan.Result, output string) {
	switch result {
	case probeplan.Failure:
		r.Eventf(ref, v1.EventTypeWarning, "Unhealthy", "%s probe failed: %s", name, output)
	case probeplan.Warning:
		r.Eventf(ref, v1.EventTypeWarning, "ProbeWarning", "%s probe warning: %s", name, output)
	case probeplan.Unknown:
		r.Eventf(ref, v1.EventTypeWarning, "Unhealthy", "%s probe errored and resulted in unknown state: %s", name, output)
	case probeplan.Success:
	}
}
