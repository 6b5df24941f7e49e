// Package podstatus computes the API status of a pod from its plan's state: phase, conditions, container statuses. It
// is pure. Phases and conditions follow the kubelet's rules; the terminal phase sticks, conditions that others own are
// kept, and a phase is never "Unknown" because something could not be looked at: the last status stays.
package podstatus

import (
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubectl/pkg/util/qos"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// Node is what a status says of the node.
type Node struct {
	HostIPs []string // primary first
	// RuntimeName is the scheme of container ids, e.g. containerd.
	RuntimeName string
	// RecursiveReadOnly has the runtime handlers that can make mounts recursively read-only; nil before the runtime has said.
	RecursiveReadOnly map[string]bool
}

// Build computes the status. previous is what was built before (or the API's status at first); its transition times and
// sticky facts carry over. now is in the resolution of the API: whole seconds.
func Build(s *podplan.State, node Node, previous *v1.PodStatus, now time.Time) v1.PodStatus {
	pod := shown(s, previous)
	b := builder{s: s, pod: pod, node: node, prev: previous, now: metav1.NewTime(now.Truncate(time.Second))}
	if s.End != nil && s.End.Why == podplan.EndRefused {
		return b.refused()
	}
	out := v1.PodStatus{
		ObservedGeneration:          pod.Generation,
		QOSClass:                    qosOf(pod, previous),
		NominatedNodeName:           pod.Status.NominatedNodeName,
		ResourceClaimStatuses:       pod.Status.ResourceClaimStatuses,
		ExtendedResourceClaimStatus: pod.Status.ExtendedResourceClaimStatus,
		Resize:                      pod.Status.Resize,
	}
	if previous.StartTime != nil {
		out.StartTime = previous.StartTime // it never moves
	} else if !s.StartTime.IsZero() {
		t := metav1.NewTime(s.StartTime.Truncate(time.Second))
		out.StartTime = &t
	}
	b.ended = s.End != nil && podplan.StageOf(s) >= podplan.Ended
	if out.StartTime == nil && s.End != nil {
		out.StartTime = &b.now // it ends before it was admitted
	}
	out.InitContainerStatuses = b.containers(pod.Spec.InitContainers, previous.InitContainerStatuses, true)
	out.ContainerStatuses = b.containers(pod.Spec.Containers, previous.ContainerStatuses, false)
	out.EphemeralContainerStatuses = b.ephemeral(previous.EphemeralContainerStatuses)
	b.closeAll(&out)
	b.phase(&out)
	b.addresses(&out)
	b.conditions(&out)
	b.resize(&out)
	return out
}

type builder struct {
	s     *podplan.State
	pod   *v1.Pod
	node  Node
	prev  *v1.PodStatus
	now   metav1.Time
	ended bool
}

// refused is the status of a pod that the node did not take: no container was ever looked at.
func (b *builder) refused() v1.PodStatus {
	out := *b.prev.DeepCopy()
	out.Phase, out.Reason, out.Message = v1.PodFailed, b.s.End.Reason, b.s.End.Message
	out.QOSClass = qosOf(b.pod, b.prev)
	out.ObservedGeneration = b.pod.Generation
	if out.StartTime == nil {
		t := b.now
		out.StartTime = &t
	}
	return out
}

// qosOf is the class, which never changes in a pod's life.
func qosOf(pod *v1.Pod, prev *v1.PodStatus) v1.PodQOSClass {
	if prev.QOSClass != "" {
		return prev.QOSClass
	}
	return qos.GetPodQOS(pod)
}

func (b *builder) addresses(out *v1.PodStatus) {
	// Nothing that this agent writes may depend on what the API shows of it now: that is older, and the two would chase
	// each other.
	out.HostIP, out.HostIPs = b.prev.HostIP, b.prev.HostIPs
	if len(b.node.HostIPs) > 0 {
		out.HostIP, out.HostIPs = b.node.HostIPs[0], nil
		for _, ip := range b.node.HostIPs {
			out.HostIPs = append(out.HostIPs, v1.HostIP{IP: ip})
		}
	}
	var ips []string
	switch {
	case b.pod.Spec.HostNetwork:
		ips = b.node.HostIPs
	case b.s.Sandbox != nil && b.s.Sandbox.Detailed:
		ips = b.s.Sandbox.IPs
	}
	if len(ips) == 0 {
		out.PodIP, out.PodIPs = b.prev.PodIP, b.prev.PodIPs
		return
	}
	out.PodIP = ips[0]
	for _, ip := range ips {
		out.PodIPs = append(out.PodIPs, v1.PodIP{IP: ip})
	}
}

// waitingIn reports that the pod is still being set up, for the default reason of a waiting container.
func (b *builder) hasInit() bool { return len(b.pod.Spec.InitContainers) > 0 }

// sandboxUp says whether containers may be started: sandbox and volumes.
func (b *builder) readyToStart() bool {
	s := b.s
	return s.Sandbox != nil && s.Sandbox.Detailed && s.Sandbox.State == 0 && !s.Stopped[s.Sandbox.ID] && (s.Volumes == podplan.Held || s.Adopted) &&
		s.Op != podmsg.OpStopSandbox
}
