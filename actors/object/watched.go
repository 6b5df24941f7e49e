package object

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages/model"
)

// Constants of the kubelet's watch-based store (pkg/kubelet/util/manager).
const (
	// FirstSync is how long a reader waits for a watch that has just been started, before it asks the API server itself.
	FirstSync = time.Second
	// minWatch keeps watches open long, so that an idle node seldom renews them.
	minWatch = 30 * time.Minute
)

// Protobuf returns a copy of cfg whose clients speak protobuf, which costs a fraction of JSON.
func Protobuf(cfg *rest.Config) *rest.Config {
	out := rest.CopyConfig(cfg)
	out.ContentType = runtime.ContentTypeProtobuf
	out.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return out
}

// Watched follows every object that a tracked pod refers to with one list-watch, however many pods share it. The first
// reference starts it, the last one's end or an object that says it is immutable stops it. All methods are safe for
// concurrent use; only ConfigMap and Secret may wait.
type Watched struct {
	subscribers
	client kubernetes.Interface
	log    klog.Logger

	mu    sync.Mutex
	pods  map[model.UID][]Key
	items map[Key]*item
}

// NewWatched returns an empty store. The client should speak protobuf (see Protobuf).
func NewWatched(client kubernetes.Interface, log klog.Logger) *Watched {
	return &Watched{client: client, log: log, pods: map[model.UID][]Key{}, items: map[Key]*item{}}
}

// Track follows what the pod refers to, instead of what an earlier object with the same UID referred to.
func (w *Watched) Track(pod *v1.Pod) {
	keys := Refs(pod)
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.pods[pod.UID]
	if slices.Equal(old, keys) {
		return
	}
	for _, k := range keys { // first take, then let go: a watch that stays is not started anew
		it := w.items[k]
		if it == nil {
			it = w.start(k)
		}
		it.refs++
	}
	w.release(old)
	if len(keys) == 0 {
		delete(w.pods, pod.UID)
		return
	}
	w.pods[pod.UID] = keys
}

// Release lets go of everything that the pod referred to.
func (w *Watched) Release(uid model.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.release(w.pods[uid])
	delete(w.pods, uid)
}

func (w *Watched) release(keys []Key) {
	for _, k := range keys {
		it := w.items[k]
		if it.refs--; it.refs == 0 {
			it.stop()
			delete(w.items, k)
		}
	}
}

// Watches counts the objects that are followed, for inspection.
func (w *Watched) Watches() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.items)
}

// Close stops every watch. What was read stays readable.
func (w *Watched) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, it := range w.items {
		it.stop()
	}
}

// ConfigMap returns the config map as the watch has it. It waits for a watch that is new, at most FirstSync, and then asks
// the API server; an object that no tracked pod refers to is always asked for.
func (w *Watched) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	o, err := w.get(ctx, Key{Kind: ConfigMap, Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	return o.(*v1.ConfigMap), nil
}

// Secret is ConfigMap for secrets.
func (w *Watched) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	o, err := w.get(ctx, Key{Kind: Secret, Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	return o.(*v1.Secret), nil
}

func (w *Watched) get(ctx context.Context, k Key) (metav1.Object, error) {
	w.mu.Lock()
	it := w.items[k]
	w.mu.Unlock()
	if it == nil {
		return live(ctx, w.client, k, "")
	}
	if !it.wait(ctx) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("wait for %s %s/%s: %w", k.Kind, k.Namespace, k.Name, err)
		}
		return live(ctx, w.client, k, "")
	}
	if o := it.current(); o != nil {
		return o, nil
	}
	return nil, notFound(k)
}

// start makes the watch of one object; w.mu is held.
func (w *Watched) start(k Key) *item {
	ctx, cancel := context.WithCancel(context.Background())
	it := &item{key: k, stop: cancel, synced: make(chan struct{}), changed: w.notify}
	w.items[k] = it
	var example runtime.Object = &v1.ConfigMap{}
	if k.Kind == Secret {
		example = &v1.Secret{}
	}
	r := cache.NewReflectorWithOptions(w.listWatch(k), example, it, cache.ReflectorOptions{
		Logger: &w.log, Name: k.Kind.String() + " " + k.Namespace + "/" + k.Name, MinWatchTimeout: minWatch,
	})
	go r.RunWithContext(ctx)
	return it
}

// listWatch asks for one object by name: the Node authorizer refuses anything wider.
func (w *Watched) listWatch(k Key) cache.ListerWatcher {
	sel := fields.OneTermEqualSelector(metav1.ObjectNameField, k.Name).String()
	core := w.client.CoreV1()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = sel
			if k.Kind == Secret {
				return core.Secrets(k.Namespace).List(ctx, o)
			}
			return core.ConfigMaps(k.Namespace).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = sel
			if k.Kind == Secret {
				return core.Secrets(k.Namespace).Watch(ctx, o)
			}
			return core.ConfigMaps(k.Namespace).Watch(ctx, o)
		},
	}
	return cache.ToListWatcherWithWatchListSemantics(lw, w.client)
}

// live reads the object from the API server. version "0" allows its cache.
func live(ctx context.Context, client kubernetes.Interface, k Key, version string) (metav1.Object, error) {
	opts := metav1.GetOptions{ResourceVersion: version}
	var o metav1.Object
	var err error
	if k.Kind == Secret {
		o, err = client.CoreV1().Secrets(k.Namespace).Get(ctx, k.Name, opts)
	} else {
		o, err = client.CoreV1().ConfigMaps(k.Namespace).Get(ctx, k.Name, opts)
	}
	if apierrors.IsNotFound(err) {
		return nil, notFound(k) // one text, whoever found out
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}
