// Package poddefaults fills in what an API server would have filled in, for pods that never passed one: static pods
// and pods given in memory. It is pure; the rules are those of the v1 API's documentation (core/v1 types) with every
// gate at its default of 1.36.
package poddefaults

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
	"k8s.io/utils/ptr"
)

// Apply fills the defaults into pod, in place. It may be repeated.
func Apply(pod *v1.Pod) {
	spec := &pod.Spec
	for i := range spec.Containers {
		requestsFromLimits(&spec.Containers[i].Resources)
	}
	for i := range spec.InitContainers {
		requestsFromLimits(&spec.InitContainers[i].Resources)
	}
	podLevelResources(pod)
	applySpec(spec)
	for i := range spec.Volumes {
		applyVolume(&spec.Volumes[i])
	}
	for i := range spec.InitContainers {
		applyContainer(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		applyContainer(&spec.Containers[i])
	}
	for i := range spec.EphemeralContainers {
		c := v1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		applyContainer(&c)
		spec.EphemeralContainers[i].EphemeralContainerCommon = v1.EphemeralContainerCommon(c)
	}
	if pod.Status.Phase == "" {
		pod.Status.Phase = v1.PodPending
	}
}

func applySpec(spec *v1.PodSpec) {
	fill(&spec.DNSPolicy, v1.DNSClusterFirst)
	fill(&spec.RestartPolicy, v1.RestartPolicyAlways)
	fill(&spec.SchedulerName, v1.DefaultSchedulerName)
	if spec.SecurityContext == nil {
		spec.SecurityContext = &v1.PodSecurityContext{}
	}
	fillPtr(&spec.TerminationGracePeriodSeconds, int64(v1.DefaultTerminationGracePeriodSeconds))
	fillPtr(&spec.EnableServiceLinks, v1.DefaultEnableServiceLinks)
	if spec.HostNetwork {
		hostPorts(spec.Containers)
		hostPorts(spec.InitContainers)
	}
	// The deprecated name and the one that replaced it are kept equal, as every reader may use either.
	fill(&spec.ServiceAccountName, spec.DeprecatedServiceAccount)
	fill(&spec.DeprecatedServiceAccount, spec.ServiceAccountName)
}

// hostPorts: on the host's network every container port is a host port.
func hostPorts(containers []v1.Container) {
	for i := range containers {
		for j := range containers[i].Ports {
			fill(&containers[i].Ports[j].HostPort, containers[i].Ports[j].ContainerPort)
		}
	}
}

func requestsFromLimits(r *v1.ResourceRequirements) {
	roundUp(r.Limits)
	roundUp(r.Requests)
	if r.Limits == nil {
		return
	}
	if r.Requests == nil {
		r.Requests = make(v1.ResourceList, len(r.Limits))
	}
	for name, limit := range r.Limits {
		if _, ok := r.Requests[name]; !ok {
			r.Requests[name] = limit.DeepCopy()
		}
	}
}

// roundUp: the API keeps no fraction finer than a thousandth.
func roundUp(list v1.ResourceList) {
	for name, q := range list {
		q.RoundUp(-3)
		list[name] = q
	}
}

// podLevelResources completes spec.resources where the pod sets part of it (KEP-2837): huge page limits come from the
// containers' limits; requests come from the containers' requests, or else from the pod's limits.
func podLevelResources(pod *v1.Pod) {
	r := pod.Spec.Resources
	if r == nil || len(r.Limits) == 0 && len(r.Requests) == 0 {
		return
	}
	roundUp(r.Limits)
	roundUp(r.Requests)
	for name, limit := range resource.AggregateContainerLimits(pod, resource.PodResourcesOptions{}) {
		if !isHugePages(name) || has(r.Requests, name) || has(r.Limits, name) {
			continue
		}
		set(&r.Limits, name, limit)
	}
	if len(r.Limits) == 0 {
		return
	}
	for name, request := range resource.AggregateContainerRequests(pod, resource.PodResourcesOptions{}) {
		if !has(r.Requests, name) && resource.IsSupportedPodLevelResource(name) && !isHugePages(name) {
			set(&r.Requests, name, request)
		}
	}
	for name, limit := range r.Limits {
		if !has(r.Requests, name) && resource.IsSupportedPodLevelResource(name) {
			set(&r.Requests, name, limit)
		}
	}
}

func isHugePages(name v1.ResourceName) bool {
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

func has(list v1.ResourceList, name v1.ResourceName) bool {
	_, ok := list[name]
	return ok
}

// ImagePullPolicy is the policy of a container that names none: Always for an image without a digest whose tag is
// latest or missing, else IfNotPresent.
func ImagePullPolicy(image string) v1.PullPolicy {
	name, digest, _ := strings.Cut(image, "@")
	tag := ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		tag = name[i+1:]
	}
	if tag == "latest" || tag == "" && digest == "" {
		return v1.PullAlways
	}
	return v1.PullIfNotPresent
}

func fill[T comparable](at *T, value T) {
	var zero T
	if *at == zero {
		*at = value
	}
}

func fillPtr[T any](at **T, value T) {
	if *at == nil {
		*at = ptr.To(value)
	}
}
