package runner

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// errGoexit is what OnPanic and the accounting see when Fn ended its goroutine instead of returning.
var errGoexit = errors.New("job called runtime.Goexit")

// call runs Fn and turns a panic into an error. The error goes through a pointer: after Goexit nothing is returned.
func (l *lane) call(ctx context.Context, job *Job, err *error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover()
		if v == nil {
			v = errGoexit
		}
		*err = fmt.Errorf("%s: panic: %v", job.Op, v)
		l.report(job, v, debug.Stack())
	}()
	*err = job.Fn(ctx)
	returned = true
}

// report tells of a panic. A panic in the hooks themselves is kept like one of the job, and ends there.
func (l *lane) report(job *Job, v any, stack []byte) {
	defer func() {
		if again := recover(); again != nil {
			l.r.panicMu.Lock()
			l.r.panics++
			l.r.panicMu.Unlock()
		}
	}()
	l.r.panicked(Panic{Lane: job.Lane, Op: job.Op, Owner: job.Owner, Value: v, Stack: stack, At: time.Now()})
	if job.OnPanic != nil {
		job.OnPanic(v)
	}
}
