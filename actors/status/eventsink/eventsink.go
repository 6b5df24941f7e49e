// Package eventsink records events about pods and the node. client-go's broadcaster queues (1,000 at most, more are
// dropped) and folds repetitions; this package gives it a sink that keeps to the configured rate and lets statuses go
// first: an event explains, a status is waited for.
package eventsink

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
)

// Component is the source that events name.
const Component = "kubelet"

// The defaults of eventRecordQPS and eventBurst (KubeletConfiguration).
const (
	DefaultQPS   = 50
	DefaultBurst = 100
)

// Deps are the parties that the recorder talks to.
type Deps struct {
	// Client writes events; nil means that there is no API server.
	Client kubernetes.Interface
	// Busy says that statuses are waiting to be written (nil: never). It must be cheap and safe for concurrent use.
	Busy func() bool
	// Tap is told of every event as it is recorded, before any folding (nil: nobody). It runs in a goroutine of its own
	// and may be slow; events that it does not take in time are lost to it.
	Tap    func(*v1.Event)
	Logger klog.Logger
}

// Config of the recorder.
type Config struct {
	NodeName string
	// QPS and Burst bound the writes to the API server; QPS 0 stands for no bound, as in KubeletConfiguration.
	QPS, Burst int
}

// Events records until its context ends.
type Events struct {
	recorder record.EventRecorderLogger
	node     *v1.ObjectReference
}

// New starts recording; it ends with ctx.
func New(ctx context.Context, deps Deps, config Config) *Events {
	broadcaster := record.NewBroadcaster(record.WithContext(klog.NewContext(ctx, deps.Logger)))
	broadcaster.StartStructuredLogging(3)
	if deps.Tap != nil {
		broadcaster.StartEventWatcher(deps.Tap)
	}
	if deps.Client != nil {
		broadcaster.StartRecordingToSink(newSink(ctx, deps.Client.CoreV1().Events(""), deps.Busy, config))
	}
	return &Events{
		recorder: broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: Component, Host: config.NodeName}),
		// A node's events carry its name for a UID: its object may not exist yet.
		node: &v1.ObjectReference{Kind: "Node", Name: config.NodeName, UID: types.UID(config.NodeName)},
	}
}

// Recorder is where to record. It never blocks.
func (e *Events) Recorder() record.EventRecorderLogger { return e.recorder }

// Node is the object of events about this node.
func (e *Events) Node() *v1.ObjectReference { return e.node }

// An event waits for statuses, but not for ever: at most this long each.
const (
	patience = 2 * time.Second
	glance   = 25 * time.Millisecond
)

// sink is called by the broadcaster from one goroutine, one event at a time.
type sink struct {
	ctx     context.Context
	events  corev1.EventInterface
	busy    func() bool
	limiter flowcontrol.RateLimiter
}

func newSink(ctx context.Context, events corev1.EventInterface, busy func() bool, config Config) *sink {
	s := &sink{ctx: ctx, events: events, busy: busy}
	if busy == nil {
		s.busy = func() bool { return false }
	}
	if config.QPS > 0 {
		s.limiter = flowcontrol.NewTokenBucketRateLimiter(float32(config.QPS), max(config.Burst, 1))
	} else {
		s.limiter = flowcontrol.NewFakeAlwaysRateLimiter()
	}
	return s
}

func (s *sink) turn() error {
	if err := s.limiter.Wait(s.ctx); err != nil {
		return err
	}
	for waited := time.Duration(0); waited < patience && s.busy(); waited += glance {
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(glance):
		}
	}
	return nil
}

// Create implements record.EventSink.
func (s *sink) Create(event *v1.Event) (*v1.Event, error) {
	if err := s.turn(); err != nil {
		return nil, err
	}
	return s.events.CreateWithEventNamespaceWithContext(s.ctx, event)
}

// Update implements record.EventSink.
func (s *sink) Update(event *v1.Event) (*v1.Event, error) {
	if err := s.turn(); err != nil {
		return nil, err
	}
	return s.events.UpdateWithEventNamespaceWithContext(s.ctx, event)
}

// Patch implements record.EventSink.
func (s *sink) Patch(event *v1.Event, data []byte) (*v1.Event, error) {
	if err := s.turn(); err != nil {
		return nil, err
	}
	return s.events.PatchWithEventNamespaceWithContext(s.ctx, event, data)
}
