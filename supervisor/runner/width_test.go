package runner

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// round feeds one full round of calls that took so long, and returns the width after it.
func round(w *width, op *opStats, took time.Duration) int {
	epoch := w.epoch
	for range max(2, w.size/2) {
		w.sample(op, took, epoch, true)
	}
	return w.size
}

func TestWidthFollowsLatency(t *testing.T) {
	const ms = time.Millisecond
	w, op := &width{size: 4, min: 4, max: 64}, &opStats{}
	for i, tc := range []struct {
		took time.Duration
		want int
	}{
		{100 * ms, 8},  // the first round sets what is best
		{150 * ms, 16}, // 1.5 × still gains
		{151 * ms, 16}, // neither gain nor loss
		{200 * ms, 16},
		{201 * ms, 8},  // a loss
		{100 * ms, 8},  // 16 was too wide: not again at once
		{100 * ms, 8},  //
		{900 * ms, 4},  //
		{100 * ms, 4},  // now 8 was too wide
		{300 * ms, 4},  // the floor is never left, and what it shows is the new best
		{300 * ms, 4},  //
		{1000 * ms, 4}, //
	} {
		if got := round(w, op, tc.took); got != tc.want {
			t.Errorf("round %d (%v): width %d, want %d", i, tc.took, got, tc.want)
		}
	}
	// In the end the wider size is tried again.
	for range maxPenalty + 8 {
		round(w, op, 1000*ms)
	}
	if w.size != 64 {
		t.Errorf("width %d, want 64: the ceiling was never forgotten", w.size)
	}
}

// The wider size is tried ever more rarely while it keeps failing.
func TestWidthDoesNotSwing(t *testing.T) {
	w, op := &width{size: 4, min: 4, max: 64}, &opStats{}
	halved, size := 0, 4
	for range 1000 {
		took := 100 * time.Millisecond
		if w.size > 8 {
			took = 300 * time.Millisecond
		}
		round(w, op, took)
		if w.size < size {
			halved++
		}
		size = w.size
	}
	if halved < 2 || halved > 25 {
		t.Errorf("halved %d times in 1000 rounds", halved)
	}
}

func TestWidthIgnoresWhatSaysNothing(t *testing.T) {
	w, op := &width{size: 4, min: 4, max: 64}, &opStats{}
	for range 100 {
		w.sample(op, time.Millisecond, w.epoch, false) // nobody waits
		w.sample(op, time.Millisecond, w.epoch-1, true)
	}
	if w.size != 4 || w.n != 0 {
		t.Errorf("width %d", w.size)
	}
	fixed := &width{size: 16, min: 16, max: 16}
	if round(fixed, op, time.Millisecond) != 16 || fixed.n != 0 {
		t.Error("a fixed width moved")
	}
	// One hung call among good ones is no reason to give up half.
	w, op = &width{size: 16, min: 4, max: 64}, &opStats{best: 100 * time.Millisecond}
	w.sample(op, time.Hour, 0, true)
	for range 7 {
		w.sample(op, 100*time.Millisecond, 0, true)
	}
	if w.size != 32 {
		t.Errorf("width %d after one slow call", w.size)
	}
}

func TestWidthStaysWithinLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lo := rapid.IntRange(1, 50).Draw(t, "min")
		hi := lo + rapid.IntRange(0, 300).Draw(t, "above")
		w := &width{size: lo, min: lo, max: hi}
		ops := []*opStats{{}, {}, {}}
		for range rapid.IntRange(0, 300).Draw(t, "samples") {
			before := w.size
			w.sample(ops[rapid.IntRange(0, 2).Draw(t, "op")], time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "took")),
				w.epoch-rapid.IntRange(0, 1).Draw(t, "old"), rapid.Bool().Draw(t, "waiting"))
			if w.size < lo || w.size > hi {
				t.Fatalf("width %d outside %d..%d", w.size, lo, hi)
			}
			if w.size > 2*before || w.size < before/2 {
				t.Fatalf("width jumped from %d to %d", before, w.size)
			}
		}
	})
}
