// Package callstats counts the CRI calls that a runtime serves, by operation and by pod: what they cost an agent is the
// rest of the time. The simulated runtime counts its own calls, cri/proxy those of any other.
package callstats

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Op counts the calls of one operation. Busy is the sum of their durations.
type Op struct {
	Calls, Errors uint64
	InFlight      int64
	Busy          time.Duration
}

// Pod is what was called for one pod. Busy sums the durations of all calls; Wall is the time in which at least one call
// was in flight: what an agent that never waits would need at least, given its calls.
type Pod struct {
	Calls       map[string]int
	Busy, Wall  time.Duration
	First, Last time.Time
}

type opCounter struct {
	calls, errors atomic.Uint64
	inFlight      atomic.Int64
	busy          atomic.Int64
}

type podCounter struct {
	mu       sync.Mutex
	s        Pod
	inFlight int
	since    time.Time
}

// Stats are the counters. They are safe for concurrent use; pods do not share a lock.
type Stats struct {
	ops  map[string]*opCounter // fixed
	pods sync.Map              // UID → *podCounter
}

// New makes counters for every operation of CRI v1.
func New() *Stats {
	s := &Stats{ops: map[string]*opCounter{"GetContainerEvents": {}}}
	for _, m := range runtimeapi.RuntimeService_ServiceDesc.Methods {
		s.ops[m.MethodName] = &opCounter{}
	}
	for _, m := range runtimeapi.ImageService_ServiceDesc.Methods {
		s.ops[m.MethodName] = &opCounter{}
	}
	return s
}

// Begin counts a call of an operation, by the name that CRI gives it, about the pod uid ("" when it is about none or
// nobody knows). The returned function ends it. Operations that CRI does not have are not counted.
func (s *Stats) Begin(operation, uid string) (end func(error)) {
	op, start := s.ops[operation], time.Now()
	if op == nil {
		return func(error) {}
	}
	op.calls.Add(1)
	op.inFlight.Add(1)
	var p *podCounter
	if uid != "" {
		p = s.pod(uid, start)
		p.mu.Lock()
		p.s.Calls[operation]++
		if p.inFlight++; p.inFlight == 1 {
			p.since = start
		}
		p.mu.Unlock()
	}
	return func(err error) {
		now := time.Now()
		op.inFlight.Add(-1)
		op.busy.Add(int64(now.Sub(start)))
		if err != nil {
			op.errors.Add(1)
		}
		if p != nil {
			p.mu.Lock()
			p.s.Busy += now.Sub(start)
			p.s.Last = now
			if p.inFlight--; p.inFlight == 0 {
				p.s.Wall += now.Sub(p.since)
			}
			p.mu.Unlock()
		}
	}
}

func (s *Stats) pod(uid string, start time.Time) *podCounter {
	if p, ok := s.pods.Load(uid); ok {
		return p.(*podCounter)
	}
	p, _ := s.pods.LoadOrStore(uid, &podCounter{s: Pod{Calls: map[string]int{}, First: start}})
	return p.(*podCounter)
}

// Ops returns the counters of every operation that was ever called.
func (s *Stats) Ops() map[string]Op {
	out := map[string]Op{}
	for name, c := range s.ops {
		if o := (Op{c.calls.Load(), c.errors.Load(), c.inFlight.Load(), time.Duration(c.busy.Load())}); o.Calls > 0 {
			out[name] = o
		}
	}
	return out
}

// TakePods returns what was called for each pod since the last taking, by pod UID, and forgets it. Pods stay in it after
// their end; whoever counts for long takes it now and then. A call that begins at the same moment may be missed.
func (s *Stats) TakePods() map[string]Pod {
	out := map[string]Pod{}
	s.pods.Range(func(uid, v any) bool {
		c := v.(*podCounter)
		c.mu.Lock()
		defer c.mu.Unlock()
		taken := c.s
		taken.Calls = maps.Clone(taken.Calls)
		if c.inFlight > 0 {
			c.s = Pod{Calls: map[string]int{}, First: time.Now()}
		} else {
			s.pods.Delete(uid)
		}
		out[uid.(string)] = taken
		return true
	})
	return out
}
