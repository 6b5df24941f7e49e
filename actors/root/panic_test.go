package root

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/cri/sim"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/registry"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// saboteur makes actors panic.
type saboteur struct {
	mu    sync.Mutex
	armed func(path, message string) (before, after bool)
	count map[string]int
}

func newSaboteur() *saboteur { return &saboteur{count: map[string]int{}} }

// arm sets when to panic: before a message is dealt with, or right after.
func (s *saboteur) arm(f func(path, message string) (before, after bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = f
}

// next makes the next n messages of an actor panic, every other one after it was dealt with.
func (s *saboteur) next(path string, n int) {
	left := n
	s.arm(func(p, _ string) (bool, bool) {
		if p != path || left == 0 {
			return false, false
		}
		left--
		return left%2 == 0, left%2 == 1
	})
}

func (s *saboteur) panics(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[path]
}

func (s *saboteur) ask(path string, msg any) (before, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.armed == nil {
		return false, false
	}
	before, after = s.armed(path, reflect.TypeOf(msg).String())
	if before || after {
		s.count[path]++
	}
	return before, after
}

func (s *saboteur) wrap(_ *spawn.Cell, r spawn.Receiver) spawn.Receiver { return sabotaged{s, r} }

type sabotaged struct {
	s *saboteur
	r spawn.Receiver
}

func (x sabotaged) Receive(c *spawn.Cell, msg any) {
	before, after := x.s.ask(c.Path(), msg)
	if before {
		panic("sabotage before " + reflect.TypeOf(msg).String())
	}
	x.r.Receive(c, msg)
	if after {
		panic("sabotage after " + reflect.TypeOf(msg).String())
	}
}

func (x sabotaged) Started(c *spawn.Cell) {
	if s, ok := x.r.(spawn.Starter); ok {
		s.Started(c)
	}
}

func (x sabotaged) Stopping(c *spawn.Cell) {
	if s, ok := x.r.(spawn.Stopper); ok {
		s.Stopping(c)
	}
}

// inSabotage is inWorld with a saboteur.
func inSabotage(t *testing.T, test func(w *world, s *saboteur)) {
	t.Helper()
	s := newSaboteur()
	inWorld(t, sim.DefaultLatency(), func(w *world) { test(w, s) }, func(w *world) { w.wrap = s.wrap })
}

func probed(p *v1.Pod) {
	for i := range p.Spec.Containers {
		p.Spec.Containers[i].ReadinessProbe = &v1.Probe{
			PeriodSeconds: 5, TimeoutSeconds: 1, FailureThreshold: 3, SuccessThreshold: 1,
			ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"true"}}},
		}
	}
}

// entry finds an actor in the registry.
func (w *world) entry(path string) registry.Node {
	w.t.Helper()
	n, ok := w.agent.System.Registry().Find(path)
	if !ok {
		w.t.Fatalf("no actor %s", path)
	}
	return n
}

// A panic in any actor, at any message: what runs runs on, the actor is built anew, everything goes on.
func TestPanicInAnyActor(t *testing.T) {
	for _, path := range []string{"/runtime", "/node", "/pods", "/cgroups", "/images", "/volumes", "/status", "/pods/uid-s0", "/pods/uid-s0/app"} {
		for _, n := range []int{1, 5} {
			if n > 1 && !strings.HasPrefix(path, "/pods") && path != "/runtime" {
				continue // the rest is the same for all that hold nothing below them
			}
			t.Run(fmt.Sprintf("%s %d", path, n), func(t *testing.T) {
				inSabotage(t, func(w *world, s *saboteur) {
					kinds := func(p *v1.Pod) { withInit(p); probed(p) }
					steady := w.fill(5, "s", kinds)
					leaving := w.fill(3, "l", kinds)
					time.Sleep(20 * time.Second)
					since := time.Now()
					before := w.entry(path).Panics
					s.next(path, n)
					// Work for every actor: pods come and go, and the runtime says that something happened.
					coming := w.addAll(3, "c", kinds)
					for _, u := range leaving {
						w.remove(u, nil)
					}
					gone := w.add(newPod("gone", nil))
					time.Sleep(200 * time.Millisecond)
					w.remove(gone, nil)
					w.nudge(steady[0])
					w.until(10*time.Minute, "the actor panicked", func() bool { return s.panics(path) == n })
					w.until(10*time.Minute, "the new pods are Ready", func() bool { return w.allReady(coming) })
					w.until(10*time.Minute, "the leaving pods are gone", func() bool { return w.allGone(leaving) && w.get(gone) == nil })
					w.steady(steady, since)
					node := w.entry(path)
					if node.Panics-before != n || node.LastPanic == nil || !strings.Contains(node.LastPanic.Stack, "sabotaged") {
						t.Errorf("%d panics and the stack of the last one are not kept: %d %v", n, node.Panics-before, node.LastPanic)
					}
					s.arm(nil)
					time.Sleep(10 * time.Minute) // out of quarantine
					// It does its work again.
					more := w.fill(2, "m", kinds)
					w.sim.ExitMatching(sim.Match{Pod: "s0", Container: "app"}, 1, "")
					w.until(2*time.Minute, "an ended container runs again", func() bool { return w.fact(steady[0]).restarts["app"] == 1 && w.ready(steady[0]) })
					w.steady(append(more, steady[1:]...), since)
					for _, u := range append(append(steady, more...), coming...) {
						w.remove(u, nil)
					}
					w.until(2*time.Minute, "all pods are gone", func() bool { return len(w.agent.Table.List()) == 0 })
					w.nothingLeft()
				})
			})
		}
	}
}

// nudge makes every actor that has to do with a pod receive something.
func (w *world) nudge(uid model.UID) {
	w.mu.Lock()
	p := w.store[uid].DeepCopy()
	w.mu.Unlock()
	p.Labels = map[string]string{"nudged": fmt.Sprint(time.Now().UnixNano())}
	if _, err := w.agent.Source.Add(p); err != nil {
		w.t.Fatal(err)
	}
}

// Panics of random actors at random messages while pods come, go and crash: nothing is started twice, and in the end
// everything is as it was asked for.
func TestRandomPanics(t *testing.T) {
	for seed := range seeds(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inSabotage(t, func(w *world, s *saboteur) {
				r := rand.New(rand.NewPCG(seed, 3))
				steady := w.fill(5, "s", withInit)
				since := time.Now()
				var mu sync.Mutex
				s.arm(func(path, _ string) (bool, bool) {
					mu.Lock()
					defer mu.Unlock()
					if r.IntN(60) != 0 {
						return false, false
					}
					return r.IntN(2) == 0, true
				})
				kinds := []func(*v1.Pod){nil, withInit, program("run=3s exit=1"), program("term=ignore"), probed}
				var stay, leave []model.UID
				pick := func(n int) int { mu.Lock(); defer mu.Unlock(); return r.IntN(n) }
				for i := range 40 {
					u := w.add(newPod(fmt.Sprintf("p%d", i), kinds[pick(len(kinds))]))
					if pick(2) == 0 {
						leave = append(leave, u)
						after := time.Duration(pick(8000)) * time.Millisecond
						go func() {
							time.Sleep(after)
							w.remove(u, nil)
						}()
					} else {
						stay = append(stay, u)
					}
					time.Sleep(time.Duration(pick(500)) * time.Millisecond)
				}
				time.Sleep(time.Minute)
				s.arm(nil)
				w.until(20*time.Minute, "all that should go is gone", func() bool { return w.allGone(leave) })
				w.until(20*time.Minute, "all that should stay has run", func() bool {
					for _, u := range stay {
						p := w.get(u)
						if !isReady(p) && restarts(p) == 0 {
							return false
						}
					}
					return true
				})
				w.steady(steady, since)
				total := 0
				for _, n := range s.count {
					total += n
				}
				t.Logf("%d panics", total)
				for _, u := range append(steady, stay...) {
					w.remove(u, nil)
				}
				w.until(20*time.Minute, "all pods are gone", func() bool { return len(w.agent.Table.List()) == 0 })
				w.nothingLeft()
			})
		})
	}
}
