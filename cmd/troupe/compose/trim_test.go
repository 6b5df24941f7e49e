package compose

import (
	"runtime"
	"testing"
)

func TestTrimmable(t *testing.T) {
	const mb = 1 << 20
	before := heapSample{allocated: 100 * mb, live: 20 * mb, occupied: 40 * mb}
	for _, tc := range []struct {
		name string
		now  heapSample
		want bool
	}{
		{"a burst that goes on", heapSample{allocated: 110 * mb, live: 20 * mb, occupied: 45 * mb}, false},
		{"the burst is over and left garbage", heapSample{allocated: 101 * mb, live: 20 * mb, occupied: 41 * mb}, true},
		{"or pages", heapSample{allocated: 101 * mb, live: 20 * mb, occupied: 22 * mb, free: 15 * mb}, true},
		{"little is left", heapSample{allocated: 101 * mb, live: 20 * mb, occupied: 25 * mb, free: 2 * mb}, false},
		{"a count of live bytes that is older", heapSample{allocated: 101 * mb, live: 50 * mb, occupied: 30 * mb}, false},
	} {
		if got := tc.now.trimmable(before); got != tc.want {
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
