package criconformance

import (
	"context"
	"errors"
	"time"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// events checks what the agent needs of the stream: once connected was called, everything that happens to a pod makes a
// hint with its UID. It does not check kinds: an event is a hint, never a fact.
func events(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	connected, end := make(chan struct{}), make(chan error, 1)
	seen := make(chan model.RuntimeEvent, 1000)
	go func() {
		end <- s.Runtime.Events(ctx, func() { close(connected) }, func(e model.RuntimeEvent) {
			select {
			case seen <- e:
			default: // other pods' events fill it up on a busy runtime; ours would be missed and noticed
			}
		})
	}()
	select {
	case <-connected:
	case err := <-end:
		if errors.Is(err, cri.ErrUnimplemented) {
			s.Log("the runtime has no events: lists are all there is")
			cancel()
			return
		}
		s.Fatalf("Events: %v", err)
	case <-s.ctx.Done():
		s.Fatal("the stream never stood")
	}

	p := s.sandbox()
	wait := func(what string, id model.ContainerID) {
		s.Helper()
		for {
			select {
			case e := <-seen:
				if e.UID == p.uid && e.Container == id {
					if age := time.Since(e.At); e.At.IsZero() || age > time.Minute {
						s.Errorf("%s: event of %v", what, e.At)
					}
					return
				}
			case <-s.ctx.Done():
				s.Fatalf("no event: %s", what)
			}
		}
	}
	wait("sandbox created", "")
	wait("sandbox started", "")
	id := s.create(p, "main", 0, "sh", "-c", "sleep 1; exit 3")
	wait("container created", id)
	s.ok("StartContainer", s.Runtime.StartContainer(s.ctx, id))
	wait("container started", id)
	wait("container exited", id)
	if c := s.status(id); c.State != model.ContainerExited || c.ExitCode != 3 {
		s.Errorf("the look after the event shows %+v", c)
	}
	s.ok("RemoveContainer", s.Runtime.RemoveContainer(s.ctx, id))
	wait("container removed", id)
	s.ok("StopPodSandbox", s.Runtime.StopPodSandbox(s.ctx, p.id))
	wait("sandbox stopped", "")
	s.ok("RemovePodSandbox", s.Runtime.RemovePodSandbox(s.ctx, p.id))
	wait("sandbox removed", "")

	cancel()
	select {
	case err := <-end:
		s.class("Events after its context ended", err, model.OutcomeUnknown)
	case <-s.ctx.Done():
		s.Fatal("the stream does not end with its context")
	}
}
