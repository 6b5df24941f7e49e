package sim

import (
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// eventQueue delivers events to every subscriber, and keeps them for a while when there is none, as containerd does.
// Unlike containerd's, a slow subscriber does not hold up the runtime; MaxEventLag shows it instead.
type eventQueue struct {
	replay time.Duration

	mu     sync.Mutex
	subs   map[*subscriber]struct{}
	held   []heldEvent
	maxLag int
}

type heldEvent struct {
	e  *runtimeapi.ContainerEventResponse
	at time.Time
}

type subscriber struct {
	queue []*runtimeapi.ContainerEventResponse // guarded by the queue's lock
	wake  chan struct{}
}

func (q *eventQueue) publish(e *runtimeapi.ContainerEventResponse) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.subs) == 0 {
		now := time.Now()
		drop := 0
		for drop < len(q.held) && now.Sub(q.held[drop].at) > q.replay {
			drop++
		}
		q.held = append(q.held[drop:], heldEvent{e, now})
		return
	}
	for s := range q.subs {
		s.queue = append(s.queue, e)
		q.maxLag = max(q.maxLag, len(s.queue))
		s.ring()
	}
}

func (s *subscriber) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (q *eventQueue) subscribe() *subscriber {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := &subscriber{wake: make(chan struct{}, 1)}
	now := time.Now()
	for _, h := range q.held {
		if now.Sub(h.at) <= q.replay {
			s.queue = append(s.queue, h.e)
		}
	}
	q.held = nil
	if q.subs == nil {
		q.subs = map[*subscriber]struct{}{}
	}
	q.subs[s] = struct{}{}
	s.ring()
	return s
}

func (q *eventQueue) unsubscribe(s *subscriber) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.subs, s)
}

func (q *eventQueue) take(s *subscriber) []*runtimeapi.ContainerEventResponse {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := s.queue
	s.queue = nil
	return out
}

// MaxEventLag is the longest that a subscriber's queue ever was: a reader of the event stream that blocks shows here.
func (r *Runtime) MaxEventLag() int {
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	return r.events.maxLag
}

// GetContainerEvents implements the CRI.
func (s service) GetContainerEvents(_ *runtimeapi.GetEventsRequest, stream runtimeapi.RuntimeService_GetContainerEventsServer) (err error) {
	c := call{op: "GetContainerEvents"}
	done := s.r.stats.Begin(c.op, c.UID)
	defer func() { done(err) }()
	outcome, rule := s.r.scripts.decide(c)
	switch o := outcome.(type) {
	case Fail:
		return toStatusFail(o)
	case Kind:
		switch o {
		case Unavailable, LostReply:
			return toStatusFail(unavailable(c.op))
		case Hang, LateReply:
			if err := hold(stream.Context(), rule); err != nil {
				return err
			}
		case OK:
		}
	case Delay, Stall:
	}
	sub := s.r.events.subscribe()
	defer s.r.events.unsubscribe(sub)
	for {
		select {
		case <-stream.Context().Done():
			return ctxStatus(stream.Context())
		case <-sub.wake:
			for _, e := range s.r.events.take(sub) {
				if err := stream.Send(e); err != nil {
					return err
				}
			}
		}
	}
}

// announce publishes an event about a container of the sandbox, or about the sandbox itself (id is the sandbox's).
func (r *Runtime) announce(sb *sandbox, id string, kind runtimeapi.ContainerEventType) {
	e := &runtimeapi.ContainerEventResponse{ContainerId: id, ContainerEventType: kind, CreatedAt: time.Now().UnixNano(), PodSandboxStatus: sb.status()}
	for _, c := range sb.list() {
		e.ContainersStatuses = append(e.ContainersStatuses, r.statusOf(c))
	}
	r.events.publish(e)
}
