package compose

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// trimEvery is how often the heap of an idle agent is looked at. A look costs microseconds.
	trimEvery = 10 * time.Second
	// trimSoon is how often the heap of a busy one is looked at, so that what a burst leaves is given back soon after its end, and not
	// within the hours of idleness that follow.
	trimSoon = time.Second
	// quietRate is what an agent that counts as idle may allocate, in bytes per second.
	quietRate = 400 << 10
	// worthTrimming is the memory, in bytes, for which a collection is made and pages are given back.
	worthTrimming = 12 << 20
)

// heapSample is the heap at one moment, in bytes: allocated so far, live at the last collection, occupied now (live and
// garbage), and free but not given back.
type heapSample struct{ allocated, live, occupied, free uint64 }

// quiet says whether the agent did next to nothing in the time since before.
func (s heapSample) quiet(before heapSample, since time.Duration) bool {
	return float64(s.allocated-before.allocated) <= quietRate*since.Seconds()
}

// worth says whether a collection would give much back. The garbage collector lets the heap grow to a multiple of what is
// live, and keeps it there: right while pods start and stop, but on a node that is idle for hours afterwards it is memory
// that pods could have.
func (s heapSample) worth() bool {
	garbage := uint64(0)
	if s.occupied > s.live {
		garbage = s.occupied - s.live
	}
	return garbage+s.free > worthTrimming
}

// trim keeps the process small: it gives memory back to the system when the agent has become idle, until ctx ends. How far
// the heap may grow in a burst is left to Go's default (GOGC=100): with 60 the agent took a tenth more CPU while 500 pods
// ended, with 150 what was live lay so far apart afterwards that 5 to 12 MB more could not be given back (three runs each).
func trim(ctx context.Context) {
	var before heapSample
	wait := trimEvery
	for t := time.NewTimer(wait); ; t.Reset(wait) {
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		now := readHeap()
		quiet := now.quiet(before, wait)
		if wait = trimSoon; quiet {
			wait = trimEvery
			if now.worth() {
				debug.FreeOSMemory()
				now = readHeap()
			}
		}
		before = now
	}
}

func readHeap() heapSample {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	return heapSample{allocated: s[0].Value.Uint64(), live: s[1].Value.Uint64(), occupied: s[2].Value.Uint64(), free: s[3].Value.Uint64()}
}
