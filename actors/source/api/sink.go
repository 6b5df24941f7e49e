package api

import (
	"fmt"
	"maps"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/messages/sourcemsg"
	"github.com/troupe-dev/troupe/messages/statusmsg"
)

// sink is the reflector's store. The reflector calls it from one goroutine; the lock is for resend, which another calls.
// What it sends are its own copies of the objects' heads (the rest is shared) and is not changed afterwards.
type sink struct {
	deps   Deps
	now    func() time.Time
	mu     sync.Mutex
	pods   map[key]*v1.Pod
	synced bool
}

type key struct{ namespace, name string }

func newSink(deps Deps, now func() time.Time) *sink {
	return &sink{deps: deps, now: now, pods: map[key]*v1.Pod{}}
}

// Transformer lets the reflector drop what nobody reads before it buffers an initial list.
func (s *sink) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		if pod, ok := obj.(*v1.Pod); ok {
			return bare(pod), nil
		}
		return obj, nil
	}
}

func (s *sink) Add(obj any) error    { return s.Update(obj) }
func (s *sink) Resync() error        { return nil }
func (s *sink) Delete(obj any) error { return s.each(obj, s.remove) }
func (s *sink) Update(obj any) error { return s.each(obj, s.put) }

// Replace is a whole list: what is not in it is gone. The first one completes the source.
func (s *sink) Replace(list []any, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	present := make(map[key]struct{}, len(list))
	for _, obj := range list {
		if err := each(obj, func(pod *v1.Pod) { present[keyOf(pod)] = struct{}{} }); err != nil {
			return err
		}
	}
	for k, pod := range s.pods {
		if _, ok := present[k]; !ok {
			s.remove(pod)
		}
	}
	for _, obj := range list {
		s.put(obj.(*v1.Pod))
	}
	if !s.synced {
		s.synced = true
		s.deps.Pods.Tell(podsmsg.SourceSynced{Source: Name})
	}
	return nil
}

// resend delivers everything again, to a receiver that has forgotten it.
func (s *sink) resend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pod := range s.pods {
		s.deps.Status.Tell(statusmsg.Seen{Pod: pod})
		if podchange.IsMirror(pod) {
			s.deps.Mirrors.Tell(sourcemsg.MirrorSeen{Pod: pod})
		} else {
			s.deps.Pods.Tell(podsmsg.Assigned{Source: Name, Pod: pod})
		}
	}
	if s.synced {
		s.deps.Pods.Tell(podsmsg.SourceSynced{Source: Name})
	}
}

func (s *sink) each(obj any, do func(*v1.Pod)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return each(obj, do)
}

func each(obj any, do func(*v1.Pod)) error {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	pod, ok := obj.(*v1.Pod)
	if !ok {
		return fmt.Errorf("pod source: unexpected object %T", obj)
	}
	do(pod)
	return nil
}

func (s *sink) put(pod *v1.Pod) {
	old := s.pods[keyOf(pod)]
	if old != nil && old.UID == pod.UID && old.ResourceVersion == pod.ResourceVersion {
		return // a list that repeats what the watch has brought
	}
	pod = bare(pod)
	if old != nil && old.UID != pod.UID {
		// Recreated under its name while nobody watched: another pod.
		s.remove(old)
		old = nil
	}
	s.pods[keyOf(pod)] = pod
	if podchange.IsMirror(pod) {
		s.deps.Mirrors.Tell(sourcemsg.MirrorSeen{Pod: pod})
		s.deps.Status.Tell(statusmsg.Seen{Pod: pod})
		return
	}
	seen := ""
	if old != nil {
		seen = old.Annotations[podchange.ConfigSeen]
	}
	if seen == "" {
		seen = s.now().Format(time.RFC3339Nano)
	}
	pod.Annotations = maps.Clone(pod.Annotations)
	podchange.Mark(&pod.ObjectMeta, Name, seen)
	// The status actor hears of it first: a pod that publishes because of this object must not be compared with an
	// older one.
	s.deps.Status.Tell(statusmsg.Seen{Pod: pod})
	s.deps.Pods.Tell(podsmsg.Assigned{Source: Name, Pod: pod, StatusOnly: old != nil && podchange.StatusOnly(old, pod)})
}

// bare is the object without its field owners, which nobody reads and which are often larger than the rest.
func bare(pod *v1.Pod) *v1.Pod {
	own := *pod
	own.ManagedFields = nil
	return &own
}

// remove takes the object with this UID out; a late delete of an earlier pod of the name changes nothing.
func (s *sink) remove(pod *v1.Pod) {
	k := keyOf(pod)
	have := s.pods[k]
	if have == nil || have.UID != pod.UID {
		return
	}
	delete(s.pods, k)
	if podchange.IsMirror(have) {
		s.deps.Mirrors.Tell(sourcemsg.MirrorGone{Namespace: k.namespace, Name: k.name, UID: have.UID})
	} else {
		s.deps.Pods.Tell(podsmsg.Removed{Source: Name, UID: have.UID})
	}
	s.deps.Status.Tell(statusmsg.Gone{UID: have.UID})
}

func keyOf(pod *v1.Pod) key { return key{pod.Namespace, pod.Name} }
