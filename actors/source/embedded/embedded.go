// Package embedded is the source of pods that are given in memory, with no API server behind them: `troupe run` and the
// bench. It stands in for the parts of an API server that a node relies on: it keeps the newest status, and an object
// that was asked to end stays until the node says that it has ended.
package embedded

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/actors/source/poddefaults"
	"github.com/troupe-dev/troupe/actors/source/podvalidate"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/messages/statusmsg"
)

// Name is the name of this source in podsmsg.
const Name = "embedded"

// Deps are the parties that the source talks to.
type Deps struct {
	// Pods receives podsmsg.Assigned, Removed and SourceSynced; Status receives statusmsg.Gone (nil: nobody).
	Pods, Status messages.Sink
	// Changed is called after each change of a pod's status, and with gone when the pod has left. It must not block and
	// must not call the source. May be nil.
	Changed func(pod *v1.Pod, gone bool)
}

// Config of the source.
type Config struct {
	NodeName string
}

// Source holds the pods. All methods may be called from any goroutine. Pods that it returns or sends are not changed
// afterwards.
type Source struct {
	deps    Deps
	config  Config
	mu      sync.Mutex
	pods    map[model.UID]*v1.Pod
	version uint64
	synced  bool
}

// New makes an empty source. Synced has to be called once the pods of the start have been added.
func New(deps Deps, config Config) *Source {
	if deps.Status == nil {
		deps.Status = messages.Nowhere
	}
	return &Source{deps: deps, config: config, pods: map[model.UID]*v1.Pod{}}
}

// Synced says that everything that the node had at start has been added.
func (s *Source) Synced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = true
	s.deps.Pods.Tell(podsmsg.SourceSynced{Source: Name})
}

// Resend delivers everything again, to a receiver that has forgotten it. It does not block for long.
func (s *Source) Resend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pod := range s.pods {
		s.deps.Pods.Tell(podsmsg.Assigned{Source: Name, Pod: pod})
	}
	if s.synced {
		s.deps.Pods.Tell(podsmsg.SourceSynced{Source: Name})
	}
}

// Add gives the node a pod. The pod is copied, completed and checked; the copy that the node got is returned. A pod
// without a UID gets a random one. Adding a UID again replaces its spec and metadata.
func (s *Source) Add(pod *v1.Pod) (*v1.Pod, error) {
	pod = pod.DeepCopy()
	if pod.Namespace == "" {
		pod.Namespace = metav1.NamespaceDefault
	}
	if pod.UID == "" {
		pod.UID = uuid.NewUUID()
	}
	pod.Spec.NodeName = s.config.NodeName
	poddefaults.Apply(pod)
	if faults := podvalidate.Pod(pod); len(faults) > 0 {
		return nil, fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, faults.ToAggregate())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := metav1.Now()
	if old := s.pods[pod.UID]; old != nil {
		pod.CreationTimestamp, pod.Generation, pod.Status = old.CreationTimestamp, old.Generation+1, old.Status
		podchange.Mark(&pod.ObjectMeta, Name, old.Annotations[podchange.ConfigSeen])
	} else {
		for _, other := range s.pods {
			if other.Namespace == pod.Namespace && other.Name == pod.Name {
				return nil, fmt.Errorf("pod %s/%s exists already", pod.Namespace, pod.Name)
			}
		}
		pod.CreationTimestamp, pod.Generation = now, 1
		podchange.Mark(&pod.ObjectMeta, Name, now.Format(time.RFC3339Nano))
	}
	s.put(pod)
	s.deps.Pods.Tell(podsmsg.Assigned{Source: Name, Pod: pod})
	return pod, nil
}

// Delete asks the pod to end. grace is in seconds; nil takes the spec's. The pod leaves when the node has ended it. A
// second Delete can only shorten the grace. It says whether the pod is known.
func (s *Source) Delete(uid model.UID, grace *int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.pods[uid]
	if old == nil {
		return false
	}
	seconds := int64(v1.DefaultTerminationGracePeriodSeconds)
	if p := old.Spec.TerminationGracePeriodSeconds; p != nil {
		seconds = *p
	}
	if grace != nil {
		seconds = *grace
	}
	if old.DeletionTimestamp != nil && (old.DeletionGracePeriodSeconds == nil || *old.DeletionGracePeriodSeconds <= seconds) {
		return true
	}
	pod := old.DeepCopy()
	when := metav1.NewTime(time.Now().Add(time.Duration(seconds) * time.Second))
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &when, &seconds
	pod.Generation++
	s.put(pod)
	s.deps.Pods.Tell(podsmsg.Assigned{Source: Name, Pod: pod})
	return true
}

// Remove takes the pod away at once, as a forced delete does: the node ends what still runs of it. It says whether the
// pod was known.
func (s *Source) Remove(uid model.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pod := s.pods[uid]
	if pod == nil {
		return false
	}
	delete(s.pods, uid)
	s.deps.Pods.Tell(podsmsg.Removed{Source: Name, UID: uid})
	s.deps.Status.Tell(statusmsg.Gone{UID: uid})
	s.changed(pod, true)
	return true
}

// List returns the pods, with their newest status, by namespace and name.
func (s *Source) List() []*v1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*v1.Pod, 0, len(s.pods))
	for _, pod := range s.pods {
		list = append(list, pod)
	}
	slices.SortFunc(list, func(a, b *v1.Pod) int {
		if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// Get returns the pod with its newest status, nil when it is not here.
func (s *Source) Get(uid model.UID) *v1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods[uid]
}

// Tell takes what the status actor has for a node without an API server: statusmsg.Publish becomes the pod's status and
// statusmsg.Delete its removal. Other messages are ignored.
func (s *Source) Tell(msg any) {
	switch m := msg.(type) {
	case statusmsg.Publish:
		s.publish(m.Pod.UID, m.Status)
	case statusmsg.Delete:
		s.Remove(m.Pod.UID)
	}
}

func (s *Source) publish(uid model.UID, status v1.PodStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.pods[uid]
	if old == nil {
		return
	}
	pod := *old // spec and metadata stay shared: nobody changes them
	pod.Status = status
	s.put(&pod)
	s.changed(&pod, false)
}

func (s *Source) put(pod *v1.Pod) {
	s.version++
	pod.ResourceVersion = strconv.FormatUint(s.version, 10)
	s.pods[pod.UID] = pod
}

func (s *Source) changed(pod *v1.Pod, gone bool) {
	if s.deps.Changed != nil {
		s.deps.Changed(pod, gone)
	}
}
