package mirrorplan

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/actors/source/podchange"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func static(hash string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-n", UID: types.UID(hash), Annotations: map[string]string{podchange.ConfigHash: hash}}}
}

func mirrorOf(hash, uid string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-n", UID: types.UID(uid), Annotations: map[string]string{v1.MirrorPodAnnotationKey: hash}}}
}

func deleting(pod *v1.Pod) *v1.Pod {
	now := metav1.NewTime(start)
	pod.DeletionTimestamp = &now
	return pod
}

// The whole matrix of what is known decides alone, whatever led there.
func TestDecisions(t *testing.T) {
	statics := map[string]*v1.Pod{"none": nil, "a": static("a")}
	mirrors := map[string]*v1.Pod{"none": nil, "same": mirrorOf("a", "m"), "other": mirrorOf("b", "m"), "deleting": deleting(mirrorOf("a", "m"))}
	want := map[string]string{
		"none/none/false/false": "", "none/none/true/false": "",
		"none/same/false/false": "", "none/same/true/false": "remove",
		"none/other/false/false": "", "none/other/true/false": "remove",
		"none/deleting/false/false": "", "none/deleting/true/false": "remove",
		"a/none/false/false": "make", "a/none/true/false": "make", "a/none/false/true": "", "a/none/true/true": "",
		"a/same/false/false": "", "a/same/true/false": "", "a/same/false/true": "", "a/same/true/true": "",
		"a/other/false/false": "remove", "a/other/true/false": "remove", "a/other/false/true": "", "a/other/true/true": "",
		"a/deleting/false/false": "remove", "a/deleting/true/false": "remove", "a/deleting/false/true": "", "a/deleting/true/true": "",
	}
	for name, st := range statics {
		for kind, m := range mirrors {
			for _, known := range []bool{false, true} {
				for _, ending := range []bool{false, true} {
					if ending && st == nil {
						continue
					}
					key := fmt.Sprintf("%s/%s/%v/%v", name, kind, known, ending)
					_, acts := Next(State{Static: st, Mirror: m, Known: known, Ending: ending}, start, Tick{})
					got := ""
					for _, act := range acts {
						switch act.(type) {
						case Make:
							got += "make"
						case Remove:
							got += "remove"
						case Wait:
							got += "wait"
						}
					}
					w, ok := want[key]
					if !ok || got != w {
						t.Errorf("%s: %q, want %q", key, got, w)
					}
					busy, acts := Next(State{Static: st, Mirror: m, Known: known, Ending: ending, InFlight: Making}, start, Tick{})
					if len(acts) > 0 || busy.InFlight != Making {
						t.Errorf("%s: a second call beside the one in flight", key)
					}
				}
			}
		}
	}
}

func TestFailuresWaitLongerAndSuccessForgetsThem(t *testing.T) {
	s, now := State{}, start
	s, _ = Next(s, now, Runs{Pod: static("a")})
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000} {
		var acts []Action
		s, acts = Next(s, now, Done{Outcome: Failed})
		wait, ok := acts[0].(Wait)
		if !ok || wait.Until.Sub(now) != want*time.Millisecond {
			t.Fatalf("failure %d: %v, want a wait of %v", i+1, acts, want*time.Millisecond)
		}
		if s, acts = Next(s, now, Runs{Pod: static("a")}); s.InFlight != None || len(acts) != 1 {
			t.Fatalf("a repeated wish cut the back-off short: %v", acts)
		}
		now = wait.Until
		if s, _ = Next(s, now, Tick{}); s.InFlight != Making {
			t.Fatal("not tried again when due")
		}
	}
	s, _ = Next(s, now, Done{Pod: mirrorOf("a", "m")})
	if s.Failures != 0 || s.Mirror == nil {
		t.Errorf("after success: %+v", s)
	}
	s, acts := Next(s, now, Done{Outcome: Failed, After: time.Hour})
	if len(acts) != 0 || s.Mirror == nil {
		t.Errorf("a failure of nothing changed something: %v", acts)
	}
}

// A delete whose answer comes after the watch has told of it, and of the next mirror, must not bury the next one.
func TestLateWordsOfABuriedMirror(t *testing.T) {
	s := State{Static: static("a"), Mirror: deleting(mirrorOf("a", "m1"))}
	s, _ = Next(s, start, Tick{})
	s, _ = Next(s, start, Gone{UID: "m1"})
	s, acts := Next(s, start, Done{})
	if _, ok := acts[0].(Make); !ok {
		t.Fatalf("%v", acts)
	}
	s, _ = Next(s, start, Seen{Pod: mirrorOf("a", "m1")}) // an old list
	if s.Mirror != nil {
		t.Error("a buried mirror rose")
	}
	s, _ = Next(s, start, Done{Pod: mirrorOf("a", "m2")})
	if s.Mirror == nil || s.Mirror.UID != "m2" {
		t.Errorf("%+v", s.Mirror)
	}
	s, acts = Next(s, start, Gone{UID: "m1"})
	if s.Mirror == nil || len(acts) != 0 {
		t.Error("the end of an earlier mirror ended the newest")
	}
}

// server is what the API server holds under the name, with its watch and its answers on their way.
type server struct {
	pod     *v1.Pod
	uids    int
	watch   []Event
	pending *Done
}

func (w *server) drop() {
	w.watch = append(w.watch, Gone{UID: w.pod.UID})
	w.pod = nil
}

// Whatever the user and the manifest do, however calls fail and words overtake each other: in the end the mirror is right,
// only our own are deleted, and never two calls run at once.
func TestReachesItsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, s, now, version := &server{}, State{}, start, 0
		var truth *v1.Pod // the manifest
		var ending bool
		feed := func(ev Event) {
			var acts []Action
			before := s
			s, acts = Next(s, now, ev)
			for _, act := range acts {
				if _, wait := act.(Wait); wait {
					continue
				}
				if _, answer := ev.(Done); before.InFlight != None && !answer {
					t.Fatalf("%T begins while %v runs", act, before.InFlight)
				}
				d := &Done{}
				failed := rapid.IntRange(0, 3).Draw(t, "fails") == 0
				reached := !failed || rapid.Bool().Draw(t, "reached")
				switch a := act.(type) {
				case Make:
					switch {
					case !reached:
					case w.pod != nil:
						d.Outcome = Failed
					default:
						w.uids++
						w.pod = mirrorOf(a.Pod.Annotations[podchange.ConfigHash], fmt.Sprint("m", w.uids))
						d.Pod = w.pod
						w.watch = append(w.watch, Seen{Pod: w.pod})
					}
				case Remove:
					switch {
					case !reached:
					case w.pod == nil || w.pod.UID != a.Mirror.UID:
						d.Outcome = Missing
					default:
						w.drop()
					}
				}
				if failed {
					*d = Done{Outcome: Failed}
				}
				w.pending = d
			}
		}
		step := func(what int) {
			switch what {
			case 0:
				if truth == nil || ending {
					version++
					truth, ending = static(fmt.Sprint("h", rapid.IntRange(0, 2).Draw(t, "hash"))), false
				}
				feed(Runs{Pod: truth})
			case 1:
				if truth != nil {
					ending = true
					feed(Runs{Pod: truth, Ending: true})
				}
			case 2:
				if ending {
					uid := truth.UID
					truth, ending = nil, false
					feed(Ended{UID: uid})
				}
			case 3: // a user deletes the mirror by force
				if w.pod != nil {
					w.drop()
				}
			case 4: // or with grace
				if w.pod != nil && w.pod.DeletionTimestamp == nil {
					w.pod = deleting(w.pod.DeepCopy())
					w.watch = append(w.watch, Seen{Pod: w.pod})
				}
			case 5:
				if len(w.watch) > 0 {
					ev := w.watch[0]
					w.watch = w.watch[1:]
					feed(ev)
				}
			case 6:
				if w.pending != nil {
					d := *w.pending
					w.pending = nil
					feed(d)
				}
			case 7:
				now = now.Add(backoffMost)
				feed(Tick{})
			}
		}
		for _, what := range rapid.SliceOfN(rapid.IntRange(0, 7), 0, 40).Draw(t, "steps") {
			step(what)
		}
		feed(Known{})
		for range 60 { // now everything is heard and time passes
			for _, what := range []int{5, 6, 7, 5} {
				step(what)
			}
		}
		switch {
		case truth == nil && w.pod != nil:
			t.Fatalf("left over: %v", w.pod.Annotations)
		case truth != nil && !ending && (w.pod == nil || w.pod.DeletionTimestamp != nil || !Of(w.pod, truth)):
			t.Fatalf("no mirror of %s: %+v; state %+v", truth.UID, w.pod, s)
		}
	})
}
