package node

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/messages/podsmsg"
)

func criticalPod(name, cpu string) *v1.Pod {
	p, n := pod(name, cpu), int32(2_000_000_000)
	p.Spec.Priority = &n
	return p
}

// asked is one question and its answers.
type asked struct {
	mu      sync.Mutex
	answers []any
}

func (r *rig) ask(p *v1.Pod) *asked {
	a := &asked{}
	r.ref.Tell(nodemsg.Admit{Pod: p, Reply: messages.SinkFunc(func(m any) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.answers = append(a.answers, m)
	})})
	synctest.Wait()
	return a
}

func (a *asked) state() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case len(a.answers) == 0:
		return "waits"
	case len(a.answers) > 1:
		return "answered twice"
	}
	if r, ok := a.answers[0].(podmsg.Refused); ok {
		return r.Reason
	}
	return "admitted"
}

// ended are the pods that were told to make room, with what they were told.
func (r *rig) ended() (uids []model.UID, with podmsg.End) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.told {
		if to, ok := m.(podsmsg.ToPod); ok {
			uids, with = append(uids, to.UID), to.Event.(podmsg.End)
		}
	}
	return uids, with
}

func (r *rig) release(uid model.UID) {
	r.ref.Tell(nodemsg.Release{UID: uid})
	synctest.Wait()
}

func TestCriticalPodTakesAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true, nil)
		r.up()
		for _, name := range []string{"small", "large"} {
			if got := r.ask(pod(name, map[string]string{"small": "500m", "large": "1500m"}[name])); got.state() != "admitted" {
				t.Fatal(got.answers)
			}
		}
		c := r.ask(criticalPod("critical", "1"))
		uids, with := r.ended()
		if !slices.Equal(uids, []model.UID{"large"}) {
			t.Fatalf("ended %v", uids)
		}
		if with.Reason != "Preempting" || with.Message != "Preempted in order to admit critical pod" || with.Grace != nil ||
			with.Condition == nil || with.Condition.Type != v1.DisruptionTarget || with.Condition.Reason != "TerminationByKubelet" || with.Condition.Status != v1.ConditionTrue {
			t.Errorf("told %+v %+v", with, with.Condition)
		}
		if got := c.state(); got != "waits" {
			t.Errorf("before its victim has ended, the critical pod %s", got)
		}
		// What is asked meanwhile waits for the outcome; nobody gets the room that is being made.
		other, second := r.ask(pod("other", "1")), r.ask(criticalPod("second", "500m"))
		if other.state() != "waits" || second.state() != "waits" {
			t.Errorf("other %s, second %s", other.state(), second.state())
		}
		again := r.ask(criticalPod("critical", "1"))
		r.release("large")
		if c.state() != "waits" || again.state() != "admitted" {
			t.Errorf("the first question %s, the newest %s", c.state(), again.state())
		}
		if other.state() != "OutOfpods" {
			t.Errorf("the other pod: %s", other.state())
		}
		if uids, _ := r.ended(); !slices.Equal(uids, []model.UID{"large", "small"}) || second.state() != "waits" {
			t.Errorf("for the second one %v ended, it %s", uids, second.state())
		}
		r.release("small")
		if second.state() != "admitted" {
			t.Errorf("the second critical pod: %s", second.state())
		}
		var events []string
		for len(r.events.Events) > 0 {
			if e := <-r.events.Events; strings.Contains(e, "Preempt") {
				events = append(events, e)
			}
		}
		if len(events) != 2 || events[0] != "Warning Preempting Preempted in order to admit critical pod" {
			t.Errorf("events %q", events)
		}
	})
}

func TestVictimThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true, nil)
		r.up()
		slow, grace := pod("slow", "2"), int64(60)
		slow.Spec.TerminationGracePeriodSeconds = &grace
		r.ask(slow)
		c := r.ask(criticalPod("critical", "1"))
		time.Sleep(85 * time.Second)
		synctest.Wait()
		if c.state() != "waits" {
			t.Errorf("inside the grace: %s", c.state())
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if c.state() != "admitted" {
			t.Errorf("after the grace and half of it: %s", c.state())
		}
	})
}

func TestCriticalPodThatGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true, nil)
		r.up()
		r.ask(pod("a", "2"))
		c := r.ask(criticalPod("critical", "1"))
		held, gone := r.ask(pod("held", "500m")), r.ask(pod("gone", "500m"))
		r.release("gone")
		r.release("critical")
		if c.state() != "waits" || held.state() != "OutOfcpu" || gone.state() != "waits" {
			t.Errorf("critical %s, held %s, gone %s", c.state(), held.state(), gone.state())
		}
		r.release("a")
		if got := r.ask(pod("b", "2")); got.state() != "admitted" {
			t.Errorf("afterwards: %s", got.state())
		}
	})
}

func TestNothingToPreempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true, nil)
		r.up()
		r.ask(criticalPod("a", "2"))
		c := r.ask(criticalPod("b", "1"))
		if c.state() != "UnexpectedAdmissionError" || !strings.Contains(c.answers[0].(podmsg.Refused).Message, "no set of running pods found to reclaim resources") {
			t.Errorf("got %+v", c.answers)
		}
		if got := r.ask(pod("c", "1")); got.state() != "OutOfcpu" {
			t.Errorf("a pod that is not critical: %s", got.state())
		}
	})
}
