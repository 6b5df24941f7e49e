package cgroups

import (
	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/troupe-dev/troupe/messages/model"
)

// Scores that the kernel adds to a process's badness (proc(5), oom_score_adj), as the kubelet hands them out.
const (
	// AgentOOMScoreAdj protects the agent itself.
	AgentOOMScoreAdj      = -999
	guaranteedOOMScoreAdj = -997
	bestEffortOOMScoreAdj = 1000
	minBurstableOOMScore  = 1000 + guaranteedOOMScoreAdj
	// systemCriticalPriority is where the range of priorities for critical system pods begins.
	systemCriticalPriority int32 = 2_000_000_000
)

// ContainerOOMScoreAdj returns the oom_score_adj of a container's processes, given the node's memory. A burstable
// container that uses less than it requested is spared longer than one that uses more: 10 % of the node requested
// makes 900. Pod-level requests that the containers do not claim count for each of them in equal parts (KEP 2837). A
// sidecar is never easier prey than the containers it serves (KEP 753).
func ContainerOOMScoreAdj(pod *v1.Pod, container *v1.Container, capacity model.Bytes) int {
	if isNodeCritical(pod) {
		return guaranteedOOMScoreAdj
	}
	switch QOSClass(pod) {
	case v1.PodQOSGuaranteed:
		return guaranteedOOMScoreAdj
	case v1.PodQOSBestEffort:
		return bestEffortOOMScoreAdj
	case v1.PodQOSBurstable:
	}
	if capacity <= 0 {
		return bestEffortOOMScoreAdj - 1
	}
	extra := unclaimedMemory(pod)
	score := func(request int64) int64 { return 1000 - 1000*(request+extra)/int64(capacity) }
	adj := score(container.Resources.Requests.Memory().Value())
	if isSidecar(pod, container) {
		least := pod.Spec.Containers[0].Resources.Requests.Memory().Value()
		for i := range pod.Spec.Containers {
			least = min(least, pod.Spec.Containers[i].Resources.Requests.Memory().Value())
		}
		adj = min(adj, score(least))
	}
	return int(min(max(adj, minBurstableOOMScore), bestEffortOOMScoreAdj-1))
}

// unclaimedMemory returns each container's part of the pod-level memory request that no container requests itself.
func unclaimedMemory(pod *v1.Pod) int64 {
	if !resourcehelper.IsPodLevelRequestsSet(pod) || pod.Spec.Resources.Requests.Memory().IsZero() {
		return 0
	}
	claimed := resourcehelper.AggregateContainerRequests(pod, resourcehelper.PodResourcesOptions{})
	left := pod.Spec.Resources.Requests.Memory().Value() - claimed.Memory().Value()
	return left / int64(len(pod.Spec.Containers)+len(pod.Spec.InitContainers))
}

func isSidecar(pod *v1.Pod, container *v1.Container) bool {
	if container.RestartPolicy == nil || *container.RestartPolicy != v1.ContainerRestartPolicyAlways || len(pod.Spec.Containers) == 0 {
		return false
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == container.Name {
			return true
		}
	}
	return false
}

// isNodeCritical says whether the pod must outlive everything but the node: of the class system-node-critical, and
// critical.
func isNodeCritical(pod *v1.Pod) bool {
	return pod.Spec.PriorityClassName == "system-node-critical" && Critical(pod)
}

// Critical says whether the node depends on the pod: it is static, a mirror, or has a system priority.
func Critical(pod *v1.Pod) bool {
	if _, mirror := pod.Annotations[v1.MirrorPodAnnotationKey]; mirror {
		return true
	}
	return Static(pod) || pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCriticalPriority
}

// Static says that the pod comes from a manifest on the node or at a URL, so that no API server and no scheduler knew it
// before. One that was given in memory, as `troupe run` gives its pods, is like one from an API server.
func Static(pod *v1.Pod) bool {
	source := pod.Annotations["kubernetes.io/config.source"]
	return source == "file" || source == "http"
}
