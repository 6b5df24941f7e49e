package object

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// item is one followed object; the reflector writes it, readers take what it has.
type item struct {
	key     Key
	refs    int // guarded by Watched.mu
	stop    context.CancelFunc
	changed func(Key)
	synced  chan struct{} // closed with the first list

	mu     sync.Mutex
	ready  bool
	missed bool // a reader went on without us: it must hear of the first list too
	obj    metav1.Object
}

var _ cache.ReflectorStore = (*item)(nil)

// wait waits for the first list, at most FirstSync.
func (it *item) wait(ctx context.Context) bool {
	select {
	case <-it.synced:
		return true
	default:
	}
	t := time.NewTimer(FirstSync)
	defer t.Stop()
	select {
	case <-it.synced:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	it.mu.Lock()
	defer it.mu.Unlock()
	it.missed = !it.ready
	return it.ready
}

func (it *item) current() metav1.Object {
	it.mu.Lock()
	defer it.mu.Unlock()
	return it.obj
}

// put takes a new truth; nil means that there is no such object.
func (it *item) put(o metav1.Object) {
	if o != nil {
		o.SetManagedFields(nil) // nobody reads them, and they are often larger than the rest
		if immutable(o) {
			it.stop()
		}
	}
	it.mu.Lock()
	tell := it.missed
	if it.ready {
		tell = !same(it.obj, o)
	} else {
		it.ready = true
		close(it.synced)
	}
	it.obj, it.missed = o, false
	it.mu.Unlock()
	if tell {
		it.changed(it.key)
	}
}

func same(a, b metav1.Object) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.GetUID() == b.GetUID() && a.GetResourceVersion() == b.GetResourceVersion() && a.GetResourceVersion() != ""
}

func immutable(o metav1.Object) bool {
	var flag *bool
	switch o := o.(type) {
	case *v1.ConfigMap:
		flag = o.Immutable
	case *v1.Secret:
		flag = o.Immutable
	}
	return flag != nil && *flag
}

// ours drops what a server that ignores the field selector sends.
func (it *item) ours(obj any) (metav1.Object, bool) {
	o, ok := obj.(metav1.Object)
	return o, ok && o.GetName() == it.key.Name && o.GetNamespace() == it.key.Namespace
}

// Add implements cache.ReflectorStore.
func (it *item) Add(obj any) error { return it.Update(obj) }

// Update implements cache.ReflectorStore.
func (it *item) Update(obj any) error {
	if o, ok := it.ours(obj); ok {
		it.put(o)
	}
	return nil
}

// Delete implements cache.ReflectorStore.
func (it *item) Delete(obj any) error {
	if _, ok := it.ours(obj); ok {
		it.put(nil)
	}
	return nil
}

// Replace implements cache.ReflectorStore.
func (it *item) Replace(list []any, _ string) error {
	for _, obj := range list {
		if o, ok := it.ours(obj); ok {
			it.put(o)
			return nil
		}
	}
	it.put(nil)
	return nil
}

// Resync implements cache.ReflectorStore.
func (it *item) Resync() error { return nil }
