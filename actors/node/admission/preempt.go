package admission

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/kubectl/pkg/util/qos"
)

// Victims chooses the pods that have to end so that pod gets what it is short of (the algorithm is the kubelet's:
// pkg/kubelet/preemption). As few guaranteed pods as possible go first of all, then as few burstable ones, then as few
// best-effort ones. An error says that all of them together do not have enough.
func (l *Ledger) Victims(pod *v1.Pod, short []Shortage) ([]*v1.Pod, error) {
	var classes [3][]victim // best-effort, burstable, guaranteed
	for uid, t := range l.pods {
		if uid == pod.UID || !preemptable(pod, t.pod) {
			continue
		}
		i := slices.Index([]v1.PodQOSClass{v1.PodQOSBestEffort, v1.PodQOSBurstable, v1.PodQOSGuaranteed}, classOf(t.pod))
		if i >= 0 {
			classes[i] = append(classes[i], victim{t.pod, t.amounts})
		}
	}
	for _, c := range classes {
		// The choice does not depend on the order of the map.
		slices.SortFunc(c, func(a, b victim) int { return cmp.Compare(a.pod.UID, b.pod.UID) })
	}
	best, burst, guaranteed := classes[0], classes[1], classes[2]
	lack := lacks(short)
	if left := lack.without(best, burst, guaranteed); len(left) > 0 {
		return nil, fmt.Errorf("preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: %s", left)
	}
	fromGuaranteed := lack.without(best, burst).choose(guaranteed)
	fromBurst := lack.without(best, fromGuaranteed).choose(burst)
	fromBest := lack.without(fromBurst, fromGuaranteed).choose(best)
	var out []*v1.Pod
	for _, v := range slices.Concat(fromBest, fromBurst, fromGuaranteed) {
		out = append(out, v.pod)
	}
	return out, nil
}

type victim struct {
	pod  *v1.Pod
	have amounts
}

// frees is how much of a resource the end of the pod gives back.
func (v victim) frees(name v1.ResourceName) int64 {
	if name == v1.ResourcePods {
		return 1
	}
	return v.have[name]
}

// smaller orders by memory, then by CPU.
func (v victim) smaller(w victim) bool {
	if a, b := v.have[v1.ResourceMemory], w.have[v1.ResourceMemory]; a != b {
		return a < b
	}
	return v.have[v1.ResourceCPU] < w.have[v1.ResourceCPU]
}

// lack is what there is still too little of.
type lack []need

type need struct {
	name v1.ResourceName
	much int64 // > 0
}

func lacks(short []Shortage) lack {
	var out lack
	for _, s := range short {
		out = append(out, need{s.Resource, s.Requested - (s.Capacity - s.Used)})
	}
	return out
}

// without is what is lacking still when these pods have ended.
func (l lack) without(groups ...[]victim) lack {
	var out lack
	for _, n := range l {
		for _, v := range slices.Concat(groups...) {
			n.much -= v.frees(n.name)
		}
		if n.much > 0 {
			out = append(out, n)
		}
	}
	return out
}

// choose takes pods until nothing is lacking: each time the one that comes closest to it, of two equal ones the smaller.
func (l lack) choose(from []victim) []victim {
	from = slices.Clone(from)
	var out []victim
	for len(l) > 0 && len(from) > 0 {
		nearest, at := math.Inf(1), 0
		for i, v := range from {
			if d := l.distance(v); d < nearest || d == nearest && v.smaller(from[at]) {
				nearest, at = d, i
			}
		}
		out = append(out, from[at])
		l = l.without(from[at : at+1])
		from = slices.Delete(from, at, at+1)
	}
	return out
}

// distance is how far the pod's end is from what is lacking: each resource counts by the fraction of it that stays.
func (l lack) distance(v victim) float64 {
	var d float64
	for _, n := range l {
		if left := float64(n.much - v.frees(n.name)); left > 0 {
			d += (left / float64(n.much)) * (left / float64(n.much))
		}
	}
	return d
}

// String is the kubelet's wording.
func (l lack) String() string {
	var b strings.Builder
	b.WriteString("[")
	for _, n := range l {
		fmt.Fprintf(&b, "(res: %v, q: %d), ", n.name, n.much)
	}
	b.WriteString("]")
	return b.String()
}

func classOf(pod *v1.Pod) v1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	return qos.GetPodQOS(pod)
}

// preemptable says whether one pod may take the place of another.
func preemptable(by, pod *v1.Pod) bool {
	if Critical(by) && !Critical(pod) {
		return true
	}
	return by.Spec.Priority != nil && pod.Spec.Priority != nil && *by.Spec.Priority > *pod.Spec.Priority
}
