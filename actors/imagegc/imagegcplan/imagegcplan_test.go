package imagegcplan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/messages/model"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }

func images(ids string) []model.ImageInfo {
	var out []model.ImageInfo
	for _, id := range strings.Fields(ids) {
		name, pinned := strings.CutSuffix(id, "!")
		out = append(out, model.ImageInfo{ID: name, Pinned: pinned, Size: 10})
	}
	return out
}

func set(ids string) map[string]struct{} {
	out := map[string]struct{}{}
	for _, id := range strings.Fields(ids) {
		out[id] = struct{}{}
	}
	return out
}

func names(list []Candidate) string {
	var out []string
	for _, c := range list {
		out = append(out, c.ID)
	}
	return strings.Join(out, " ")
}

func TestOrderAndAges(t *testing.T) {
	var s State
	s = Observe(s, at(0), images("used-first used-later never"), set("used-first used-later"))
	s = Observe(s, at(5), images("used-first used-later never young pinned! now"), set("used-later"))
	all := images("used-first used-later never young pinned! now")
	s = Observe(s, at(10), all, set("now"))
	list := Unused(s, all, set("now"))
	if got := names(list); got != "never young used-first used-later" {
		t.Fatalf("order %q", got)
	}
	if got := names(Ripe(list, Policy{MinAge: 6 * time.Minute}, at(10))); got != "never used-first used-later" {
		t.Errorf("ripe %q", got)
	}
	age := Policy{MaxAge: 7 * time.Minute}
	if got := names(Old(list, age, at(13), at(0))); got != "never young used-first used-later" {
		t.Errorf("old %q", got)
	}
	if got := names(Old(list, age, at(12), at(0))); got != "never used-first" {
		t.Errorf("old %q", got)
	}
	if got := names(Old(list, age, at(12), at(5))); got != "" {
		t.Errorf("an agent that has not run for so long cannot know: %q", got)
	}
	if got := names(Old(list, Policy{}, at(1000), at(0))); got != "" {
		t.Errorf("no limit of age: %q", got)
	}
	s = Observe(s, at(15), images("now"), nil)
	if len(s) != 1 {
		t.Errorf("gone images are remembered: %v", s)
	}
	s = Observe(s, at(20), images("now never"), nil)
	if s["never"].Detected != at(20) {
		t.Error("one that came back counts as known")
	}
	if len(Without(s, set("now"))) != 1 || len(s) != 2 {
		t.Error("Without")
	}
}

func TestNeed(t *testing.T) {
	p := Policy{High: 85, Low: 80}
	for _, c := range []struct {
		p               Policy
		available, need model.Bytes
	}{{p, 500, 0}, {p, 160, 0}, {p, 150, 50}, {p, 0, 200}, {p, 5000, 0}, {Policy{High: 100, Low: 80}, 0, 0}, {Policy{High: 85, Low: 85}, 150, 0}, {Policy{}, 1000, 0}} {
		if got := Need(Disk{1000, c.available}, c.p); got != c.need {
			t.Errorf("%+v, %d of 1000 available: %d, want %d", c.p, c.available, got, c.need)
		}
	}
	if (Policy{High: 100}).Off() != true || (Policy{High: 100, MaxAge: 1}).Off() || (Policy{High: 99}).Off() {
		t.Error("Off")
	}
}

// Nothing in use, pinned or too young goes, whatever was seen before; who was used longer ago goes no later.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s State
		var list []model.ImageInfo
		var used map[string]struct{}
		began, now := start, start
		detected, seen := map[string]time.Time{}, map[string]time.Time{}
		for range rapid.IntRange(1, 6).Draw(t, "looks") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "minutes")) * time.Minute)
			list, used = nil, map[string]struct{}{}
			here := map[string]bool{}
			for i := range 5 {
				id := fmt.Sprint(i)
				if rapid.Bool().Draw(t, "there") {
					here[id] = true
					list = append(list, model.ImageInfo{ID: id, Pinned: i == 0})
					if detected[id].IsZero() {
						detected[id] = now
					}
					if rapid.Bool().Draw(t, "used") {
						used[id], seen[id] = struct{}{}, now
					}
				}
			}
			for id := range detected {
				if !here[id] {
					delete(detected, id)
					delete(seen, id)
				}
			}
			s = Observe(s, now, list, used)
		}
		p := Policy{MinAge: time.Duration(rapid.IntRange(0, 30).Draw(t, "min")) * time.Minute, MaxAge: time.Duration(rapid.IntRange(0, 30).Draw(t, "max")) * time.Minute}
		unused := Unused(s, list, used)
		for i, c := range unused {
			if _, in := used[c.ID]; in || c.Pinned {
				t.Fatalf("%s is in use or pinned", c.ID)
			}
			if i > 0 && seen[c.ID].Before(seen[unused[i-1].ID]) {
				t.Fatalf("%s was used longer ago than %s", c.ID, unused[i-1].ID)
			}
		}
		for _, c := range Ripe(unused, p, now) {
			if now.Sub(detected[c.ID]) < p.MinAge {
				t.Fatalf("%s is too young", c.ID)
			}
		}
		for _, c := range Old(unused, p, now, began) {
			if p.MaxAge == 0 || now.Sub(seen[c.ID]) <= p.MaxAge || now.Sub(detected[c.ID]) <= p.MaxAge {
				t.Fatalf("%s is not old", c.ID)
			}
		}
	})
}
