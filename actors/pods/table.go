package pods

import (
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/troupe-dev/troupe/messages/model"
)

// Table shows the node's pods, each with the newest status that this agent built, to readers outside the actors: the
// node API and the CLI. Pod actors write to it, each its own pod, and the mirror actor; nothing decides by it. It is safe for concurrent use.
//
// Which pods are in it is decided by /pods alone: a row is there from the pod's spawn to its end, and only the life that
// it was opened for writes to it. What an actor says after its end, or after it was replaced, is not shown.
type Table struct {
	mu     sync.RWMutex
	lives  map[model.UID]model.Incarnation
	byUID  map[model.UID]*v1.Pod
	byName map[types.NamespacedName]model.UID
	// mirrors finds the name of a static pod by the UID of its mirror.
	mirrors map[types.UID]types.NamespacedName
}

// NewTable makes an empty table.
func NewTable() *Table {
	return &Table{lives: map[model.UID]model.Incarnation{}, byUID: map[model.UID]*v1.Pod{}, byName: map[types.NamespacedName]model.UID{}, mirrors: map[types.UID]types.NamespacedName{}}
}

// open lets a life of a pod write to its row.
func (t *Table) open(uid model.UID, life model.Incarnation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lives[uid] = life
}

// Publish puts the newest object of a pod in place, if this is the life that the row is open for. It must not be changed
// afterwards.
func (t *Table) Publish(pod *v1.Pod, life model.Incarnation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if open, ok := t.lives[pod.UID]; !ok || open != life {
		return
	}
	t.byUID[pod.UID] = pod
	t.byName[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = pod.UID
}

// Forget takes a pod out, for good: what its actor says from now on is not taken.
func (t *Table) Forget(uid model.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.lives, uid)
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
