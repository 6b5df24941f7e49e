package runner

import (
	"context"
	"errors"
	"sync"
	"time"
)

// lane is one queue with its running calls. Everything below mu is guarded by it.
//
// Invariants: counted ≤ width.size, except for calls that a narrowing found running; live ≤ limits.Hard; the queues are empty
// whenever a slot is free; the timer is armed only while calls wait in the queue.
type lane struct {
	r      *Runner
	name   Lane
	limits Limits

	mu      sync.Mutex
	ahead   list // served before queue
	queue   list
	running list
	counted int // running calls that take a slot
	live    int // running calls that took a slot when they began, until Fn returns
	width   width
	ops     map[string]*opStats
	timer   *time.Timer
	armed   time.Time // when the timer is due; zero when it is not set
	done    int64
}

// call is one job on its way through a lane.
type call struct {
	job        Job
	ctx        context.Context
	stop       func() bool // ends the watch on ctx while queued
	prev, next *call
	in         *list
	queuedAt   time.Time
	startedAt  time.Time
	epoch      int  // of the width when it began
	counted    bool // takes a slot
	slotted    bool // took a slot when it began
}

func newLane(r *Runner, name Lane, lim Limits) *lane {
	return &lane{r: r, name: name, limits: lim, width: width{size: lim.Min, min: lim.Min, max: lim.Max}, ops: map[string]*opStats{}}
}

func (l *lane) add(ctx context.Context, job Job) {
	c := &call{job: job, ctx: ctx, queuedAt: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting() == 0 && l.free() && ctx.Err() == nil {
		l.begin(c, c.queuedAt)
		go l.run(c)
		return
	}
	if job.Ahead {
		l.ahead.push(c)
	} else {
		l.queue.push(c)
	}
	if ctx.Done() != nil {
		// Runs in its own goroutine, at once if ctx has ended already.
		c.stop = context.AfterFunc(ctx, func() { l.cancelQueued(c) })
	}
	l.arm(c.queuedAt)
}

// waiting is how many calls wait for a slot.
func (l *lane) waiting() int { return l.ahead.n + l.queue.n }

func (l *lane) free() bool { return l.counted < l.width.size && l.live < l.limits.Hard }

// cancelQueued lets a call whose context ended in the queue run without a slot, so that its closure can answer.
func (l *lane) cancelQueued(c *call) {
	l.mu.Lock()
	if c.in != &l.queue && c.in != &l.ahead {
		l.mu.Unlock()
		return
	}
	c.in.remove(c)
	c.startedAt = time.Now()
	l.running.push(c)
	l.mu.Unlock()
	l.run(c)
}

// fill begins what fits. The first call of it is left to the caller to run, the others run.
func (l *lane) fill(now time.Time) (first *call) {
	for l.waiting() > 0 && l.free() {
		c := l.ahead.head
		if c == nil {
			c = l.queue.head
		}
		c.in.remove(c)
		if c.stop != nil {
			c.stop()
			c.stop = nil
		}
		l.begin(c, now)
		if first == nil {
			first = c
		} else {
			go l.run(c)
		}
	}
	l.arm(now)
	return first
}

// begin gives c a slot; it has to be run then.
func (l *lane) begin(c *call, now time.Time) {
	c.startedAt, c.epoch = now, l.width.epoch
	c.counted, c.slotted = true, true
	l.counted++
	l.live++
	l.running.push(c)
	if !l.armed.IsZero() {
		if at := now.Add(l.leaveAfter(c.job.Op)); at.Before(l.armed) {
			l.set(at, now)
		}
	}
}

// run makes c and then, on the same goroutine, whatever its end makes room for: a stack that has grown to the depth of a
// call is used again, which in a burst saves each call the copying of its own (BenchmarkBurst: 1 instead of 6 µs per call).
func (l *lane) run(c *call) {
	for c != nil {
		c = l.one(c)
	}
}

// one calls Fn and gives the slot back. It returns the call that takes the slot next, for the caller to run.
func (l *lane) one(c *call) (next *call) {
	ctx, cancel := c.ctx, context.CancelFunc(func() {})
	if c.job.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.job.Timeout)
	}
	var err error
	returned := false
	defer func() { // also on runtime.Goexit
		cancel()
		next = l.finish(c, err)
		if !returned && next != nil {
			go l.run(next) // this goroutine ends
		}
	}()
	l.call(ctx, &c.job, &err)
	returned = true
	return nil
}

// finish accounts for the end of c and begins what fits now. The first of it is left to the caller to run.
func (l *lane) finish(c *call, err error) (next *call) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running.remove(c)
	if c.slotted {
		l.live--
	}
	if c.counted {
		l.counted--
	}
	if !errors.Is(err, ErrNoCall) {
		took := now.Sub(c.startedAt)
		op := l.op(c.job.Op)
		op.count(took, err)
		l.done++
		if c.counted && err == nil {
			l.width.sample(op, took, c.epoch, l.waiting() > 0)
		}
	}
	return l.fill(now)
}

func (l *lane) op(name string) *opStats {
	o := l.ops[name]
	if o == nil {
		o = &opStats{}
		l.ops[name] = o
	}
	return o
}

// leaveAfter is how long a call counts: max(2 s, 8 × what the op typically takes), unless the lane says less.
func (l *lane) leaveAfter(op string) time.Duration {
	d := l.overdueAfter(op)
	if l.limits.Leave > 0 {
		d = min(d, l.limits.Leave)
	}
	return d
}

// Overdue calls: no answer after the larger of these.
const (
	overdueFloor  = 2 * time.Second
	overdueFactor = 8
)

func (l *lane) overdueAfter(op string) time.Duration {
	d := overdueFloor
	if o := l.ops[op]; o != nil {
		d = max(d, overdueFactor*o.typical)
	}
	return d
}

// arm makes sure that a timer will look for overdue calls while others wait for their slots.
func (l *lane) arm(now time.Time) {
	if l.waiting() == 0 {
		if !l.armed.IsZero() {
			l.timer.Stop() // a firing that is under way finds nothing to do
			l.armed = time.Time{}
		}
		return
	}
	if !l.armed.IsZero() || l.counted == 0 {
		return
	}
	var first time.Time
	for c := l.running.head; c != nil; c = c.next {
		if c.counted {
			if at := c.startedAt.Add(l.leaveAfter(c.job.Op)); first.IsZero() || at.Before(first) {
				first = at
			}
		}
	}
	l.set(first, now)
}

func (l *lane) set(at, now time.Time) {
	l.armed = at
	d := max(0, at.Sub(now))
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.sweep)
	} else {
		l.timer.Reset(d)
	}
}

// sweep takes overdue calls out of the count.
func (l *lane) sweep() {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = time.Time{}
	for c := l.running.head; c != nil; c = c.next {
		if c.counted && now.Sub(c.startedAt) >= l.leaveAfter(c.job.Op) {
			c.counted = false
			l.counted--
		}
	}
	if c := l.fill(now); c != nil {
		go l.run(c)
	}
}
