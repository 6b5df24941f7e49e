package cgroupplan

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/messages/model"
)

var t0 = time.Unix(1000, 0)

// feed folds events at one moment and returns the actions as text, timers left out.
func feed(s *State, at time.Duration, events ...Event) []string {
	var out []string
	for _, e := range events {
		var acts []Action
		*s, acts = Next(*s, e, t0.Add(at))
		for _, a := range acts {
			switch a := a.(type) {
			case SetTimer:
			case ApplyPod:
				out = append(out, "ApplyPod "+string(a.UID))
			case ApplyTier:
				out = append(out, fmt.Sprintf("ApplyTier %d", a.Sum))
			default:
				out = append(out, fmt.Sprintf("%T %v", a, a)[len("cgroupplan."):])
			}
		}
	}
	return out
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

func want(uid string, request int) Want {
	return Want{UID: model.UID(uid), Class: v1.PodQOSBurstable, Request: model.MilliCPU(request)}
}

func TestLifeOfAPod(t *testing.T) {
	s := New(true)
	expect(t, "the base comes first", feed(&s, 0, want("a", 100)), "ApplyBase {}")
	expect(t, "then limits, the tier and the pod", feed(&s, 0, BaseDone{}), "ApplyTier 100", "ApplyLimits {}", "ApplyPod a")
	expect(t, "answer", feed(&s, 0, PodDone{UID: "a"}, TierDone{Sum: 100}, EnforceDone{}), "Ready {a}")
	expect(t, "a repeated want looks again", feed(&s, 1, want("a", 100)), "ApplyPod a")
	expect(t, "and answers once", feed(&s, 1, PodDone{UID: "a"}, PodDone{UID: "a"}), "Ready {a}")
	expect(t, "drop", feed(&s, 2, Drop{"a"}, Drop{"a"}), "RemovePod {a}")
	expect(t, "gone", feed(&s, 2, PodDone{UID: "a"}), "Gone {a}")
	expect(t, "a drop of what nobody knows still removes", feed(&s, 3, Drop{"b"}), "RemovePod {b}")
}

func TestOneOperationAtATime(t *testing.T) {
	s := New(true)
	feed(&s, 0, want("a", 0), BaseDone{})
	expect(t, "a drop waits for the write", feed(&s, 0, Drop{"a"}))
	expect(t, "its result answers nobody", feed(&s, 0, PodDone{UID: "a"}), "RemovePod {a}")
	expect(t, "the pod comes back", feed(&s, 0, want("a", 0)))
	expect(t, "gone answers nobody either", feed(&s, 0, PodDone{UID: "a"}), "ApplyPod a")
	expect(t, "ready", feed(&s, 0, PodDone{UID: "a"}), "Ready {a}")
	feed(&s, 0, want("a", 1))
	expect(t, "other limits while the first are written", feed(&s, 0, want("a", 2)))
	expect(t, "are written before the answer", feed(&s, 0, PodDone{UID: "a"}), "ApplyPod a")
	expect(t, "also when the first write failed", feed(&s, 0, want("a", 3), PodDone{UID: "a", Err: "x"}), "ApplyPod a")
	expect(t, "answer", feed(&s, 0, PodDone{UID: "a"}), "Ready {a}")
}

func TestFailuresAreTriedAgain(t *testing.T) {
	s := New(true)
	feed(&s, 0, want("a", 0))
	expect(t, "the base fails", feed(&s, 0, BaseDone{Err: "no"}), "Failed {a no}")
	expect(t, "not yet", feed(&s, firstRetry-1, Tick{}))
	expect(t, "again", feed(&s, firstRetry, Tick{}), "ApplyBase {}")
	feed(&s, firstRetry, BaseDone{}, EnforceDone{Err: "busy"})
	at := firstRetry
	for i, d := range []time.Duration{firstRetry, 2 * firstRetry, 4 * firstRetry} {
		expect(t, "fails", feed(&s, at, PodDone{UID: "a", Err: "x"}), "Failed {a x}")
		expect(t, "not yet", feed(&s, at+d-1, Tick{}))
		at += d
		expect(t, fmt.Sprint("try ", i), feed(&s, at, Tick{}), "ApplyPod a")
	}
	expect(t, "limits once a minute", feed(&s, firstRetry+enforceRetry, Tick{}), "ApplyLimits {}")
}

func TestTierIsCoalesced(t *testing.T) {
	s := New(true)
	feed(&s, 0, Sweep{}, want("a", 100), BaseDone{})
	n := 0
	for i := range 500 {
		for _, a := range feed(&s, time.Duration(i)*time.Millisecond, want(fmt.Sprint(i), 10)) {
			if a[:9] == "ApplyTier" {
				n++
			}
		}
	}
	if n != 0 {
		t.Fatalf("%d writes of the tier while one is in flight", n)
	}
	expect(t, "one write follows", feed(&s, tierInterval, TierDone{Sum: 100}), "ApplyTier 5100")
	expect(t, "settled", feed(&s, tierInterval, TierDone{Sum: 5100}))
	expect(t, "nothing to do", feed(&s, 5*tierInterval, Tick{}))
}

func TestAnUnknownSumIsNotWritten(t *testing.T) {
	s := New(true)
	expect(t, "start", feed(&s, 0, Tick{}), "ApplyBase {}")
	expect(t, "pods may be adopted yet", feed(&s, 0, BaseDone{}), "ApplyLimits {}")
	expect(t, "all are known", feed(&s, 0, Sweep{Owned: map[model.UID]struct{}{}}), "ApplyTier 0", "List {}")
}

func TestSweepRemovesWhatNobodyOwns(t *testing.T) {
	s := New(true)
	feed(&s, 0, Tick{}, BaseDone{}, want("wanted", 0), PodDone{UID: "wanted"})
	expect(t, "sweep", feed(&s, 0, Sweep{Owned: map[model.UID]struct{}{"owned": {}}}), "ApplyTier 0", "List {}")
	feed(&s, 0, want("late", 0))
	expect(t, "a listing that fails", feed(&s, 0, Listed{Err: "x"}))
	expect(t, "is made again", feed(&s, sweepListRetry, Tick{}, TierDone{}), "List {}")
	expect(t, "orphans go", feed(&s, sweepListRetry, Listed{Found: []model.UID{"owned", "wanted", "late", "orphan"}}), "RemovePod {orphan}")
}

func TestWithoutPodCgroups(t *testing.T) {
	s := New(false)
	expect(t, "answered at once", feed(&s, 0, want("a", 1), Drop{"a"}), "Ready {a}", "Gone {a}")
}

// Whatever comes in whatever order: one operation per pod, none before the base, and once calls succeed each pod ends
// as it was last asked, answered after that.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(true)
		at := time.Duration(0)
		busy := map[model.UID]string{}
		base, tier, limits, list := false, false, false, false
		baseDone := false
		asked, answer := map[model.UID]string{}, map[model.UID]string{}
		tick := time.Time{}
		step := func(e Event) {
			var acts []Action
			s, acts = Next(s, e, t0.Add(at))
			for _, a := range acts {
				switch a := a.(type) {
				case ApplyBase:
					if base {
						t.Fatal("two base operations")
					}
					base = true
				case ApplyTier:
					if tier || !baseDone {
						t.Fatal("tier out of turn")
					}
					tier = true
				case ApplyLimits:
					if limits {
						t.Fatal("two limit operations")
					}
					limits = true
				case List:
					if list {
						t.Fatal("two lists")
					}
					list = true
				case ApplyPod:
					if busy[a.UID] != "" || !baseDone {
						t.Fatalf("apply %s while %q, base %v", a.UID, busy[a.UID], baseDone)
					}
					busy[a.UID] = "apply"
				case RemovePod:
					if busy[a.UID] != "" {
						t.Fatalf("remove %s while %s", a.UID, busy[a.UID])
					}
					busy[a.UID] = "remove"
				case Ready:
					answer[a.UID] = "want"
				case Gone:
					answer[a.UID] = "drop"
				case Failed:
				case SetTimer:
					tick = a.At
				}
			}
		}
		fail := func(ok bool) string {
			if ok {
				return ""
			}
			return "failed"
		}
		uids := []model.UID{"a", "b", "c"}
		step(Tick{})
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			at += time.Duration(rapid.IntRange(0, 500).Draw(t, "ms")) * time.Millisecond
			uid := rapid.SampledFrom(uids).Draw(t, "uid")
			ok := rapid.Bool().Draw(t, "ok")
			switch rapid.IntRange(0, 7).Draw(t, "event") {
			case 0:
				asked[uid] = "want"
				delete(answer, uid)
				step(Want{UID: uid, Class: v1.PodQOSBurstable, Request: model.MilliCPU(rapid.IntRange(0, 9).Draw(t, "cpu"))})
			case 1:
				asked[uid] = "drop"
				delete(answer, uid)
				step(Drop{uid})
			case 2, 3:
				if busy[uid] != "" {
					delete(busy, uid)
					step(PodDone{uid, fail(ok)})
				}
			case 4:
				if base {
					base, baseDone = false, ok
					step(BaseDone{fail(ok)})
				}
			case 5:
				if tier {
					tier = false
					step(TierDone{s.Sum, fail(ok)})
				}
			case 6:
				step(Sweep{Owned: map[model.UID]struct{}{}})
			case 7:
				if list {
					list = false
					step(Listed{Found: uids, Err: fail(ok)})
				}
			}
		}
		// From here on everything succeeds.
		for i := 0; ; i++ {
			if i > 200 {
				t.Fatalf("does not come to rest: %+v", s)
			}
			moved := true
			switch {
			case base:
				base, baseDone = false, true
				step(BaseDone{})
			case tier:
				tier = false
				step(TierDone{Sum: s.Sum})
			case limits:
				limits = false
				step(EnforceDone{})
			case list:
				list = false
				step(Listed{})
			case len(busy) > 0:
				for _, uid := range uids {
					if busy[uid] != "" {
						delete(busy, uid)
						step(PodDone{UID: uid})
						break
					}
				}
			case !tick.IsZero():
				at = max(at, tick.Sub(t0))
				tick = time.Time{}
				step(Tick{})
			default:
				moved = false
			}
			if !moved {
				break
			}
		}
		for uid, a := range asked {
			if answer[uid] != a {
				t.Fatalf("%s was last asked to %s and last answered %q", uid, a, answer[uid])
			}
		}
		if s.tierDiffers() || len(s.Pending) != 0 {
			t.Fatalf("at rest with work left: %+v", s)
		}
	})
}
