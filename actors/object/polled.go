package object

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/troupe-dev/troupe/messages/model"
)

// DefaultTTL is how old a copy may be under the Cache strategy when the node object does not say otherwise
// (annotation node.alpha.kubernetes.io/ttl, in seconds).
const DefaultTTL = time.Minute

// Polled is the Cache and Get strategies of configMapAndSecretChangeDetectionStrategy: nothing is told of changes, so
// whoever fills volumes from it has to look again by himself.
type Polled struct {
	subscribers // nobody is ever told
	client      kubernetes.Interface
	ttl         func() time.Duration

	mu    sync.Mutex
	pods  map[model.UID][]Key
	items map[Key]*copied
}

type copied struct {
	refs int // guarded by Polled.mu

	mu  sync.Mutex // held while asking: readers of one object share the answer
	obj metav1.Object
	err error
	at  time.Time
}

// NewPolled returns a store whose copies live for ttl, which is asked each time and must not block. A nil ttl keeps
// nothing (strategy Get).
func NewPolled(client kubernetes.Interface, ttl func() time.Duration) *Polled {
	return &Polled{client: client, ttl: ttl, pods: map[model.UID][]Key{}, items: map[Key]*copied{}}
}

// Track keeps copies of what the pod refers to; for a pod that is new the next read asks again.
func (p *Polled) Track(pod *v1.Pod) {
	keys := Refs(pod)
	p.mu.Lock()
	defer p.mu.Unlock()
	old, known := p.pods[pod.UID]
	for _, k := range keys {
		it := p.items[k]
		if it == nil || !known {
			refs := 0
			if it != nil {
				refs = it.refs
			}
			it = &copied{refs: refs}
			p.items[k] = it
		}
		it.refs++
	}
	p.release(old)
	p.pods[pod.UID] = keys
}

// Release lets go of everything that the pod referred to.
func (p *Polled) Release(uid model.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(p.pods[uid])
	delete(p.pods, uid)
}

func (p *Polled) release(keys []Key) {
	for _, k := range keys {
		if it := p.items[k]; it != nil {
			if it.refs--; it.refs == 0 {
				delete(p.items, k)
			}
		}
	}
}

// ConfigMap returns a copy that is young enough, or asks the API server.
func (p *Polled) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	o, err := p.get(ctx, Key{Kind: ConfigMap, Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	return o.(*v1.ConfigMap), nil
}

// Secret is ConfigMap for secrets.
func (p *Polled) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	o, err := p.get(ctx, Key{Kind: Secret, Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	return o.(*v1.Secret), nil
}

func (p *Polled) get(ctx context.Context, k Key) (metav1.Object, error) {
	p.mu.Lock()
	it := p.items[k]
	p.mu.Unlock()
	if it == nil || p.ttl == nil {
		return live(ctx, p.client, k, "")
	}
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.err == nil && it.obj != nil && time.Since(it.at) < p.ttl() {
		return it.obj, nil
	}
	version := ""
	if it.obj != nil && it.err == nil {
		version = "0" // a refresh may come from the server's cache
	}
	o, err := live(ctx, p.client, k, version)
	switch {
	case err == nil || apierrors.IsNotFound(err):
		it.obj, it.err, it.at = o, err, time.Now()
	case it.obj != nil:
		return it.obj, nil // the server is away: the old copy is better than none
	}
	return o, err
}
