package runner

import (
	"context"
	"sync"
	"testing"
)

// deep needs 16 KiB of stack; a goroutine begins with less.
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

// BenchmarkBurst is 500 short calls that wait for four slots: what a lane itself costs, with the growing of stacks.
func BenchmarkBurst(b *testing.B) {
	r := New(Config{Limits: map[Lane]Limits{API: {Min: 4, Max: 4}}})
	for b.Loop() {
		var wg sync.WaitGroup
		for range 500 {
			wg.Add(1)
			r.Do(b.Context(), Job{Lane: API, Op: "PATCH", Fn: func(context.Context) error {
				defer wg.Done()
				deep(28)
				return nil
			}})
		}
		wg.Wait()
	}
}
