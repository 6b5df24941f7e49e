package load

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/bench/proc"
)

// node is a target whose pods are Ready and gone after fixed times.
type node struct {
	tracker     *Tracker
	ready, gone time.Duration
	// stuck pods never get anywhere; refuse fails their creation.
	stuck, refuse string

	mu   sync.Mutex
	now  map[string]bool
	most int
}

func (n *node) Create(_ context.Context, name string) error {
	if name == n.refuse {
		return errors.New("quota exceeded")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now[name] = true
	n.most = max(n.most, len(n.now))
	n.tracker.Seen(name, "uid-"+name, false, time.Now())
	if name != n.stuck {
		time.AfterFunc(n.ready, func() { n.tracker.Seen(name, "uid-"+name, true, time.Now()) })
	}
	return nil
}

func (n *node) Delete(_ context.Context, name string) error {
	time.AfterFunc(n.gone, func() {
		n.mu.Lock()
		delete(n.now, name)
		n.mu.Unlock()
		n.tracker.Seen(name, "uid-"+name, false, time.Now())
		n.tracker.Gone(name, time.Now())
	})
	return nil
}

func newNode() *node {
	return &node{tracker: NewTracker(), ready: 300 * time.Millisecond, gone: 200 * time.Millisecond, now: map[string]bool{}}
}

func plan(phases ...Kind) Plan {
	return Plan{Phases: phases, Pods: 20, Prefix: "p-", Workers: 4, ChurnPods: 6, ChurnWidth: 2, Idle: 30 * time.Second, Settle: time.Second, Timeout: time.Minute}
}

func TestPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		cpu, calls := time.Duration(0), uint64(0)
		probe := Probe{
			Usage: func() (proc.Usage, error) { cpu += time.Second; return proc.Usage{User: cpu, RSS: 5e6}, nil },
			Calls: func() map[string]uint64 { calls += 40; return map[string]uint64{"StartContainer": calls, "Version": 7} },
			PodTimes: func() map[string]time.Duration {
				return map[string]time.Duration{"uid-p-00001": 100 * time.Millisecond, "uid-p-00020": time.Hour}
			},
		}
		var last Progress
		phases, err := Run(t.Context(), plan(Fill, Idle, Churn, Delete, Idle), n, n.tracker, probe, func(p Progress) { last = p })
		if err != nil {
			t.Fatal(err)
		}
		if len(phases) != 5 || last.Phase != Idle {
			t.Fatalf("%d phases, last progress %+v", len(phases), last)
		}
		fill, idle, churn, del := phases[0], phases[1], phases[2], phases[3]
		if fill.Pods != 20 || fill.WallMs != 300 || fill.Ready.N != 20 || fill.Ready.P99 != 300 || fill.Gone != nil || fill.MeasuredMs != 1300 || fill.PodWrites != 40 {
			t.Errorf("fill: %+v", fill)
		}
		// Calls about one pod took 100 ms; those of the other took longer than the pod: no part is larger than the whole.
		if r, x := fill.ReadyRuntime, fill.ReadyRest; r.N != 2 || r.Min != 100 || r.Max != 300 || x.Max != 200 || x.Min != 0 {
			t.Errorf("the split: %+v and %+v", r, x)
		}
		if fill.Agent.CPUSeconds != 1 || fill.Agent.RSSMB != 5 || fill.Calls["StartContainer"] != 40 || len(fill.Calls) != 1 {
			t.Errorf("usage %+v, calls %v", fill.Agent, fill.Calls)
		}
		if idle.WallMs != 30000 || idle.Pods != 20 || idle.PodWrites != 0 || phases[4].Pods != 0 {
			t.Errorf("idle: %+v and %+v", idle, phases[4])
		}
		// Six pods by two at a time: three rounds of 500 ms.
		if churn.Pods != 6 || churn.WallMs != 1500 || churn.Ready.N != 6 || churn.Gone.N != 6 || churn.Gone.Max != 200 {
			t.Errorf("churn: %+v", churn)
		}
		if del.Pods != 20 || del.Gone.N != 20 || del.WallMs != 200 || len(n.now) != 0 || n.most != 20 {
			t.Errorf("delete: %+v, left %v, most %d", del, n.now, n.most)
		}
		for _, p := range phases {
			if p.Flips != 0 {
				t.Errorf("%s: %d flips, but a pod that is deleted may stop being Ready", p.Phase, p.Flips)
			}
		}
	})
}

func TestPodsThatDoNotGetThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.stuck = "p-00007"
		phases, err := Run(t.Context(), plan(Fill, Delete), n, n.tracker, Probe{}, nil)
		if err == nil || !strings.Contains(err.Error(), "1 pods did not get there, among them p-00007: not done after 1m0s") {
			t.Errorf("error %v", err)
		}
		if len(phases) != 1 || phases[0].Ready.N != 19 {
			t.Errorf("what was measured is lost: %+v", phases)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.refuse = "p-00003"
		if _, err := Run(t.Context(), plan(Fill), n, n.tracker, Probe{}, nil); err == nil || !strings.Contains(err.Error(), "quota exceeded") {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Second)
	})
}

func TestFlips(t *testing.T) {
	tr := NewTracker()
	tr.created("a", 0)
	for _, ready := range []bool{false, true, true, false, false, true} {
		tr.Seen("a", "u", ready, time.Now())
	}
	tr.Seen("stranger", "u", true, time.Now())
	tr.deleted("a", 1)
	tr.Seen("a", "u", false, time.Now())
	tr.Gone("a", time.Now())
	tr.Gone("a", time.Now())
	if writes, flips := tr.counters(); flips != 1 || writes != 8 {
		t.Errorf("%d writes, %d flips", writes, flips)
	}
}

func TestParsePhases(t *testing.T) {
	if got, err := ParsePhases("fill, idle,delete"); err != nil || !slices.Equal(got, []Kind{Fill, Idle, Delete}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ParsePhases("fill,sleep"); err == nil {
		t.Error("an unknown phase was accepted")
	}
}
