package usernsplan

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/messages/model"
)

func TestNew(t *testing.T) {
	for name, c := range map[string]struct {
		cfg Config
		ok  bool
	}{
		"default":               {Config{IDs: Default(Unit), PerPod: Unit, MaxPods: 110}, true},
		"longer ranges":         {Config{IDs: Default(4 * Unit), PerPod: 4 * Unit, MaxPods: 110}, true},
		"as many as pods":       {Config{IDs: model.IDRange{First: Unit, Length: 110 * Unit}, PerPod: Unit, MaxPods: 110}, true},
		"one too few":           {Config{IDs: model.IDRange{First: Unit, Length: 109 * Unit}, PerPod: Unit, MaxPods: 110}, false},
		"not a multiple":        {Config{IDs: Default(Unit), PerPod: Unit + 1, MaxPods: 110}, false},
		"no length":             {Config{IDs: Default(Unit), MaxPods: 110}, false},
		"the node's own ids":    {Config{IDs: model.IDRange{First: 0, Length: 200 * Unit}, PerPod: Unit, MaxPods: 110}, false},
		"begins between ranges": {Config{IDs: model.IDRange{First: Unit + 1, Length: 200 * Unit}, PerPod: Unit, MaxPods: 110}, false},
		"ends between ranges":   {Config{IDs: model.IDRange{First: Unit, Length: 200*Unit + 1}, PerPod: Unit, MaxPods: 110}, false},
		"ends beyond all":       {Config{IDs: model.IDRange{First: math.MaxUint32 - 2*Unit + 1, Length: 200 * Unit}, PerPod: Unit, MaxPods: 110}, false},
	} {
		if _, err := New(c.cfg); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRanges(t *testing.T) {
	r, err := New(Config{IDs: model.IDRange{First: 2 * Unit, Length: 3 * Unit}, PerPod: Unit, MaxPods: 3})
	if err != nil {
		t.Fatal(err)
	}
	take := func(uid model.UID, want uint32) {
		t.Helper()
		got, err := r.Take(uid)
		if err != nil || got != (model.IDRange{First: want, Length: Unit}) {
			t.Errorf("pod %s got %v %v, want the range from %d", uid, got, err, want)
		}
	}
	take("a", 2*Unit)
	take("a", 2*Unit)
	take("b", 3*Unit)
	r.Release("a")
	r.Release("a")
	take("c", 4*Unit) // not the one that was just given back
	take("d", 2*Unit)
	if _, err := r.Take("e"); err == nil {
		t.Error("a fourth pod got one of three ranges")
	}
	for name, c := range map[string]struct {
		uid  model.UID
		have model.IDRange
		ok   bool
	}{
		"its own":         {"b", model.IDRange{First: 3 * Unit, Length: Unit}, true},
		"another pod's":   {"e", model.IDRange{First: 3 * Unit, Length: Unit}, false},
		"a second one":    {"b", model.IDRange{First: 4 * Unit, Length: Unit}, false},
		"below":           {"e", model.IDRange{First: Unit, Length: Unit}, false},
		"beyond":          {"e", model.IDRange{First: 5 * Unit, Length: Unit}, false},
		"another length":  {"b", model.IDRange{First: 3 * Unit, Length: 2 * Unit}, false},
		"between two":     {"b", model.IDRange{First: 3*Unit + 1, Length: Unit}, false},
		"the node's own":  {"e", model.IDRange{First: 0, Length: Unit}, false},
		"an empty record": {"e", model.IDRange{}, false},
	} {
		if err := r.Keep(c.uid, c.have); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := fmt.Sprint(r.Owners()); got != "[b c d]" {
		t.Errorf("owners are %s", got)
	}
}

func TestRangesNeverOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		per := uint32(rapid.IntRange(1, 3).Draw(t, "units")) * Unit
		many := rapid.IntRange(1, 6).Draw(t, "ranges")
		r, err := New(Config{IDs: model.IDRange{First: per * uint32(rapid.IntRange(1, 4).Draw(t, "first")), Length: per * uint32(many)}, PerPod: per, MaxPods: many})
		if err != nil {
			t.Fatal(err)
		}
		have := map[model.UID]model.IDRange{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			uid := model.UID(fmt.Sprint("p", rapid.IntRange(0, 8).Draw(t, "pod")))
			switch rapid.IntRange(0, 2).Draw(t, "op") {
			case 0:
				got, err := r.Take(uid)
				old, had := have[uid]
				switch {
				case err != nil && (had || len(have) < many):
					t.Fatalf("no range for %s: %v", uid, err)
				case err == nil && had && old != got:
					t.Fatalf("the range of %s moved from %v to %v", uid, old, got)
				case err == nil:
					have[uid] = got
				}
			case 1:
				from := model.IDRange{First: per * uint32(rapid.IntRange(0, 12).Draw(t, "kept")), Length: per}
				if r.Keep(uid, from) == nil {
					have[uid] = from
				}
			case 2:
				r.Release(uid)
				delete(have, uid)
			}
			for a, x := range have {
				if x.First < per || x.Length != per {
					t.Fatalf("%s has %v", a, x)
				}
				for b, y := range have {
					if a != b && x.First == y.First {
						t.Fatalf("%s and %s have the range from %d", a, b, x.First)
					}
				}
			}
		}
	})
}

func TestParseSubids(t *testing.T) {
	for text, want := range map[string]model.IDRange{
		"0: kubelet 65536 2147483648\n":                     {First: 65536, Length: 2147483648},
		"0: kubelet 65536 65536\n1: kubelet 131072 65536\n": {},
		"": {}, "0: kubelet 65536": {}, "0: kubelet x 65536": {}, "0: kubelet 65536 4294967296": {},
	} {
		got, err := ParseSubids(text)
		if got != want || (err == nil) != (want.Length > 0) {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
}
