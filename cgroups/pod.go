package cgroups

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	"k8s.io/kubectl/pkg/util/qos"

	"github.com/troupe-dev/troupe/messages/model"
)

// PodConfig is what a pod's values depend on beside the pod.
type PodConfig struct {
	Layout Layout
	// EnforceCPULimits is cpuCFSQuota.
	EnforceCPULimits bool
	// PeriodMicros is cpuCFSQuotaPeriod in microseconds; 0 means the default.
	PeriodMicros uint64
	// PidsLimit is podPidsLimit; 0 or less means no limit.
	PidsLimit int64
	// HugePageSizes are the node's page sizes, empty where there is no hugetlb controller.
	HugePageSizes []model.Bytes
}

// QOSClass returns the class that decides where the pod's cgroup hangs: the one that the API recorded, else the one
// that the spec implies. A pod keeps its class for life.
func QOSClass(pod *v1.Pod) v1.PodQOSClass { return qos.GetPodQOS(pod) }

// PodResources returns the cgroup of a pod and its values. The sums follow the API's rule for init containers,
// sidecars, overhead and pod-level resources. A burstable pod gets a quota or memory limit only if every container
// declares one (or the pod itself does): a sum over some of them would strangle the others.
func PodResources(pod *v1.Pod, cfg PodConfig) Desired {
	class := QOSClass(pod)
	d := Desired{Name: cfg.Layout.Pod(pod.UID, class)}
	requests := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	limits, cpuLimited, memoryLimited := podLimits(pod)

	shares := MinShares
	cpu := &specs.LinuxCPU{Shares: &shares}
	d.Resources.CPU = cpu
	if class != v1.PodQOSBestEffort {
		shares = Shares(model.MilliCPU(requests.Cpu().MilliValue()))
		if cpuLimited || class == v1.PodQOSGuaranteed {
			period := cfg.PeriodMicros
			if period == 0 {
				period = DefaultPeriodMicros
			}
			quota := int64(-1)
			if cfg.EnforceCPULimits {
				quota = Quota(model.MilliCPU(limits.Cpu().MilliValue()), period)
			}
			if quota != 0 {
				cpu.Quota, cpu.Period = &quota, &period
			}
		}
		if limit := limits.Memory().Value(); limit > 0 && (memoryLimited || class == v1.PodQOSGuaranteed) {
			d.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
		}
	}
	if cfg.PidsLimit > 0 {
		limit := cfg.PidsLimit
		d.Resources.Pids = &specs.LinuxPids{Limit: &limit}
	}
	d.Resources.HugepageLimits = hugePageLimits(requests, cfg.HugePageSizes)
	return d
}

// podLimits returns the pod's limits and whether CPU and memory are limited for the whole pod.
func podLimits(pod *v1.Pod) (limits v1.ResourceList, cpu, memory bool) {
	cpu, memory = true, true
	limits = resourcehelper.PodLimits(pod, resourcehelper.PodResourcesOptions{
		ContainerFn: func(res v1.ResourceList, _ resourcehelper.ContainerType) {
			cpu = cpu && !res.Cpu().IsZero()
			memory = memory && !res.Memory().IsZero()
		},
	})
	if resourcehelper.IsPodLevelResourcesSet(pod) {
		cpu = cpu || !pod.Spec.Resources.Limits.Cpu().IsZero()
		memory = memory || !pod.Spec.Resources.Limits.Memory().IsZero()
	}
	return limits, cpu, memory
}

// CPURequest returns what a pod adds to the shares of its tier.
func CPURequest(pod *v1.Pod) model.MilliCPU {
	requests := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	return model.MilliCPU(requests.Cpu().MilliValue())
}
