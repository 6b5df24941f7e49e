// Package api is the source of the pods that the API server binds to this node: one reflector whose store is a sink
// that tells spec, status-only and removal apart and passes each on as it arrives.
package api

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages"
)

// Name is the name of this source in podsmsg.
const Name = "api"

// Deps are the parties that the source talks to.
type Deps struct {
	// Client reads pods of all namespaces. It should ask for protobuf and have no timeout of its own.
	Client kubernetes.Interface
	// Pods receives podsmsg.Assigned, Removed and SourceSynced; Status receives statusmsg.Seen; Mirrors receives
	// sourcemsg (nil: nobody).
	Pods, Status, Mirrors messages.Sink
	Logger                klog.Logger
}

// Config of the source.
type Config struct {
	NodeName string
}

// Source delivers the node's pods from the API server.
type Source struct {
	deps      Deps
	config    Config
	reflector *cache.Reflector
	sink      *sink
}

// The pause between two failed attempts to reach the API server: short at first, and never so long that a node stays
// blind for half a minute after an outage has ended.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// New makes the source; Run starts it.
func New(deps Deps, config Config) *Source {
	if deps.Mirrors == nil {
		deps.Mirrors = messages.Nowhere
	}
	logger := klog.LoggerWithName(deps.Logger, "source-api")
	selector := fields.OneTermEqualSelector("spec.nodeName", config.NodeName).String()
	pods := deps.Client.CoreV1().Pods(metav1.NamespaceAll)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return pods.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return pods.Watch(ctx, o)
		},
	}
	s := &Source{deps: deps, config: config, sink: newSink(deps, time.Now)}
	s.reflector = cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, deps.Client), &v1.Pod{}, s.sink, cache.ReflectorOptions{
		Logger:  &logger,
		Name:    "pods of " + config.NodeName,
		Backoff: &wait.Backoff{Duration: retryFirst, Factor: 2, Jitter: 0.5, Steps: 8, Cap: retryMost},
	})
	return s
}

// Run lists and watches until ctx ends. A watch that the server closes is resumed where it stopped.
func (s *Source) Run(ctx context.Context) { s.reflector.RunWithContext(ctx) }

// Resend delivers everything again, to a receiver that has forgotten it. It does not block for long.
func (s *Source) Resend() { s.sink.resend() }

// Version is the resourceVersion up to which the source has delivered, "" before the first list.
func (s *Source) Version() string { return s.reflector.LastSyncResourceVersion() }
