package pods

import (
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/troupe-dev/troupe/messages/model"
)

// Table shows the node's pods, each with the newest status that this agent built, to readers outside the actors: the
// node API and the CLI. Pod actors write to it, each its own pod, and the mirror actor; nothing decides by it. It is safe for concurrent use.
type Table struct {
	mu     sync.RWMutex
	byUID  map[model.UID]*v1.Pod
	byName map[types.NamespacedName]model.UID
	// mirrors finds the name of a static pod by the UID of its mirror.
	mirrors map[types.UID]types.NamespacedName
}

// NewTable makes an empty table.
func NewTable() *Table {
	return &Table{byUID: map[model.UID]*v1.Pod{}, byName: map[types.NamespacedName]model.UID{}, mirrors: map[types.UID]types.NamespacedName{}}
}

// Publish puts the newest object of a pod in place. It must not be changed afterwards.
func (t *Table) Publish(pod *v1.Pod) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byUID[pod.UID] = pod
	t.byName[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = pod.UID
}

// Forget takes a pod out.
func (t *Table) Forget(uid model.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if pod := t.byUID[uid]; pod != nil {
		delete(t.byUID, uid)
		if key := (types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}); t.byName[key] == uid {
			delete(t.byName, key)
		}
	}
}

// List returns all pods, in no order. The objects are shared.
func (t *Table) List() []*v1.Pod {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]*v1.Pod, 0, len(t.byUID))
	for _, pod := range t.byUID {
		out = append(out, pod)
	}
	return out
}

// Get returns the newest pod of a name. The object is shared.
func (t *Table) Get(namespace, name string) (*v1.Pod, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	pod := t.byUID[t.byName[types.NamespacedName{Namespace: namespace, Name: name}]]
	return pod, pod != nil
}

// ByUID returns the pod of a UID; the UID of a mirror finds its static pod. The object is shared.
func (t *Table) ByUID(uid types.UID) (*v1.Pod, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	pod := t.byUID[uid]
	if pod == nil {
		if name, ok := t.mirrors[uid]; ok {
			pod = t.byUID[t.byName[name]]
		}
	}
	return pod, pod != nil
}

// Mirrored says that the API server shows a static pod under another UID.
func (t *Table) Mirrored(uid types.UID, namespace, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mirrors[uid] = types.NamespacedName{Namespace: namespace, Name: name}
}

// Unmirrored says that it no longer does.
func (t *Table) Unmirrored(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.mirrors, uid)
}
