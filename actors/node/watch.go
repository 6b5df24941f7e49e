package node

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/nodemsg"
)

// watch tells the node's own object, whenever it changes, until ctx ends.
func watch(ctx context.Context, client kubernetes.Interface, name string, logger klog.Logger, to messages.Sink) {
	selector := fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	nodes := client.CoreV1().Nodes()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return nodes.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o.FieldSelector = selector
			return nodes.Watch(ctx, o)
		},
	}
	logger = klog.LoggerWithName(logger, "node-watch")
	cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, client), &v1.Node{}, self{to}, cache.ReflectorOptions{
		Logger: &logger, Name: "node " + name,
		Backoff: &wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 8, Cap: 5 * time.Second},
	}).RunWithContext(ctx)
}

// self is the reflector's store: it keeps nothing.
type self struct{ to messages.Sink }

func (s self) Add(obj any) error { return s.Update(obj) }

func (s self) Update(obj any) error {
	node, ok := obj.(*v1.Node)
	if !ok {
		return fmt.Errorf("node watch: unexpected object %T", obj)
	}
	own := *node // the reflector's object may be shared with its source
	own.ManagedFields = nil
	s.to.Tell(nodemsg.NodeSeen{Node: &own})
	return nil
}

func (s self) Replace(list []any, _ string) error {
	for _, obj := range list {
		if err := s.Update(obj); err != nil {
			return err
		}
	}
	return nil
}

func (s self) Delete(any) error { return nil }
func (s self) Resync() error    { return nil }
