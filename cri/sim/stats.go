package sim

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// OpStats counts the calls of one operation. Busy is the sum of their durations.
type OpStats struct {
	Calls, Errors uint64
	InFlight      int64
	Busy          time.Duration
}

// PodStats is what the runtime did for one pod. Busy sums the durations of all calls; Wall is the time in which at least
// one call was in flight: what an agent that never waits would need at least, given its calls.
type PodStats struct {
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
	s        PodStats
	inFlight int
	since    time.Time
}

type stats struct {
	ops  map[string]*opCounter // fixed after init
	pods shards[*podCounter]
}

func (s *stats) init() {
	s.ops = map[string]*opCounter{"GetContainerEvents": {}}
	for _, m := range runtimeapi.RuntimeService_ServiceDesc.Methods {
		s.ops[m.MethodName] = &opCounter{}
	}
	for _, m := range runtimeapi.ImageService_ServiceDesc.Methods {
		s.ops[m.MethodName] = &opCounter{}
	}
	s.pods.init()
}

// begin counts a call; the returned function ends it.
func (s *stats) begin(c call) func(error) {
	op, start := s.ops[c.op], time.Now()
	op.calls.Add(1)
	op.inFlight.Add(1)
	var p *podCounter
	if c.UID != "" {
		s.pods.update(c.UID, func(v *podCounter, ok bool) (*podCounter, bool) {
			if !ok {
				v = &podCounter{s: PodStats{Calls: map[string]int{}, First: start}}
			}
			p = v
			return v, true
		})
		p.mu.Lock()
		p.s.Calls[c.op]++
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

// Stats returns the counters of every operation that was ever called.
func (r *Runtime) Stats() map[string]OpStats {
	out := map[string]OpStats{}
	for name, c := range r.stats.ops {
		if s := (OpStats{c.calls.Load(), c.errors.Load(), c.inFlight.Load(), time.Duration(c.busy.Load())}); s.Calls > 0 {
			out[name] = s
		}
	}
	return out
}

// TakePodStats returns what was done for each pod since the last taking, by pod UID, and forgets it. Pods stay in it
// after their end; whoever runs the simulation for long takes it now and then.
func (r *Runtime) TakePodStats() map[string]PodStats {
	out := map[string]PodStats{}
	for i := range r.stats.pods.part {
		p := &r.stats.pods.part[i]
		p.mu.Lock()
		for uid, c := range p.m {
			c.mu.Lock()
			s := c.s
			s.Calls = maps.Clone(s.Calls)
			if c.inFlight > 0 {
				c.s = PodStats{Calls: map[string]int{}, First: time.Now()}
			} else {
				delete(p.m, uid)
			}
			c.mu.Unlock()
			out[uid] = s
		}
		p.mu.Unlock()
	}
	return out
}
