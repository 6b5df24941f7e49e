package root

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/runtime"
	"github.com/troupe-dev/troupe/cri/sim"
	"github.com/troupe-dev/troupe/messages/model"
)

// slowest is how long after a moment the last of the pods became Ready.
func (w *world) slowest(uids []model.UID, since time.Time) time.Duration {
	var worst time.Duration
	for _, u := range uids {
		if at := w.fact(u).readyAt; len(at) > 0 {
			worst = max(worst, at[0].Sub(since))
		}
	}
	return worst
}

// burst adds n pods and returns how long the slowest took to be Ready.
func (w *world) burst(n int, prefix string) ([]model.UID, time.Duration) {
	since := time.Now()
	uids := w.fill(n, prefix, nil)
	return uids, w.slowest(uids, since)
}

func (w *world) burstAndClear(n int, prefix string) (start, stop time.Duration) {
	uids, start := w.burst(n, prefix)
	since := time.Now()
	grace := int64(1)
	for _, u := range uids {
		w.remove(u, &grace)
	}
	w.until(time.Minute, "the burst is gone", func() bool { return w.allGone(uids) })
	return start, time.Since(since)
}

// One pod's call hangs for ever: fifty others start and end as fast as without it.
func TestHungCallHoldsUpNobody(t *testing.T) {
	for _, op := range []string{"RunPodSandbox", "CreateContainer", "StartContainer", "StopContainer", "StopPodSandbox", "RemovePodSandbox", "PodSandboxStatus", "ContainerStatus"} {
		t.Run(op, func(t *testing.T) {
			var free, freeEnd time.Duration
			inWorld(t, sim.DefaultLatency(), func(w *world) {
				w.burstAndClear(50, "warm")
				free, freeEnd = w.burstAndClear(50, "free")
			})
			inWorld(t, sim.DefaultLatency(), func(w *world) {
				w.burstAndClear(50, "warm")
				rule := w.sim.Always(sim.Match{Pod: "hung"}, op, sim.Hang)
				hung := w.add(newPod("hung", nil))
				ending := op == "StopContainer" || op == "StopPodSandbox" || op == "RemovePodSandbox"
				if ending {
					w.until(time.Minute, "the pod is Ready", func() bool { return w.ready(hung) })
					w.remove(hung, nil)
				}
				w.until(time.Minute, "the call hangs", func() bool { return rule.Hits() > 0 })
				for round := range 2 {
					start, end := w.burstAndClear(50, fmt.Sprintf("r%d-", round))
					if limit := free + free/4 + 50*time.Millisecond; start > limit {
						t.Errorf("round %d: the slowest of 50 pods was Ready after %s; without the hung call after %s", round, start, free)
					}
					if limit := freeEnd + freeEnd/4 + 50*time.Millisecond; end > limit {
						t.Errorf("round %d: 50 pods were gone after %s; without the hung call after %s", round, end, freeEnd)
					}
				}
				named := false
				if e, ok := w.agent.explain(hung); ok {
					for _, c := range e.InFlight {
						named = named || c.Op == op
					}
					for _, k := range e.Containers {
						for _, c := range k.InFlight {
							named = named || c.Op == op
						}
					}
					// A read that hangs inside another call shows as that call.
					if op == "PodSandboxStatus" || op == "ContainerStatus" {
						named = len(e.InFlight) > 0 || len(e.Containers[0].InFlight) > 0
					}
				}
				if d, ok := w.entry("/runtime").Detail.(runtime.Detail); !ok || !d.Ready || !d.Network {
					t.Errorf("the node is not ready: %+v", d)
				}
				if !named {
					w.describe()
					t.Errorf("explain does not name the call that hangs")
				}
				if n := w.agent.System.Registry().Stuck(time.Now(), time.Millisecond); len(n) > 0 {
					t.Errorf("actors that wait: %v", n)
				}
				if !ending {
					w.remove(hung, nil)
				}
				took := w.until(10*time.Minute, "the hung pod is gone or its calls are cancelled", func() bool {
					return w.get(hung) == nil || ending
				})
				if !ending && took > time.Minute {
					t.Errorf("the hung pod was gone %s after its deletion", took)
				}
				rule.Release()
				w.until(5*time.Minute, "the hung pod is gone", func() bool { return w.get(hung) == nil })
				time.Sleep(2 * time.Minute)
				w.nothingLeft()
			})
		})
	}
}

// A runtime that goes on with a sandbox that nobody waits for any more: what appears later is found and removed.
func TestSandboxThatAppearsAfterItsPod(t *testing.T) {
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		w.sim.ScriptFor(sim.Match{Pod: "late"}, "RunPodSandbox", sim.Stall(40*time.Second))
		uid := w.add(newPod("late", nil))
		time.Sleep(time.Second)
		w.remove(uid, nil)
		took := w.until(time.Minute, "the pod is gone", func() bool { return w.get(uid) == nil })
		t.Logf("the pod was gone after %s", took)
		time.Sleep(time.Minute)
		w.nothingLeft()
	})
}

// A pod that is deleted at any moment of its start is cleaned up whole.
func TestDeletedWhileItStarts(t *testing.T) {
	for seed := range seeds(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, sim.DefaultLatency(), func(w *world) {
				r := rand.New(rand.NewPCG(seed, 7))
				kinds := []func(*v1.Pod){nil, program("run=20ms exit=1"), program("term=ignore"), withInit}
				var uids []model.UID
				for i := range 60 {
					uid := w.add(newPod(fmt.Sprintf("p%d", i), kinds[r.IntN(len(kinds))]))
					uids = append(uids, uid)
					after, force := time.Duration(r.IntN(400))*time.Millisecond, r.IntN(4) == 0
					go func() {
						time.Sleep(after)
						if force {
							w.agent.Source.Remove(uid)
							return
						}
						w.remove(uid, nil)
					}()
					time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
				}
				w.until(time.Minute, "all pods are gone", func() bool { return w.allGone(uids) })
				w.nothingLeft()
			})
		})
	}
}

func withInit(p *v1.Pod) {
	always := v1.ContainerRestartPolicyAlways
	p.Spec.InitContainers = []v1.Container{
		{Name: "init", Image: "example.com/app:1", Command: []string{"sim", "run=30ms", "exit=0"}},
		{Name: "sidecar", Image: "example.com/app:1", Command: []string{"sim"}, RestartPolicy: &always},
	}
}
