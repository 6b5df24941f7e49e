package volumeplan

import (
	"reflect"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/messages/model"
)

func podWith(volumes ...string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}}
	p.Spec.Containers = []v1.Container{{Name: "c"}}
	for _, n := range volumes {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: n})
		p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, v1.VolumeMount{Name: n, MountPath: "/" + n})
	}
	return p
}

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// script feeds events one after the other and checks the actions by type and the next due moment.
type step struct {
	at   time.Duration
	ev   Event
	want []string
	due  time.Duration // -1: none
}

func names(acts []Action) []string {
	out := []string{}
	for _, a := range acts {
		out = append(out, reflect.TypeOf(a).Name())
	}
	return out
}

func run(t *testing.T, steps []step) State {
	t.Helper()
	var s State
	for i, st := range steps {
		var acts []Action
		now := t0.Add(st.at)
		s, acts = Next(s, st.ev, now)
		if got := names(acts); !reflect.DeepEqual(got, append([]string{}, st.want...)) {
			t.Fatalf("step %d %T: actions %v, want %v", i, st.ev, got, st.want)
		}
		due := time.Duration(-1)
		if d := s.Due(); !d.IsZero() {
			due = d.Sub(t0)
		}
		if due != st.due {
			t.Fatalf("step %d %T: due %v, want %v", i, st.ev, due, st.due)
		}
	}
	return s
}

func ok(gen model.Generation) SetUpDone {
	return SetUpDone{Gen: gen, Mounts: Mounts{"v": {HostPath: "/x"}}}
}

func bad(gen model.Generation, msg string) SetUpDone {
	return SetUpDone{Gen: gen, Failures: []Failure{{"v", msg}}}
}

func TestLife(t *testing.T) {
	p := podWith("v")
	run(t, []step{
		{0, Want{p}, []string{"SetUp"}, -1},
		{1, ok(1), []string{"TellReady"}, -1},
		{2, Want{p}, []string{"TellReady"}, -1},
		{3, Drop{}, []string{"TearDown"}, -1},
		{4, Drop{}, nil, -1},
		{5, TornDown{Gen: 2}, []string{"TellGone"}, -1},
		{6, Drop{}, []string{"TearDown"}, -1},
		{7, TornDown{Gen: 3}, []string{"TellGone"}, -1},
	})
}

func TestNoVolumes(t *testing.T) {
	run(t, []step{{0, Want{podWith()}, []string{"TellReady"}, -1}, {0, Want{podWith()}, []string{"TellReady"}, -1}})
}

func TestMissingObjectAppears(t *testing.T) {
	ms := time.Millisecond
	run(t, []step{
		{0, Want{podWith("v")}, []string{"SetUp"}, -1},
		{0, bad(1, "m"), []string{"Report", "TellBlocked"}, 500 * ms},
		{400 * ms, Tick{}, nil, 500 * ms},
		{500 * ms, Tick{}, []string{"SetUp"}, -1},
		{500 * ms, bad(2, "m"), []string{"Report"}, 1500 * ms},
		{600 * ms, Want{podWith("v")}, []string{"TellBlocked"}, 1500 * ms},
		{700 * ms, Changed{}, []string{"SetUp"}, -1},
		{800 * ms, Changed{}, nil, -1}, // while the attempt runs: it may have read too early
		{900 * ms, bad(3, "m"), []string{"Report", "SetUp"}, -1},
		{900 * ms, ok(4), []string{"TellReady"}, -1},
		{950 * ms, Changed{}, []string{"SetUp"}, -1},
		{950 * ms, ok(5), nil, -1}, // nothing new for the pod
	})
}

func TestReadyStaysReadyWhenAnUpdateFails(t *testing.T) {
	s := run(t, []step{
		{0, Want{podWith("v")}, []string{"SetUp"}, -1},
		{0, ok(1), []string{"TellReady"}, -1},
		{0, Changed{}, []string{"SetUp"}, -1},
		{0, bad(2, "m"), []string{"Report"}, 500 * time.Millisecond},
		{1, Want{podWith("v")}, []string{"TellReady"}, 500 * time.Millisecond},
	})
	if !s.Ready || s.Blocker != "m" {
		t.Errorf("%+v", s)
	}
}

func TestRefresh(t *testing.T) {
	done := ok(1)
	done.Refresh = t0.Add(time.Hour)
	run(t, []step{
		{0, Want{podWith("v")}, []string{"SetUp"}, -1},
		{0, done, []string{"TellReady"}, time.Hour},
		{time.Minute, Tick{}, nil, time.Hour},
		{time.Hour, Tick{}, []string{"SetUp"}, -1},
	})
}

func TestDropDuringSetUpThenWantAgain(t *testing.T) {
	run(t, []step{
		{0, Want{podWith("v")}, []string{"SetUp"}, -1},
		{1, Drop{}, []string{"Cancel"}, -1},
		{2, Want{podWith("v")}, nil, -1},
		{3, bad(1, "context canceled"), []string{"TearDown"}, -1}, // no event for what we cancelled
		{4, TornDown{Gen: 2}, []string{"SetUp"}, -1},
		{5, ok(3), []string{"TellReady"}, -1},
	})
}

func TestTearDownIsRetried(t *testing.T) {
	s := time.Second
	run(t, []step{
		{0, Drop{}, []string{"TearDown"}, -1},
		{0, TornDown{Gen: 1, Err: "busy"}, []string{"TellBlocked"}, s / 2},
		{s / 2, Tick{}, []string{"TearDown"}, -1},
		{s / 2, TornDown{Gen: 2, Err: "busy"}, nil, s * 3 / 2},
		{s / 2, Want{podWith()}, []string{"TellBlocked"}, s * 3 / 2},
		{s * 3 / 2, Tick{}, []string{"TearDown"}, -1},
		{s * 3 / 2, TornDown{Gen: 3}, []string{"TellReady"}, -1},
	})
}

func TestStaleResultsAreIgnored(t *testing.T) {
	run(t, []step{
		{0, Want{podWith("v")}, []string{"SetUp"}, -1},
		{0, ok(9), nil, -1},
		{0, TornDown{Gen: 1}, nil, -1},
		{0, ok(1), []string{"TellReady"}, -1},
		{0, ok(1), nil, -1},
	})
}

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 500 * time.Millisecond, 1: time.Second, 7: 64 * time.Second, 8: BackoffMax, 1000: BackoffMax} {
		if got := Backoff(n); got != want {
			t.Errorf("Backoff(%d) = %v", n, got)
		}
	}
}

// A world that answers effects in any order of events: at most one effect runs, a wanted pod becomes ready, a dropped one
// gone, and nobody waits without a timer.
func TestProperty(t *testing.T) {
	pods := []*v1.Pod{podWith("v"), podWith("v", "w"), podWith()}
	rapid.Check(t, func(t *rapid.T) {
		var s State
		now := t0
		var flight Action
		dirtyDisk, wanted, heard := false, (*v1.Pod)(nil), false
		var told Action
		step := func(e Event) {
			var acts []Action
			s, acts = Next(s, e, now)
			for _, a := range acts {
				switch a.(type) {
				case SetUp, TearDown:
					if flight != nil {
						t.Fatalf("%T while %T runs", a, flight)
					}
					if su, ok := a.(SetUp); ok && su.Pod != wanted {
						t.Fatal("set up an old pod")
					}
					flight = a
				case TellReady:
					if wanted == nil {
						t.Fatal("ready, but dropped")
					}
					told = a
				case TellGone:
					if wanted != nil || dirtyDisk {
						t.Fatal("gone, but wanted or still on disk")
					}
					told = a
				case Cancel:
					if _, ok := flight.(SetUp); !ok {
						t.Fatal("cancel of nothing")
					}
				}
			}
		}
		finish := func(fail bool) {
			f := flight
			flight = nil
			switch f := f.(type) {
			case SetUp:
				dirtyDisk = true
				e := ok(f.Gen)
				if fail {
					e = bad(f.Gen, "m")
				}
				step(e)
			case TearDown:
				e := TornDown{Gen: f.Gen}
				if fail {
					e.Err = "busy"
				} else {
					dirtyDisk = false
				}
				step(e)
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "n") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				wanted, heard, told = rapid.SampledFrom(pods).Draw(t, "pod"), true, nil
				step(Want{wanted})
			case 1:
				wanted, heard, told = nil, true, nil
				step(Drop{})
			case 2:
				step(Changed{})
			case 3:
				now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "s")) * time.Second)
				step(Tick{})
			case 4:
				finish(false)
			case 5:
				finish(true)
			}
		}
		for range 20 { // now nothing fails any more
			finish(false)
			if d := s.Due(); !d.IsZero() && d.After(now) {
				now = d
			}
			step(Tick{})
		}
		if !heard {
			return
		}
		if wanted != nil && !s.Ready {
			t.Fatalf("wanted and not ready: %+v", s)
		}
		if wanted == nil && !s.Gone {
			t.Fatalf("dropped and not gone: %+v", s)
		}
		if _, ready := told.(TellReady); wanted != nil && told != nil && !ready {
			t.Fatalf("told %T", told)
		}
		if told == nil && wanted != nil {
			t.Fatal("ready, but nobody was told")
		}
	})
}
