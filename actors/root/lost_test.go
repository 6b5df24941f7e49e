package root

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/cri/proxy"
	"github.com/troupe-dev/troupe/cri/sim"
	"github.com/troupe-dev/troupe/messages/model"
)

// calls that a pod's life makes.
var lifeCalls = []string{
	"RunPodSandbox", "PodSandboxStatus", "CreateContainer", "StartContainer", "ContainerStatus", "StopContainer", "StopPodSandbox",
	"RemovePodSandbox", "ListContainers", "ListPodSandbox",
}

// The answer of a call is lost, or comes after the caller has given up, at every step: nothing is made twice.
func TestLostReplies(t *testing.T) {
	outcomes := map[string][]sim.Outcome{
		"lost":             {sim.LostReply},
		"lost three times": {sim.LostReply, sim.LostReply, sim.LostReply},
		"unavailable":      {sim.Unavailable},
		"refused":          {sim.Fail{Code: codes.Internal, Message: "scripted"}},
		"refused, lost":    {sim.Fail{Code: codes.Unknown, Message: "scripted"}, sim.LostReply},
		// The runtime is still at it when the agent has long given up: the name stays reserved.
		"late": {sim.Stall(3 * time.Minute)},
	}
	for _, op := range lifeCalls {
		for name, list := range outcomes {
			t.Run(op+" "+name, func(t *testing.T) {
				inWorld(t, sim.DefaultLatency(), func(w *world) {
					w.sim.ScriptFor(sim.Match{}, op, list...)
					uids := w.addAll(3, "p", withInit)
					w.until(10*time.Minute, "all pods are Ready", func() bool { return w.allReady(uids) })
					for _, u := range uids {
						if p := w.get(u); restarts(p) != 0 {
							t.Errorf("%s: %d restarts", p.Name, restarts(p))
						}
					}
					w.sim.ScriptFor(sim.Match{}, op, list...)
					for _, u := range uids {
						w.remove(u, nil)
					}
					w.until(10*time.Minute, "all pods are gone", func() bool { return w.allGone(uids) })
					time.Sleep(4 * time.Minute)
					w.nothingLeft()
				})
			})
		}
	}
}

func restarts(p *v1.Pod) int32 {
	var n int32
	for _, c := range p.Status.ContainerStatuses {
		n += c.RestartCount
	}
	return n
}

// One call in ten fails for a minute while pods come and go: every pod is Ready, or gone, soon.
func TestOneCallInTenFails(t *testing.T) {
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		steady := w.fill(20, "s", nil)
		since := time.Now()
		before := w.total()
		calm := w.fill(30, "calm", nil)
		cost := w.total() - before
		for _, op := range lifeCalls {
			for _, code := range []codes.Code{codes.Unavailable, codes.Internal} {
				rule := w.agent.proxy.InjectEvery(proxy.Match{Op: op}, proxy.Error{Code: code, Message: "injected"}, 20)
				defer rule.Release()
			}
		}
		before = w.total()
		r := rand.New(rand.NewPCG(1, 2))
		var added []model.UID
		began := map[model.UID]time.Time{}
		for i := range 30 {
			u := w.add(newPod(fmt.Sprintf("p%d", i), nil))
			added, began[u] = append(added, u), time.Now()
			time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
		}
		w.until(time.Minute, "all pods are Ready", func() bool { return w.allReady(added) })
		var worst time.Duration
		for _, u := range added {
			worst = max(worst, w.fact(u).readyAt[0].Sub(began[u]))
		}
		extra := w.total() - before
		t.Logf("the slowest pod was Ready after %s; %d calls for 30 pods, %d without failures", worst, extra, cost)
		if worst > 10*time.Second {
			t.Errorf("the slowest pod was Ready after %s", worst)
		}
		since2 := time.Now()
		for _, u := range added {
			w.remove(u, nil)
		}
		w.until(time.Minute, "all pods are gone", func() bool { return w.allGone(added) })
		if took := time.Since(since2); took > 15*time.Second {
			t.Errorf("the last pod was gone after %s", took)
		}
		w.steady(append(steady, calm...), since)
	})
}

func (w *world) total() int64 {
	var n uint64
	for _, s := range w.sim.Stats() {
		n += s.Calls
	}
	return int64(n)
}

// Ends are noticed by events at once, and by the slow list when the event stream is silently dead.
func TestExitsAreNoticed(t *testing.T) {
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		uids := w.fill(10, "a", nil)
		w.sim.ExitMatching(sim.Match{Pod: "a3"}, 1, "")
		took := w.until(time.Second, "the end is seen", func() bool { return !w.ready(uids[3]) })
		if took > 50*time.Millisecond {
			t.Errorf("an end was noticed after %s", took)
		}
		w.until(time.Minute, "the container runs again", func() bool { return w.ready(uids[3]) })
	})
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		// A stream that stands and brings nothing.
		w.sim.Always(sim.Match{}, "GetContainerEvents", sim.Hang)
		w.srv.Restart()
		time.Sleep(5 * time.Second)
		uids := w.fill(10, "a", nil)
		w.sim.ExitMatching(sim.Match{Pod: "a3"}, 1, "")
		took := w.until(20*time.Second, "the end is seen", func() bool { return w.get(uids[3]).Status.ContainerStatuses[0].RestartCount == 1 })
		t.Logf("an end was noticed after %s", took)
		if took > 11*time.Second {
			t.Errorf("an end was noticed after %s", took)
		}
	})
}
