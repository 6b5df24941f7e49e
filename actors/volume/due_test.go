package volume

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever is set and removed, the pod that is due first is at the top.
func TestDueHeap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h dueHeap
		entries := make([]*entry, 8)
		for i := range entries {
			entries[i] = &entry{index: -1}
		}
		t0 := time.Unix(1000, 0)
		for range rapid.IntRange(1, 60).Draw(t, "n") {
			e := rapid.SampledFrom(entries).Draw(t, "e")
			if d := rapid.IntRange(0, 20).Draw(t, "at"); d == 0 {
				h.set(e, time.Time{})
			} else {
				h.set(e, t0.Add(time.Duration(d)*time.Second))
			}
			in := 0
			for _, e := range entries {
				if e.index < 0 {
					continue
				}
				in++
				if h[e.index] != e || e.dueAt.Before(h[0].dueAt) {
					t.Fatalf("%v is due before the top %v", e.dueAt, h[0].dueAt)
				}
			}
			if in != len(h) {
				t.Fatalf("%d entries, heap of %d", in, len(h))
			}
		}
	})
}
