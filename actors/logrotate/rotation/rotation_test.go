package rotation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNames(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8, time.Local)
	if got := Compressed(Rotated("/d/0.log", at)); got != "/d/0.log.20260304-050607.gz" {
		t.Error(got)
	}
}

func TestPlan(t *testing.T) {
	for name, c := range map[string]struct {
		files            string
		max              int
		remove, compress string
	}{
		"first rotation":       {"", 5, "", ""},
		"one before":           {"a.1", 5, "", "a.1"},
		"order does not count": {"a.2 a.1.gz", 5, "", "a.2"},
		"full":                 {"a.1.gz a.2.gz a.3.gz a.4", 5, "a.1.gz", "a.4"},
		"more than full":       {"a.1.gz a.2.gz a.3.gz a.4", 3, "a.1.gz a.2.gz a.3.gz", "a.4"},
		"two files in all":     {"a.1.gz a.2", 2, "a.1.gz a.2", ""},
		"left-overs":           {"a.1.tmp a.2 a.2.gz a.3", 5, "a.1.tmp a.2", "a.3"},
	} {
		got := Plan(strings.Fields(c.files), c.max)
		if r, z := strings.Join(got.Remove, " "), strings.Join(got.Compress, " "); r != c.remove || z != c.compress {
			t.Errorf("%s: remove %q compress %q, want %q and %q", name, r, z, c.remove, c.compress)
		}
	}
}

// Whatever lies there, the log, its next version and what is kept are never more than allowed, the newest are kept, and
// nothing is compressed that was removed.
func TestPlanKeepsTheNewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(2, 8).Draw(t, "most")
		var files []string
		for i := range rapid.IntRange(0, 12).Draw(t, "n") {
			f := fmt.Sprintf("0.log.202601%02d-000000", i+1)
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				files = append(files, f)
			case 1:
				files = append(files, Compressed(f))
			case 2:
				files = append(files, f, Compressed(f))
			case 3:
				files = append(files, Temporary(f))
			}
		}
		s := Plan(files, most)
		var left []string
		for _, f := range files {
			if !slices.Contains(s.Remove, f) {
				left = append(left, f)
			}
		}
		if len(left)+2 > most && len(left) > 0 {
			t.Fatalf("%d files stay beside the log and its next version, %d are allowed", len(left), most)
		}
		for _, f := range s.Compress {
			if slices.Contains(s.Remove, f) {
				t.Fatalf("%s is removed and compressed", f)
			}
		}
		for _, gone := range s.Remove {
			for _, kept := range left {
				if !strings.HasSuffix(gone, ".tmp") && !slices.Contains(files, gone+".gz") && gone > kept {
					t.Fatalf("%s goes and the older %s stays", gone, kept)
				}
			}
		}
	})
}
