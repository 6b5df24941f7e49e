package runner

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Snapshot is what the runner does at one moment.
type Snapshot struct {
	At    time.Time      `json:"at"`
	Lanes []LaneSnapshot `json:"lanes"`
	// Panics counts the panics in jobs; LastPanic says where the newest was ("op of owner").
	Panics    int64  `json:"panics"`
	LastPanic string `json:"lastPanic,omitempty"`
}

// LaneSnapshot is one lane.
type LaneSnapshot struct {
	Lane  Lane `json:"lane"`
	Width int  `json:"width"`
	// Running calls include the Overdue ones and those that take no slot any more (Detached).
	Running  int          `json:"running"`
	Queued   int          `json:"queued"`
	Overdue  int          `json:"overdue"`
	Detached int          `json:"detached"`
	Done     int64        `json:"done"`
	InFlight []InFlight   `json:"inFlight,omitempty"`
	Ops      []OpSnapshot `json:"ops,omitempty"`
}

// InFlight is one running call.
type InFlight struct {
	Op      string    `json:"op"`
	Owner   string    `json:"owner"`
	Since   time.Time `json:"since"`
	Overdue bool      `json:"overdue,omitempty"`
}

// OpSnapshot is the latencies of one op, failures included, from beginning to end (not the time in the queue).
type OpSnapshot struct {
	Op      string        `json:"op"`
	Count   int64         `json:"count"`
	Errors  int64         `json:"errors"`
	Sum     time.Duration `json:"sumNs"`
	P50     time.Duration `json:"p50Ns"`
	P99     time.Duration `json:"p99Ns"`
	Max     time.Duration `json:"maxNs"`
	Buckets []Bucket      `json:"buckets,omitempty"`
}

// Bucket counts the calls that took at most UpTo and more than the bucket before. Empty buckets are left out.
type Bucket struct {
	UpTo  time.Duration `json:"upToNs"`
	Count int64         `json:"count"`
}

// Snapshot copies the state for inspection; lanes, calls (oldest first) and ops are sorted.
func (r *Runner) Snapshot() Snapshot {
	s := Snapshot{At: time.Now()}
	r.panicMu.Lock()
	s.Panics = r.panics
	if p := r.lastPanic; p != nil {
		s.LastPanic = p.Op + " of " + p.Owner
	}
	r.panicMu.Unlock()
	r.mu.RLock()
	lanes := make([]*lane, 0, len(r.lanes))
	for _, l := range r.lanes {
		lanes = append(lanes, l)
	}
	r.mu.RUnlock()
	slices.SortFunc(lanes, func(a, b *lane) int { return cmp.Compare(a.name, b.name) })
	for _, l := range lanes {
		s.Lanes = append(s.Lanes, l.snapshot(s.At))
	}
	return s
}

// LastPanic is the newest panic of a job with its stack; nil when there was none.
func (r *Runner) LastPanic() *Panic {
	r.panicMu.Lock()
	defer r.panicMu.Unlock()
	return r.lastPanic
}

func (l *lane) snapshot(now time.Time) LaneSnapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := LaneSnapshot{Lane: l.name, Width: l.width.size, Running: l.running.n, Queued: l.waiting(), Done: l.done}
	for c := l.running.head; c != nil; c = c.next {
		f := InFlight{Op: c.job.Op, Owner: c.job.Owner, Since: c.startedAt}
		f.Overdue = now.Sub(c.startedAt) >= l.overdueAfter(c.job.Op)
		if f.Overdue {
			s.Overdue++
		}
		if !c.counted {
			s.Detached++
		}
		s.InFlight = append(s.InFlight, f)
	}
	for name, o := range l.ops {
		s.Ops = append(s.Ops, o.snapshot(name))
	}
	slices.SortFunc(s.Ops, func(a, b OpSnapshot) int { return cmp.Compare(a.Op, b.Op) })
	return s
}

// opStats is what a lane knows of one op.
type opStats struct {
	best    time.Duration // best mean of a round
	typical time.Duration // moving average of successes
	n, errs int64
	sum     time.Duration
	max     time.Duration
	buckets [bucketCount]uint32

	roundN   int
	roundSum time.Duration
}

// Histogram buckets: powers of √2 from 100 µs; the last one, above 1.6 h, takes the rest.
const (
	bucketCount = 52
	bucketFloor = 100 * time.Microsecond
)

func bucketOf(d time.Duration) int {
	if d <= bucketFloor {
		return 0
	}
	i := int(math.Ceil(2 * math.Log2(float64(d)/float64(bucketFloor))))
	return min(i, bucketCount-1)
}

func bucketTop(i int) time.Duration {
	return time.Duration(float64(bucketFloor) * math.Pow(2, float64(i)/2))
}

func (o *opStats) count(took time.Duration, err error) {
	o.n++
	o.sum += took
	o.max = max(o.max, took)
	o.buckets[bucketOf(took)]++
	if err != nil {
		o.errs++
		return
	}
	if o.typical == 0 {
		o.typical = took
	} else {
		o.typical += (took - o.typical) / 8
	}
}

func (o *opStats) snapshot(name string) OpSnapshot {
	s := OpSnapshot{Op: name, Count: o.n, Errors: o.errs, Sum: o.sum, Max: o.max}
	for i, n := range o.buckets {
		if n > 0 {
			s.Buckets = append(s.Buckets, Bucket{UpTo: bucketTop(i), Count: int64(n)})
		}
	}
	s.P50, s.P99 = o.quantile(0.5), o.quantile(0.99)
	return s
}

// quantile is the upper edge of the bucket that holds the q-th call, never above the largest latency seen.
func (o *opStats) quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(o.n)))
	for i, n := range o.buckets {
		if rank -= int64(n); rank <= 0 && n > 0 {
			return min(bucketTop(i), o.max)
		}
	}
	return o.max
}
