package root

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/cri/sim"
	"github.com/troupe-dev/troupe/messages/model"
)

// The agent is killed at any moment over pods in every stage: what runs runs on, what was half made is finished or
// removed, restart counts and readiness stay.
func TestAgentKilledAtAnyMoment(t *testing.T) {
	for seed := range seeds(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, sim.DefaultLatency(), func(w *world) {
				r := rand.New(rand.NewPCG(seed, 5))
				kinds := func(p *v1.Pod) { withInit(p); probed(p) }
				steady := w.fill(30, "s", kinds)
				steady = append(steady, w.fill(10, "plain", nil)...)
				crashing := w.addAll(10, "crash", program("run=1s exit=1"))
				time.Sleep(8 * time.Second)
				since := time.Now()
				ran := map[model.UID]string{}
				for _, u := range steady {
					ran[u] = w.get(u).Status.ContainerStatuses[0].ContainerID
				}
				// Fifty pods that come and go, and kills in between.
				var stay, leave []model.UID
				for i := range 50 {
					u := w.add(newPod(fmt.Sprintf("n%d", i), []func(*v1.Pod){nil, kinds, program("run=2s exit=0"), neverAgain}[r.IntN(4)]))
					if r.IntN(3) == 0 {
						leave = append(leave, u)
					} else {
						stay = append(stay, u)
					}
					if r.IntN(4) == 0 && len(leave) > 0 {
						w.removeOnce(leave[r.IntN(len(leave))])
					}
					time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
					if r.IntN(8) == 0 {
						w.kill()
						if r.IntN(3) == 0 {
							time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond)
						}
						w.start()
					}
				}
				time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
				w.restart()
				for _, u := range leave {
					w.removeOnce(u)
				}
				time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				w.restart()
				w.until(2*time.Minute, "all that should go is gone", func() bool { return w.allGone(leave) })
				w.until(10*time.Minute, "all that should stay has run", func() bool {
					for _, u := range stay {
						p := w.get(u)
						if !isReady(p) && restarts(p) == 0 && p.Status.Phase != v1.PodSucceeded && !startGivenUp(p) {
							return false
						}
					}
					return true
				})
				w.steady(steady, since)
				for _, u := range steady {
					if id := w.get(u).Status.ContainerStatuses[0].ContainerID; id != ran[u] {
						t.Errorf("%s: another container runs", w.fact(u).name)
					}
				}
				for _, u := range crashing {
					if restarts(w.get(u)) == 0 {
						t.Errorf("%s has lost its restart count", w.fact(u).name)
					}
				}
				for _, u := range slices.Concat(steady, stay, crashing) {
					w.remove(u, nil)
				}
				w.until(5*time.Minute, "all pods are gone", func() bool { return len(w.agent.Table.List()) == 0 })
				w.nothingLeft()
			})
		})
	}
}

// startGivenUp: the kill hit the very start of a container that may not run again.
func startGivenUp(p *v1.Pod) bool {
	if p.Status.Phase != v1.PodFailed || p.Spec.RestartPolicy != v1.RestartPolicyNever {
		return false
	}
	end := p.Status.ContainerStatuses[0].State.Terminated
	return end != nil && end.Reason == "StartError"
}

func neverAgain(p *v1.Pod) { p.Spec.RestartPolicy = v1.RestartPolicyNever }

func (w *world) removeOnce(u model.UID) {
	w.mu.Lock()
	_, asked := w.asked[u]
	w.mu.Unlock()
	if !asked && w.get(u) != nil {
		w.remove(u, nil)
	}
}

// A container that was created and not started is started when it fits, and made anew when it does not.
func TestHalfMadeContainer(t *testing.T) {
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		rule := w.sim.Always(sim.Match{Pod: "half"}, "StartContainer", sim.Hang)
		half := w.add(newPod("half", nil))
		w.until(time.Minute, "the start hangs", func() bool { return rule.Hits() > 0 })
		w.kill()
		rule.Release()
		before := w.calls("CreateContainer")
		w.start()
		w.until(time.Minute, "the pod is Ready", func() bool { return w.ready(half) })
		if n := w.calls("CreateContainer") - before; n != 0 {
			// A start that was given up ends the container in the simulated runtime as in containerd.
			t.Logf("%d creates", n)
		}
		if n := restarts(w.get(half)); n > 1 {
			t.Errorf("%d restarts", n)
		}
	})
	// Made by hand: a container that nobody has tried to start, once with the right hash and once with another one.
	for _, fits := range []bool{true, false} {
		t.Run(fmt.Sprint(fits), func(t *testing.T) {
			inWorld(t, sim.DefaultLatency(), func(w *world) {
				rule := w.sim.Always(sim.Match{Pod: "half"}, "StartContainer", sim.Unavailable)
				half := w.add(newPod("half", nil))
				w.until(time.Minute, "the start was tried", func() bool { return rule.Hits() > 0 })
				w.kill()
				rule.Release()
				if !fits {
					w.mu.Lock()
					p := w.store[half].DeepCopy()
					p.Spec.Containers[0].Image = "example.com/app:2"
					w.store[half] = p
					w.mu.Unlock()
				}
				before := w.calls("CreateContainer")
				w.start()
				took := w.until(time.Minute, "the pod is Ready", func() bool { return w.ready(half) })
				if took > 2*time.Second {
					t.Errorf("Ready %s after the start", took)
				}
				made := w.calls("CreateContainer") - before
				if fits && made != 0 || !fits && made != 1 {
					t.Errorf("%d creates", made)
				}
				if n := restarts(w.get(half)); n != 0 {
					t.Errorf("%d restarts", n)
				}
				if _, c := w.sim.Count(); c != 1 {
					t.Errorf("%d containers", c)
				}
			})
		})
	}
}

// While the agent was away: a container ended, a sandbox died, a pod was deleted, the object of another one vanished.
func TestWhatHappenedMeanwhile(t *testing.T) {
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		uids := w.fill(6, "a", nil)
		since := time.Now()
		w.kill()
		w.sim.ExitMatching(sim.Match{Pod: "a0"}, 3, "")
		ctx := context.Background() // the test's own belongs to another bubble
		c := w.dial()
		boxes, err := c.ListPodSandbox(ctx, cri.SandboxFilter{UID: uids[1]})
		if err != nil || len(boxes) != 1 {
			w.t.Fatal(boxes, err)
		}
		w.sim.KillSandbox(string(boxes[0].ID))
		_ = c.Close()
		w.mu.Lock()
		w.asked[uids[2]] = nil
		delete(w.store, uids[3])
		w.mu.Unlock()
		time.Sleep(10 * time.Second)
		w.start()
		w.until(time.Minute, "a0 runs again", func() bool { return w.ready(uids[0]) && restarts(w.get(uids[0])) == 1 })
		last := w.get(uids[0]).Status.ContainerStatuses[0].LastTerminationState.Terminated
		if last == nil || last.ExitCode != 3 {
			t.Errorf("the last end is %v", last)
		}
		w.until(time.Minute, "a1 runs in a new sandbox", func() bool { return w.ready(uids[1]) && restarts(w.get(uids[1])) == 1 })
		w.until(time.Minute, "a2 is gone", func() bool { return w.get(uids[2]) == nil })
		w.until(time.Minute, "a3 is gone from the runtime", func() bool {
			c := w.dial()
			defer c.Close()
			left, err := c.ListPodSandbox(ctx, cri.SandboxFilter{UID: uids[3]})
			return err == nil && len(left) == 0
		})
		w.steady(uids[4:], since)
	})
}

// A runtime that is away when the agent starts: statuses stay, and everything is adopted when it is back.
func TestAgentStartsBeforeItsRuntime(t *testing.T) {
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		uids := w.fill(10, "a", probed)
		since := time.Now()
		w.kill()
		w.srv.Stop()
		w.start()
		time.Sleep(time.Minute)
		if err := w.srv.Start(); err != nil {
			w.t.Fatal(err)
		}
		fresh := w.fill(2, "b", nil)
		time.Sleep(time.Minute)
		w.steady(append(uids, fresh...), since)
	})
}
