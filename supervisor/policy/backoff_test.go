package policy

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func TestCurves(t *testing.T) {
	for _, tc := range []struct {
		name  string
		curve Curve
		want  []time.Duration
	}{
		{"crash loop", CrashLoop(0), []time.Duration{10, 20, 40, 80, 160, 300, 300}},
		{"crash loop, lower maximum", CrashLoop(60 * time.Second), []time.Duration{10, 20, 40, 60, 60}},
		{"crash loop, maximum below the initial delay", CrashLoop(2 * time.Second), []time.Duration{2, 2, 2}},
		{"image", ImagePull(), []time.Duration{10, 20, 40, 80, 160, 300}},
		{"actors", Actors().Curve, []time.Duration{10, 20, 40, 80, 160, 300}},
	} {
		var d time.Duration
		for i, w := range tc.want {
			if d = tc.curve.Grow(d); d != w*time.Second {
				t.Errorf("%s: delay %d is %v, want %v", tc.name, i, d, w*time.Second)
			}
		}
	}
}

// The first exit of all restarts at once, as in the kubelet; later ones wait, counted from the exit.
func TestCrashLoopTimes(t *testing.T) {
	c := CrashLoop(0)
	b, now := Backoff{}, t0
	for i, want := range []time.Duration{0, 10, 20, 40, 80, 160, 300, 300} {
		ended := now.Add(time.Second) // each run lasts a second
		due := b.Due(c, ended)
		if got := due.Sub(ended); got != want*time.Second {
			t.Errorf("restart %d after %v, want %v", i, got, want*time.Second)
		}
		b, now = b.Next(c, ended, due), due
	}
	// A run of 600 s is not yet long enough, one second more is.
	if due := b.Due(c, now.Add(600*time.Second)); !due.Equal(now.Add(900 * time.Second)) {
		t.Errorf("600 s: due %v", due)
	}
	ended := now.Add(601 * time.Second)
	if due := b.Due(c, ended); !due.Equal(ended) {
		t.Errorf("601 s: due %v", due)
	}
	if n := b.Next(c, ended, ended); n.Delay != 10*time.Second {
		t.Errorf("after a reset the next delay is %v", n.Delay)
	}
}

func TestFailed(t *testing.T) {
	b, now := Backoff{}, t0
	for _, want := range []time.Duration{10, 20, 40} {
		var at time.Time
		b, at = b.Failed(ImagePull(), now)
		if at.Sub(now) != want*time.Second {
			t.Errorf("%v, want %v", at.Sub(now), want*time.Second)
		}
		now = at
	}
}

func curves() *rapid.Generator[Curve] {
	return rapid.Custom(func(t *rapid.T) Curve {
		initial := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "initial"))
		return Curve{
			Initial:    initial,
			Max:        initial + time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "above")),
			ResetAfter: time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "reset")),
		}
	})
}

// Whatever happens: the delay is between Initial and Max, never shrinks without a reset, and a restart is never due before
// the end it follows.
func TestBackoffProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := curves().Draw(t, "curve")
		b, now := Backoff{}, t0
		for range rapid.IntRange(1, 60).Draw(t, "runs") {
			ended := now.Add(time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(t, "run")))
			due := b.Due(c, ended)
			if due.Before(ended) || due.Sub(ended) > c.Max {
				t.Fatalf("due %v after the end", due.Sub(ended))
			}
			n := b.Next(c, ended, due)
			reset := b.Delay > 0 && c.ResetAfter > 0 && ended.Sub(b.Last) > c.ResetAfter
			if n.Delay < min(c.Initial, c.Max) || n.Delay > c.Max {
				t.Fatalf("delay %v is off the curve", n.Delay)
			}
			if !reset && n.Delay < b.Delay {
				t.Fatalf("delay shrank from %v to %v", b.Delay, n.Delay)
			}
			if reset && n.Delay != min(c.Initial, c.Max) {
				t.Fatalf("after a reset: %v", n.Delay)
			}
			b, now = n, due
		}
	})
}
