package admission

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/cgroups"
)

// Refusal is a no: Reason and Message as the pod's status shows them (Message without its prefix).
type Refusal struct {
	Reason, Message string
	// Short lists what there was not enough of, when nothing else stood against the pod: a critical pod may take it
	// from others.
	Short []Shortage
}

// Shortage is one resource of which the node has not enough left.
type Shortage struct {
	Resource                  v1.ResourceName
	Requested, Used, Capacity int64
}

// MessagePrefix begins the status message of every refused pod.
const MessagePrefix = "Pod was rejected: "

// The reasons for refusals (the kubelet's own names).
const (
	OutOfPrefix                          = "OutOf"
	NodeAffinity                         = "NodeAffinity"
	NodeName                             = "NodeName"
	NodePorts                            = "NodePorts"
	TaintToleration                      = "TaintToleration"
	PodOSSelectorNodeLabelDoesNotMatch   = "PodOSSelectorNodeLabelDoesNotMatch"
	PodOSNotSupported                    = "PodOSNotSupported"
	SupplementalGroupsPolicyNotSupported = "SupplementalGroupsPolicyNotSupported"
	InvalidNodeInfo                      = "InvalidNodeInfo"
	UnexpectedAdmissionError             = "UnexpectedAdmissionError"
	SysctlForbidden                      = "SysctlForbidden"
	AppArmor                             = "AppArmor"
)

// Node is what the decision needs to know of the node.
type Node struct {
	// Object has the newest labels, taints and features; nil refuses everything with InvalidNodeInfo.
	Object *v1.Node
	// Allocatable is what pods may take; "pods" among it.
	Allocatable v1.ResourceList
	Sysctls     Sysctls
	// AppArmor says that the host enforces AppArmor profiles.
	AppArmor bool
	Features Features
}

const goos = "linux"

// Check says why the pod cannot have a place, nil when it can. A pod that has its place already is not counted twice.
func (l *Ledger) Check(pod *v1.Pod, node Node) *Refusal {
	if r := node.Sysctls.Check(pod); r != nil {
		return r
	}
	if node.Object == nil {
		return &Refusal{Reason: InvalidNodeInfo, Message: "Kubelet cannot get node info."}
	}
	if r := checkOS(pod); r != nil {
		return r
	}
	if r := checkGroups(pod, node.Object); r != nil {
		return r
	}
	if r := l.checkPlace(pod, node); r != nil {
		return r
	}
	if !node.AppArmor && pod.Status.Phase == v1.PodPending && wantsAppArmor(pod) {
		return &Refusal{Reason: AppArmor, Message: "Cannot enforce AppArmor: AppArmor is not enabled on the host"}
	}
	return node.Features.Check(pod)
}

// checkPlace finds everything that stands against the pod; the first is the reason that is told.
func (l *Ledger) checkPlace(pod *v1.Pod, node Node) *Refusal {
	short := l.shortages(pod, node.Allocatable)
	var other *Refusal
	against := func(predicate, why string) {
		if other == nil {
			other = &Refusal{Reason: predicate, Message: fmt.Sprintf("Predicate %s failed: %s", predicate, why)}
		}
	}
	if ok, _ := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node.Object); !ok {
		against(NodeAffinity, "node(s) didn't match Pod's node affinity/selector")
	}
	if pod.Spec.NodeName != "" && pod.Spec.NodeName != node.Object.Name {
		against(NodeName, "node(s) didn't match the requested node name")
	}
	if !l.Has(pod.UID) && l.conflicts(pod) {
		against(NodePorts, "node(s) didn't have free ports for the requested pod ports")
	}
	if !cgroups.Static(pod) && untolerated(pod, node.Object) {
		against(TaintToleration, "node(s) had taints that the pod didn't tolerate")
	}
	switch {
	case other != nil && Critical(pod):
		return other // what it is short of would not refuse it
	case len(short) > 0:
		s := short[0]
		r := &Refusal{Reason: OutOfPrefix + string(s.Resource), Message: s.String()}
		if other == nil {
			r.Short = short
		}
		return r
	case other != nil:
		return other
	}
	return nil
}

// String is the kubelet's wording of a shortage.
func (s Shortage) String() string {
	return fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", s.Resource, s.Requested, s.Used, s.Capacity)
}

func (l *Ledger) shortages(pod *v1.Pod, allocatable v1.ResourceList) []Shortage {
	own := l.pods[pod.UID]
	pods := int64(l.Len())
	if l.Has(pod.UID) {
		pods--
	}
	var short []Shortage
	if room := amount(v1.ResourcePods, allocatable); pods+1 > room {
		short = append(short, Shortage{v1.ResourcePods, 1, pods, room})
	}
	want := requests(pod)
	check := func(name v1.ResourceName) {
		n := want[name]
		used, room := l.used[name]-own.amounts[name], amount(name, allocatable)
		if n > 0 && n > room-used {
			short = append(short, Shortage{name, n, used, room})
		}
	}
	first := []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage}
	for _, name := range first {
		check(name)
	}
	for _, name := range sorted(want) {
		switch name {
		case v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage, v1.ResourcePods:
			continue
		}
		if _, known := allocatable[name]; !known && isExtended(name) {
			continue // a cluster-wide resource, or one that a claim stands for: not the node's to count
		}
		check(name)
	}
	return short
}

func isExtended(name v1.ResourceName) bool {
	s := string(name)
	return strings.Contains(s, "/") && !strings.Contains(s, v1.ResourceDefaultNamespacePrefix) && !strings.HasPrefix(s, v1.DefaultResourceRequestsPrefix)
}

func checkOS(pod *v1.Pod) *Refusal {
	if want, ok := pod.Labels[v1.LabelOSStable]; ok && want != goos {
		return &Refusal{Reason: PodOSSelectorNodeLabelDoesNotMatch, Message: "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"}
	}
	if pod.Spec.OS != nil && pod.Spec.OS.Name != goos {
		return &Refusal{Reason: PodOSNotSupported, Message: "Failed to admit pod as the OS field doesn't match node OS"}
	}
	return nil
}

func checkGroups(pod *v1.Pod, node *v1.Node) *Refusal {
	sc := pod.Spec.SecurityContext
	if sc == nil || sc.SupplementalGroupsPolicy == nil || *sc.SupplementalGroupsPolicy != v1.SupplementalGroupsPolicyStrict {
		return nil
	}
	if f := node.Status.Features; f != nil && f.SupplementalGroupsPolicy != nil && *f.SupplementalGroupsPolicy {
		return nil
	}
	return &Refusal{Reason: SupplementalGroupsPolicyNotSupported, Message: "SupplementalGroupsPolicy=Strict is not supported in this node"}
}

func untolerated(pod *v1.Pod, node *v1.Node) bool {
	_, found := corev1.FindMatchingUntoleratedTaint(klog.Logger{}, node.Spec.Taints, pod.Spec.Tolerations, func(t *v1.Taint) bool {
		return t.Effect == v1.TaintEffectNoExecute // the others are the scheduler's
	}, false)
	return found
}

func wantsAppArmor(pod *v1.Pod) bool {
	wants := func(p *v1.AppArmorProfile) bool { return p != nil && p.Type != v1.AppArmorProfileTypeUnconfined }
	if sc := pod.Spec.SecurityContext; sc != nil && wants(sc.AppArmorProfile) {
		return true
	}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if sc := list[i].SecurityContext; sc != nil && wants(sc.AppArmorProfile) {
				return true
			}
		}
	}
	return false
}

// Critical says that a pod may take the place of others: static pods, and those of a system priority.
func Critical(pod *v1.Pod) bool { return cgroups.Critical(pod) }
