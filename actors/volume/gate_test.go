package volume

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Two effects never work in one pod's directory, and a waiting one gives up with its context.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		unlock, _ := g.lock(t.Context(), "u")
		other, _ := g.lock(t.Context(), "v")
		other()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.lock(ctx, "u"); err == nil {
			t.Error("entered a busy directory")
		}
		var inside atomic.Int64
		for range 5 {
			go func() {
				u, err := g.lock(t.Context(), "u")
				if err != nil || inside.Add(1) != 1 {
					t.Error("not alone", err)
				}
				time.Sleep(time.Second)
				inside.Add(-1)
				u()
			}()
		}
		synctest.Wait()
		unlock()
		time.Sleep(time.Minute)
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.busy) != 0 {
			t.Error("left locked")
		}
	})
}
