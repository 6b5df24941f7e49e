package runtime

import (
	"context"
	"errors"

	"github.com/troupe-dev/troupe/actors/runtime/runtimeplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

type streamer interface {
	Events(ctx context.Context, connected func(), handle func(model.RuntimeEvent)) error
}

// openStream reads events on a goroutine of its own, for as long as the stream lasts; lanes are for calls that end. The
// goroutine only tells: a reader that waits would stall the runtime.
func (r *receiver) openStream(c *spawn.Cell, gen uint64) {
	r.closeStream()
	ctx, cancel := context.WithCancel(c.Context())
	r.streamCancel = cancel
	self, pods, rt := c.Self(), r.deps.Pods, r.deps.Runtime
	go func() {
		ended := runtimeplan.StreamEnded{Gen: gen, Err: "the stream's reader panicked"}
		defer func() {
			cancel()
			if v := recover(); v != nil {
				ended.Err = panicText(v)
			}
			self.Tell(ended)
		}()
		err := rt.Events(ctx, func() { self.Tell(runtimeplan.StreamUp{Gen: gen}) }, func(e model.RuntimeEvent) {
			if e.UID != "" {
				// A state that was read after the event came about has it in it: it is not read again.
				pods.Tell(podsmsg.Dirty{UID: e.UID, Container: e.Container, At: e.At})
			}
		})
		ended.Err, ended.Absent = text(err), errors.Is(err, cri.ErrUnimplemented)
	}()
}

func (r *receiver) closeStream() {
	if r.streamCancel != nil {
		r.streamCancel()
		r.streamCancel = nil
	}
}
