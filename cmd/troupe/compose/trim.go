package compose

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// trimEvery is how often the heap is looked at. A look costs microseconds.
	trimEvery = 10 * time.Second
	// quietAlloc is what may be allocated, in bytes, between two looks of an agent that counts as idle.
	quietAlloc = 4 << 20
	// worthTrimming is the memory, in bytes, for which a collection is made and pages are given back.
	worthTrimming = 12 << 20
	// garbagePercent is how far the heap may grow between collections, in percent of what is live. With Go's default of 100
	// an agent was 10 MB larger after it had started 500 pods (132 against 122 MB, one run each), and a difference in CPU
	// did not stand out of the noise; below 50 it did.
	garbagePercent = 60
)

// heapSample is the heap at one moment, in bytes: allocated so far, live at the last collection, occupied now (live and
// garbage), and free but not given back.
type heapSample struct{ allocated, live, occupied, free uint64 }

// trimmable says whether a burst has left much behind and is over. The garbage collector lets the heap grow to twice what
// is live, and keeps it there: right while pods start and stop, but on a node that is idle for hours afterwards it is
// memory that pods could have.
func (s heapSample) trimmable(before heapSample) bool {
	if s.allocated-before.allocated > quietAlloc {
		return false
	}
	garbage := uint64(0)
	if s.occupied > s.live {
		garbage = s.occupied - s.live
	}
	return garbage+s.free > worthTrimming
}

// trim keeps the process small: it sets how far the heap may grow, unless GOGC says so, and gives memory back to the
// system whenever the agent has become idle, until ctx ends.
func trim(ctx context.Context) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	var before heapSample
	for t := time.NewTicker(trimEvery); ; {
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		now := readHeap()
		if now.trimmable(before) {
			debug.FreeOSMemory()
			now = readHeap()
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
