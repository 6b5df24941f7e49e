package object

import (
	"context"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Static holds the objects it was given: a node without API server, whose objects come from files.
type Static struct {
	subscribers
	mu   sync.RWMutex
	objs map[Key]metav1.Object
}

// NewStatic returns a store without objects.
func NewStatic() *Static { return &Static{objs: map[Key]metav1.Object{}} }

// Set puts a *v1.ConfigMap or *v1.Secret in place, or replaces it, and tells the subscribers; other objects are ignored and
// false is returned. An empty namespace is "default". Of a secret, stringData becomes data, as the API server does it.
func (s *Static) Set(obj any) bool {
	k, o, ok := keyOf(obj)
	if !ok {
		return false
	}
	s.mu.Lock()
	s.objs[k] = o
	s.mu.Unlock()
	s.notify(k)
	return true
}

// Delete takes an object away and tells the subscribers.
func (s *Static) Delete(k Key) {
	s.mu.Lock()
	delete(s.objs, k)
	s.mu.Unlock()
	s.notify(k)
}

func keyOf(obj any) (Key, metav1.Object, bool) {
	switch o := obj.(type) {
	case *v1.ConfigMap:
		o = o.DeepCopy()
		o.Namespace = namespaceOf(o.Namespace)
		return Key{Kind: ConfigMap, Namespace: o.Namespace, Name: o.Name}, o, true
	case *v1.Secret:
		o = o.DeepCopy()
		o.Namespace = namespaceOf(o.Namespace)
		for k, v := range o.StringData {
			if o.Data == nil {
				o.Data = map[string][]byte{}
			}
			o.Data[k] = []byte(v)
		}
		o.StringData = nil
		return Key{Kind: Secret, Namespace: o.Namespace, Name: o.Name}, o, true
	}
	return Key{}, nil, false
}

func namespaceOf(n string) string {
	if n == "" {
		return metav1.NamespaceDefault
	}
	return n
}

// Track and Release do nothing: the objects are here anyway.
func (s *Static) Track(*v1.Pod) {}

// Release does nothing.
func (s *Static) Release(model.UID) {}

// ConfigMap returns the config map, or an error for which apierrors.IsNotFound holds.
func (s *Static) ConfigMap(_ context.Context, namespace, name string) (*v1.ConfigMap, error) {
	k := Key{Kind: ConfigMap, Namespace: namespace, Name: name}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o, ok := s.objs[k].(*v1.ConfigMap); ok {
		return o, nil
	}
	return nil, notFound(k)
}

// Secret is ConfigMap for secrets.
func (s *Static) Secret(_ context.Context, namespace, name string) (*v1.Secret, error) {
	k := Key{Kind: Secret, Namespace: namespace, Name: name}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o, ok := s.objs[k].(*v1.Secret); ok {
		return o, nil
	}
	return nil, notFound(k)
}
