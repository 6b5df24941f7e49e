// Package catalog follows what pods need from the API server besides themselves and what they refer to by name: the
// services whose addresses become environment variables, and runtime classes.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Services follows all services of the cluster with one watch.
type Services struct {
	store     cache.Store
	reflector *cache.Reflector
	synced    chan struct{}
}

// NewServices makes the catalog; Run starts it. The client should speak protobuf.
func NewServices(client kubernetes.Interface) *Services {
	s := &Services{synced: make(chan struct{})}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.CoreV1().Services(metav1.NamespaceAll).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.CoreV1().Services(metav1.NamespaceAll).Watch(ctx, o)
		},
	}
	s.store = &announcing{Store: cache.NewStore(cache.MetaNamespaceKeyFunc), done: s.synced}
	s.reflector = cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, client), &v1.Service{}, s.store, cache.ReflectorOptions{Name: "services"})
	return s
}

// Run follows the services until ctx ends.
func (s *Services) Run(ctx context.Context) { s.reflector.RunWithContext(ctx) }

// patience is how long a container waits for the first list before it is told to try again.
const patience = 10 * time.Second

// Services returns what is known; it waits for the first list, because a container without KUBERNETES_SERVICE_HOST
// cannot find the API server. The objects are shared.
func (s *Services) Services(ctx context.Context) ([]*v1.Service, error) {
	select {
	case <-s.synced:
	default:
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-s.synced:
		case <-t.C:
			return nil, errors.New("services have not yet been read at least once, cannot construct envvars")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	list := s.store.List()
	out := make([]*v1.Service, 0, len(list))
	for _, o := range list {
		if svc, ok := o.(*v1.Service); ok {
			out = append(out, svc)
		}
	}
	return out, nil
}

// announcing closes done with the first full list.
type announcing struct {
	cache.Store
	done   chan struct{}
	closed bool
}

// Replace is called by the reflector's one goroutine.
func (a *announcing) Replace(list []any, version string) error {
	err := a.Store.Replace(list, version)
	if err == nil && !a.closed {
		a.closed = true
		close(a.done)
	}
	return err
}

// Classes resolves runtime classes by asking the API server: pods that name one are few.
type Classes struct{ Client kubernetes.Interface }

// Handler is the runtime handler of a class.
func (c Classes) Handler(ctx context.Context, class string) (string, error) {
	var rc *nodev1.RuntimeClass
	rc, err := c.Client.NodeV1().RuntimeClasses().Get(ctx, class, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return "", fmt.Errorf("failed to get RuntimeClass %q: %w", class, err)
	}
	return rc.Handler, nil
}
