package health

import (
	"testing"
	"time"
)

// A blocked log is reported, costs one flush however often it is asked, and is well again when the flush ends.
func TestLogBlocked(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{}, 10)
	l := &flushing{flush: func() { began <- struct{}{}; <-release }, patience: time.Millisecond}
	for range 3 {
		if l.check() == nil {
			t.Error("a blocked log is healthy")
		}
	}
	if n := len(began); n != 1 {
		t.Errorf("%d flushes in flight", n)
	}
	l.patience = 10 * time.Second
	close(release)
	if err := l.check(); err != nil {
		t.Error(err)
	}
}
