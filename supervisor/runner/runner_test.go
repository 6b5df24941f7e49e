package runner

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func laneOf(r *Runner, name Lane) LaneSnapshot {
	for _, l := range r.Snapshot().Lanes {
		if l.Lane == name {
			return l
		}
	}
	return LaneSnapshot{}
}

func sleepy(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A runtime of constant latency: the lane must be wide at once.
func TestRampConstantLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{CPUs: 2})
		start := time.Now()
		var done atomic.Int64
		for i := range 500 {
			r.Do(t.Context(), Job{Lane: Starts, Op: "RunPodSandbox", Owner: fmt.Sprint(i), Timeout: time.Minute, Fn: func(ctx context.Context) error {
				defer done.Add(1)
				return sleepy(80 * time.Millisecond)(ctx)
			}})
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if w := laneOf(r, Starts).Width; w < 128 {
			t.Errorf("width %d after 500 ms, want >= 128", w)
		}
		for done.Load() < 500 {
			time.Sleep(10 * time.Millisecond)
		}
		if d := time.Since(start); d > 700*time.Millisecond {
			t.Errorf("500 calls took %v", d)
		}
	})
}

// A chain of three ops of different latency, as pods start: the short ones must not count as a gain, nor the long as a loss.
func TestRampMixedOps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{CPUs: 2})
		start := time.Now()
		var done atomic.Int64
		step := func(op string, d time.Duration, next func()) func() {
			return func() {
				r.Do(t.Context(), Job{Lane: Starts, Op: op, Timeout: time.Minute, Fn: func(ctx context.Context) error {
					defer next()
					return sleepy(d)(ctx)
				}})
			}
		}
		for range 500 {
			step("sandbox", 80*time.Millisecond, step("create", 15*time.Millisecond, step("start", 25*time.Millisecond, func() { done.Add(1) })))()
		}
		for done.Load() < 500 {
			time.Sleep(10 * time.Millisecond)
		}
		if d := time.Since(start); d > 900*time.Millisecond {
			t.Errorf("500 pods took %v", d)
		}
		if w := laneOf(r, Starts).Width; w < 128 {
			t.Errorf("width %d", w)
		}
	})
}

// A runtime with two CPUs: n calls at once each take n/2 times as long. More width gains nothing, so it must stay small.
func TestSettlesCPUBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{CPUs: 2})
		var running, done atomic.Int64
		widest := 0
		for range 600 {
			r.Do(t.Context(), Job{Lane: Starts, Op: "RunPodSandbox", Timeout: time.Minute, Fn: func(context.Context) error {
				defer done.Add(1)
				n := running.Add(1)
				defer running.Add(-1)
				work := 20 * time.Millisecond // of CPU time, shared fairly, in ten slices
				for range 10 {
					n = running.Load()
					time.Sleep(max(work, work*time.Duration(n)/2) / 10)
				}
				time.Sleep(10 * time.Millisecond) // and some waiting
				return nil
			}})
		}
		for done.Load() < 600 {
			time.Sleep(10 * time.Millisecond)
			widest = max(widest, laneOf(r, Starts).Width)
		}
		if widest > 16 {
			t.Errorf("width reached %d on two CPUs", widest)
		}
		if w := laneOf(r, Starts).Width; w > 8 {
			t.Errorf("settled at %d", w)
		}
	})
}

// Hung calls leave the count, so that the node goes on, but never more than Hard run.
func TestOverdueCallsLeaveTheCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{CPUs: 2, Limits: map[Lane]Limits{Starts: {Hard: 10}}})
		ctx, cancel := context.WithCancel(t.Context())
		for range 4 {
			r.Do(ctx, Job{Lane: Starts, Op: "RunPodSandbox", Owner: "hung", Fn: sleepy(time.Hour)})
		}
		var after atomic.Int64
		start := time.Now()
		r.Do(ctx, Job{Lane: Starts, Op: "RunPodSandbox", Fn: func(context.Context) error {
			after.Store(int64(time.Since(start)))
			return nil
		}})
		time.Sleep(1900 * time.Millisecond)
		synctest.Wait()
		if after.Load() != 0 {
			t.Fatal("ran although the lane was full")
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if d := time.Duration(after.Load()); d != 2*time.Second {
			t.Fatalf("ran after %v, want 2s", d)
		}
		if s := laneOf(r, Starts); s.Overdue != 4 || s.Detached != 4 || s.Running != 4 {
			t.Errorf("snapshot %+v", s)
		}
		for range 20 {
			r.Do(ctx, Job{Lane: Starts, Op: "RunPodSandbox", Owner: "hung", Fn: sleepy(time.Hour)})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := laneOf(r, Starts); s.Running != 10 || s.Queued != 14 {
			t.Errorf("hard cap: running %d queued %d", s.Running, s.Queued)
		}
		cancel()
		synctest.Wait()
		if s := laneOf(r, Starts); s.Running != 0 || s.Queued != 0 {
			t.Errorf("after cancel: running %d queued %d", s.Running, s.Queued)
		}
	})
}

// The timer must follow a call that is due before the one it was set for.
func TestSweepFollowsTheEarliestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Limits: map[Lane]Limits{Starts: {Min: 1, Max: 1}}})
		r.Do(t.Context(), Job{Lane: Starts, Op: "slow", Fn: sleepy(10 * time.Second)})
		synctest.Wait()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		// "slow" may now take 80 s before it leaves.
		r.Do(t.Context(), Job{Lane: Starts, Op: "slow", Fn: sleepy(10 * time.Second)})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r.Do(ctx, Job{Lane: Starts, Op: "quick", Fn: sleepy(time.Hour)})
		start, at := time.Now(), time.Time{}
		r.Do(t.Context(), Job{Lane: Starts, Op: "quick", Fn: func(context.Context) error { at = time.Now(); return nil }})
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := at.Sub(start); got != 12*time.Second {
			t.Errorf("ran after %v, want 12s (10s slow, 2s hung)", got)
		}
	})
}

func TestFIFO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Limits: map[Lane]Limits{Disk: {Min: 1, Max: 1}}})
		var got []int
		for i := range 50 {
			r.Do(t.Context(), Job{Lane: Disk, Op: "write", Fn: func(context.Context) error {
				got = append(got, i)
				time.Sleep(time.Millisecond)
				return nil
			}})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for i, v := range got {
			if i != v {
				t.Fatalf("order %v", got)
			}
		}
		if len(got) != 50 {
			t.Fatalf("%d ran", len(got))
		}
	})
}

// What finishes something that is under way goes before what begins something new.
func TestAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Limits: map[Lane]Limits{Starts: {Min: 1, Max: 1}}})
		var mu sync.Mutex
		var order []int
		for i := range 6 {
			r.Do(t.Context(), Job{Lane: Starts, Op: "x", Ahead: i%2 == 1, Fn: func(ctx context.Context) error {
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				return sleepy(time.Second)(ctx)
			}})
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		mu.Lock()
		if got := fmt.Sprint(order); got != "[0 1 3 5 2 4]" {
			t.Errorf("order %v", got)
		}
		mu.Unlock()
		if n := laneOf(r, Starts).Queued; n != 0 {
			t.Errorf("%d still queued", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := 0
		for i := range 3 {
			r.Do(ctx, Job{Lane: Starts, Op: "x", Ahead: i > 0, Fn: func(ctx context.Context) error {
				err := sleepy(time.Second)(ctx)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					gone++
				}
				return err
			}})
		}
		cancel()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if gone != 3 {
			t.Errorf("%d of 3 were cancelled", gone)
		}
	})
}

func TestTimeoutCountsFromStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Limits: map[Lane]Limits{Disk: {Min: 1, Max: 1}}})
		r.Do(t.Context(), Job{Lane: Disk, Op: "a", Fn: sleepy(1500 * time.Millisecond)})
		start := time.Now()
		var ended time.Duration
		var err error
		r.Do(t.Context(), Job{Lane: Disk, Op: "b", Timeout: time.Second, Fn: func(ctx context.Context) error {
			<-ctx.Done()
			ended, err = time.Since(start), ctx.Err()
			return err
		}})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if ended != 2500*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended after %v with %v", ended, err)
		}
		for _, o := range laneOf(r, Disk).Ops {
			if o.Op == "b" && (o.Errors != 1 || o.Count != 1) {
				t.Errorf("accounting %+v", o)
			}
		}
	})
}

// A call whose context ends in the queue answers at once, exactly once, and takes no slot.
func TestCancelWhileQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Limits: map[Lane]Limits{Disk: {Min: 1, Max: 1}}})
		r.Do(t.Context(), Job{Lane: Disk, Op: "long", Fn: sleepy(time.Minute)})
		ctx, cancel := context.WithCancel(t.Context())
		var calls atomic.Int64
		var seen error
		job := Job{Lane: Disk, Op: "x", Timeout: time.Second, Fn: func(ctx context.Context) error {
			calls.Add(1)
			seen = ctx.Err()
			return seen
		}}
		r.Do(ctx, job)
		synctest.Wait()
		if calls.Load() != 0 {
			t.Fatal("ran without a slot")
		}
		cancel()
		synctest.Wait()
		if calls.Load() != 1 || !errors.Is(seen, context.Canceled) {
			t.Fatalf("%d calls, context error %v", calls.Load(), seen)
		}
		r.Do(ctx, job) // cancelled before it was queued
		synctest.Wait()
		if calls.Load() != 2 {
			t.Fatalf("%d calls", calls.Load())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if calls.Load() != 2 {
			t.Fatalf("%d calls at the end", calls.Load())
		}
		if s := laneOf(r, Disk); s.Running != 0 || s.Queued != 0 || s.Done != 3 {
			t.Errorf("%+v", s)
		}
	})
}

func TestPanicAndGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hook []Panic
		r := New(Config{OnPanic: func(p Panic) { hook = append(hook, p) }, Limits: map[Lane]Limits{API: {Min: 1, Max: 1}}})
		var told []any
		for _, fn := range []func(context.Context) error{
			func(context.Context) error { panic("boom") },
			func(context.Context) error { runtime.Goexit(); return nil },
			func(context.Context) error { return nil },
		} {
			r.Do(t.Context(), Job{Lane: API, Op: "PATCH", Owner: "ns/p", Fn: fn, OnPanic: func(v any) { told = append(told, v) }})
		}
		synctest.Wait()
		if len(told) != 2 || told[0] != "boom" || told[1] != any(errGoexit) {
			t.Fatalf("told %v", told)
		}
		if len(hook) != 2 || hook[0].Owner != "ns/p" || len(hook[0].Stack) == 0 {
			t.Fatalf("hook %v", hook)
		}
		s := r.Snapshot()
		if s.Panics != 2 || s.Lanes[0].Done != 3 || s.Lanes[0].Running != 0 || s.Lanes[0].Ops[0].Errors != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// Nothing runs and nothing ticks while a runner is idle: a bubble with a left-over timer or goroutine would not end.
func TestStopsOfManyPodsDoNotQueueBehindGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{CPUs: 2})
		var begun atomic.Int64
		for range 500 {
			r.Do(t.Context(), Job{Lane: Stops, Op: "StopContainer", Fn: func(ctx context.Context) error {
				begun.Add(1)
				return sleepy(30 * time.Second)(ctx)
			}})
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if begun.Load() != 500 {
			t.Errorf("only %d of 500 stops had begun after 5 s", begun.Load())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

// Real goroutines, many lanes, cancellations: every job runs exactly once. For the race detector.
func TestEveryJobOnceUnderLoad(t *testing.T) {
	r := New(Config{CPUs: 1, Limits: map[Lane]Limits{Reads: {Max: 8}}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const n = 2000
	var wg sync.WaitGroup
	wg.Add(n)
	runs := make([]atomic.Int32, n)
	lanes := []Lane{Starts, Reads, Stops, Pulls("a"), Pulls("b")}
	for i := range n {
		go func() {
			c := ctx
			if i%7 == 0 {
				var stop context.CancelFunc
				c, stop = context.WithTimeout(ctx, time.Duration(i%50)*time.Microsecond)
				context.AfterFunc(c, stop)
			}
			r.Do(c, Job{Lane: lanes[i%len(lanes)], Op: "op", Timeout: time.Second, Fn: func(context.Context) error {
				if runs[i].Add(1) == 1 {
					wg.Done()
				}
				return nil
			}})
			if i%100 == 0 {
				r.Snapshot()
			}
		}()
	}
	wg.Wait()
	for i := range runs {
		if got := runs[i].Load(); got != 1 {
			t.Fatalf("job %d ran %d times", i, got)
		}
	}
}

func TestHistogram(t *testing.T) {
	var o opStats
	for i := range 100 {
		o.count(time.Duration(i+1)*time.Millisecond, nil)
	}
	p50, p99 := o.quantile(0.5), o.quantile(0.99)
	if p50 < 50*time.Millisecond || p50 > 72*time.Millisecond {
		t.Errorf("p50 %v", p50)
	}
	if p99 < 99*time.Millisecond || p99 > 100*time.Millisecond {
		t.Errorf("p99 %v", p99)
	}
	for i := range bucketCount - 1 {
		if top := bucketTop(i); bucketOf(top) != i || bucketOf(top+top/100) != i+1 {
			t.Errorf("bucket %d: edge %v is in %d", i, top, bucketOf(top))
		}
	}
	if bucketOf(100*time.Hour) != bucketCount-1 {
		t.Error("overflow")
	}
}

func BenchmarkDo(b *testing.B) {
	r := New(Config{})
	var wg sync.WaitGroup
	for b.Loop() {
		wg.Add(1)
		r.Do(b.Context(), Job{Lane: Reads, Op: "read", Timeout: time.Second, Fn: func(context.Context) error { wg.Done(); return nil }})
	}
	wg.Wait()
}
