package root

import (
	"testing"
	"time"

	"github.com/troupe-dev/troupe/cri/sim"
)

// A runtime that restarts leaves its containers running; nobody may notice.
func TestRuntimeRestart(t *testing.T) {
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		uids := w.fill(20, "a", nil)
		for range 3 {
			since, starts, lists := time.Now(), w.starts(), w.calls("ListPodSandbox")
			if err := w.srv.Restart(); err != nil {
				w.t.Fatal(err)
			}
			w.until(2*time.Second, "the runtime was listed again", func() bool { return w.calls("ListPodSandbox") > lists })
			time.Sleep(15 * time.Second)
			if n := w.starts() - starts; n != 0 {
				t.Errorf("%d containers were started", n)
			}
			w.steady(uids, since)
		}
	})
}

// An outage of 20 s: nothing flips, and what waited goes on at once.
func TestRuntimeOutage(t *testing.T) {
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		uids := w.fill(20, "a", nil)
		since, starts := time.Now(), w.starts()
		w.srv.Stop()
		time.Sleep(5 * time.Second)
		fresh := w.addAll(5, "b", nil)
		time.Sleep(15 * time.Second)
		// One container ends while nobody can hear of it.
		if n := w.sim.ExitMatching(sim.Match{Pod: "a0"}, 0, ""); n != 1 {
			w.t.Fatalf("%d containers ended", n)
		}
		if err := w.srv.Start(); err != nil {
			w.t.Fatal(err)
		}
		took := w.until(10*time.Second, "new pods are Ready", func() bool { return w.allReady(fresh) })
		if took > 1500*time.Millisecond {
			t.Errorf("new pods were Ready %s after the return", took)
		}
		w.until(time.Second, "the container that ended was started again", func() bool { return w.fact(uids[0]).restarts["app"] == 1 })
		time.Sleep(time.Minute)
		w.steady(uids[1:], since)
		if n := w.starts() - starts; n != 6 {
			t.Errorf("%d containers were started instead of 6", n)
		}
	})
}
