package compose

import (
	"runtime"
	"testing"
	"time"
)

func TestWhatIsWorthTrimming(t *testing.T) {
	const mb = 1 << 20
	for _, tc := range []struct {
		name string
		heap heapSample
		want bool
	}{
		{"garbage", heapSample{live: 20 * mb, occupied: 41 * mb}, true},
		{"pages", heapSample{live: 20 * mb, occupied: 22 * mb, free: 15 * mb}, true},
		{"little", heapSample{live: 20 * mb, occupied: 25 * mb, free: 2 * mb}, false},
		{"a count of live bytes that is older", heapSample{live: 50 * mb, occupied: 30 * mb}, false},
	} {
		if got := tc.heap.worth(); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}

func TestQuiet(t *testing.T) {
	const kb = 1 << 10
	before := heapSample{allocated: 100 * kb}
	for _, tc := range []struct {
		name  string
		bytes uint64
		since time.Duration
		want  bool
	}{
		{"nothing happened", 0, time.Second, true},
		{"a status or two", 300 * kb, time.Second, true},
		{"pods start", 2000 * kb, time.Second, false},
		{"the same, but over a long time", 2000 * kb, 10 * time.Second, true},
	} {
		if got := (heapSample{allocated: before.allocated + tc.bytes}).quiet(before, tc.since); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}

// The samples are those that the runtime has: an unknown name would panic or stay zero.
func TestReadHeap(t *testing.T) {
	runtime.GC()
	if s := readHeap(); s.allocated == 0 || s.live == 0 || s.occupied == 0 {
		t.Errorf("%+v", s)
	}
}
