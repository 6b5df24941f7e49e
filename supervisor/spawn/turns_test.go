package spawn

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// goroutine is the number of the calling goroutine.
func goroutine() string {
	buf := make([]byte, 64)
	return strings.Fields(string(buf[:runtime.Stack(buf, false)]))[1]
}

func TestTurnsShareGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts turns
		where := func() (on string) {
			ts.Schedule(func() { on = goroutine() })
			synctest.Wait()
			return on
		}
		first := where()
		if again := where(); again != first {
			t.Errorf("the second turn ran on %s, not on %s, which rests", again, first)
		}
		time.Sleep(restMost)
		synctest.Wait()
		if n := len(ts.resting); n != 0 {
			t.Errorf("%d goroutines rest for ever", n)
		}
		if later := where(); later == first {
			t.Error("a goroutine that was sent away took a turn")
		}
		ts.end()
		if where(); len(ts.resting) != 0 {
			t.Error("a goroutine rests after the end")
		}
	})
}

// Turns that do not return hold up no other, and what they leave is bounded.
func TestTurnsAreNotBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts turns
		hold := make(chan struct{})
		var begun, ended atomic.Int32
		const many = 5 * restingMost
		for range many {
			ts.Schedule(func() {
				begun.Add(1)
				<-hold
				ended.Add(1)
			})
		}
		synctest.Wait()
		if n := begun.Load(); n != many {
			t.Errorf("%d of %d turns began", n, many)
		}
		close(hold)
		synctest.Wait()
		if n := len(ts.resting); ended.Load() != many || n != restingMost {
			t.Errorf("%d turns ended, %d goroutines rest, want %d", ended.Load(), n, restingMost)
		}
		ts.end()
	})
}

// A turn that ends its goroutine takes none of the resting ones with it.
func TestTurnThatExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts turns
		ran := 0
		for range 3 {
			ts.Schedule(func() { ran++; runtime.Goexit() })
			synctest.Wait()
		}
		if ran != 3 || len(ts.resting) != 0 {
			t.Errorf("%d turns ran, %d goroutines rest", ran, len(ts.resting))
		}
	})
}

func TestTurnsInParallel(t *testing.T) {
	var ts turns
	var wg sync.WaitGroup
	var ran atomic.Int32
	for range 8 {
		wg.Go(func() {
			for range 500 {
				wg.Add(1)
				ts.Schedule(func() { ran.Add(1); wg.Done() })
				if ran.Load()%100 == 0 {
					ts.leave()
				}
			}
		})
	}
	wg.Wait()
	ts.end()
	if n := ran.Load(); n != 4000 {
		t.Errorf("%d of 4000 turns ran", n)
	}
}

// deep needs 16 KiB of stack, as a plan and what it calls may; a goroutine begins with less.
//
//go:noinline
func deep(n int) int {
	var frame [512]byte
	frame[n%512] = byte(n)
	if n == 0 {
		return int(frame[0])
	}
	return deep(n-1) + int(frame[n%512])
}

// BenchmarkTurns is a message to each of 500 actors, eight at a time: what a turn itself costs, with the growing of stacks.
func BenchmarkTurns(b *testing.B) {
	s := NewSystem(Config{})
	defer func() { _ = s.Stop(b.Context()) }()
	took := make(chan struct{}, 8)
	actors := make([]Ref, 500)
	for i := range actors {
		actors[i] = s.Root(string(rune('a'+i%26))+string(rune('a'+i/26)), "probe", as(probe{receive: func(*Cell, any) {
			deep(28)
			took <- struct{}{}
		}}))
	}
	for b.Loop() {
		for i := range actors {
			actors[i].Tell(i)
			if i >= 8 {
				<-took
			}
		}
		for range 8 {
			<-took
		}
	}
}
