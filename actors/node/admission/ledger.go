// Package admission decides whether the node takes a pod, from a ledger of running sums: a decision costs the same
// whether ten pods run or a thousand. It is pure. The reasons and messages are those that the kubelet gives, because
// controllers and people match on them.
package admission

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"

	"github.com/troupe-dev/troupe/messages/model"
)

// Ledger is what the pods of the node have taken. The zero value is an empty one.
//
// Invariant: used is the sum over pods, and every port of a pod is in ports once.
type Ledger struct {
	pods  map[model.UID]taken
	used  amounts
	ports map[port]int
}

// amounts of resources: CPU in thousandths, everything else in its own unit.
type amounts map[v1.ResourceName]int64

type port struct {
	ip       string
	protocol v1.Protocol
	number   int32
}

type taken struct {
	pod     *v1.Pod
	amounts amounts
	ports   []port
}

// anyIP is the host address of a port that names none: it takes the port on all of them.
const anyIP = "0.0.0.0"

// Len is the number of pods in the ledger.
func (l *Ledger) Len() int { return len(l.pods) }

// Has says that the pod has its place.
func (l *Ledger) Has(uid model.UID) bool {
	_, ok := l.pods[uid]
	return ok
}

// Used is how much of a resource the pods have taken: CPU in thousandths of a core, others in their unit.
func (l *Ledger) Used(name v1.ResourceName) int64 { return l.used[name] }

// Take gives the pod its place, whatever is left. It may be repeated: the newest requests count.
func (l *Ledger) Take(pod *v1.Pod) { l.TakeBoth(pod, pod) }

// TakeBoth gives the pod its place while it changes from what the one object asks to what the other does: of each resource
// it takes the larger amount.
func (l *Ledger) TakeBoth(pod, other *v1.Pod) {
	l.Release(pod.UID)
	if l.pods == nil {
		l.pods, l.used, l.ports = map[model.UID]taken{}, amounts{}, map[port]int{}
	}
	t := taken{pod, requests(pod), hostPorts(pod)}
	if other != pod {
		for name, n := range requests(other) {
			t.amounts[name] = max(t.amounts[name], n)
		}
	}
	l.pods[pod.UID] = t
	for name, n := range t.amounts {
		l.used[name] += n
	}
	for _, p := range t.ports {
		l.ports[p]++
	}
}

// Release gives the place back. It may be repeated.
func (l *Ledger) Release(uid model.UID) {
	t, ok := l.pods[uid]
	if !ok {
		return
	}
	delete(l.pods, uid)
	for name, n := range t.amounts {
		if l.used[name] -= n; l.used[name] == 0 {
			delete(l.used, name)
		}
	}
	for _, p := range t.ports {
		if l.ports[p]--; l.ports[p] == 0 {
			delete(l.ports, p)
		}
	}
}

// conflicts says that one of the pod's host ports is taken by another pod.
func (l *Ledger) conflicts(pod *v1.Pod) bool {
	for _, want := range hostPorts(pod) {
		for have, n := range l.ports {
			if n > 0 && have.number == want.number && have.protocol == want.protocol &&
				(have.ip == want.ip || have.ip == anyIP || want.ip == anyIP) {
				return true
			}
		}
	}
	return false
}

// requests is what the pod asks for, its init containers, sidecars, pod-level resources and overhead included.
func requests(pod *v1.Pod) amounts {
	list := resource.PodRequests(pod, resource.PodResourcesOptions{})
	a := make(amounts, len(list))
	for name := range list {
		if n := amount(name, list); n != 0 {
			a[name] = n
		}
	}
	return a
}

func amount(name v1.ResourceName, list v1.ResourceList) int64 {
	q, ok := list[name]
	switch {
	case !ok:
		return 0
	case name == v1.ResourceCPU:
		return q.MilliValue()
	}
	return q.Value()
}

// hostPorts are those of containers that run as long as the pod.
func hostPorts(pod *v1.Pod) []port {
	var ports []port
	add := func(c *v1.Container) {
		for _, p := range c.Ports {
			if p.HostPort <= 0 {
				continue
			}
			have := port{p.HostIP, p.Protocol, p.HostPort}
			if have.ip == "" {
				have.ip = anyIP
			}
			if have.protocol == "" {
				have.protocol = v1.ProtocolTCP
			}
			if !slices.Contains(ports, have) {
				ports = append(ports, have)
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	return ports
}

func sorted(a amounts) []v1.ResourceName { return slices.Sorted(maps.Keys(a)) }
