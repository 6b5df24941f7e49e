package pods

import (
	"encoding/json"
	"strconv"
	"sync/atomic"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// stranger makes a pod object from what the runtime shows: enough to end it as its owner would have wished (grace and
// preStop hooks are in the annotations).
func stranger(seen model.PodObserved) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: seen.UID, Name: seen.Name, Namespace: seen.Namespace}}
	p.Spec.RestartPolicy = v1.RestartPolicyNever
	known := map[string]bool{}
	for i := range seen.Containers {
		c := &seen.Containers[i]
		if known[c.Name] || c.Name == "" {
			continue
		}
		known[c.Name] = true
		spec := v1.Container{Name: c.Name, Image: c.Image}
		if raw := c.Annotations["io.kubernetes.container.preStopHandler"]; raw != "" {
			var h v1.LifecycleHandler
			if json.Unmarshal([]byte(raw), &h) == nil {
				spec.Lifecycle = &v1.Lifecycle{PreStop: &h}
			}
		}
		for _, key := range []string{"io.kubernetes.pod.deletionGracePeriod", "io.kubernetes.pod.terminationGracePeriod"} {
			if g, err := strconv.ParseInt(c.Annotations[key], 10, 64); err == nil && p.Spec.TerminationGracePeriodSeconds == nil {
				p.Spec.TerminationGracePeriodSeconds = &g
			}
		}
		p.Spec.Containers = append(p.Spec.Containers, spec)
	}
	return p
}

// latest is the newest object of a pod; a rebuilt actor reads it from its own goroutine.
type latest struct{ p atomic.Pointer[v1.Pod] }

func newLatest(pod *v1.Pod) *latest {
	l := &latest{}
	l.p.Store(pod)
	return l
}

func (l *latest) set(pod *v1.Pod) { l.p.Store(pod) }
func (l *latest) get() *v1.Pod    { return l.p.Load() }
