package podstatus

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/actors/pod/resizeplan"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
)

// Limits below which the kernel's rounding would confuse a reader; kubelet constants MinMilliCPULimit and MinShares.
const (
	minMilliCPULimit = 10
	minShares        = 2
)

// shown is the object that the status is about: with the resources that are promised. While the node has not answered a
// resize the newest generation has not been observed: a reader would take it for carried out.
func shown(s *podplan.State, previous *v1.PodStatus) *v1.Pod {
	pod := s.Run
	if pod == nil {
		pod = s.Pod
	}
	if s.Resize.Waiting && s.End == nil && previous.ObservedGeneration < pod.Generation {
		held := *pod
		held.Generation = previous.ObservedGeneration
		return &held
	}
	return pod
}

// resources reports what is allocated, and for a running container what the runtime says it got.
func (b *builder) resources(st *v1.ContainerStatus, spec *v1.Container, c *model.Container) {
	if c == nil {
		return
	}
	st.AllocatedResources = spec.Resources.Requests
	res := spec.Resources.DeepCopy()
	st.Resources = res
	if c.State != model.ContainerRunning {
		return
	}
	given, known := b.s.Resize.Given[spec.Name]
	got := actual(c.Resources.GetLinux())
	if !got.any() && known {
		got = amounts{given.Requests.Cpu().MilliValue(), given.Limits.Cpu().MilliValue(), given.Limits.Memory().Value()}
	}
	if res.Limits != nil {
		setCPU(res.Limits, got.cpuLimit, minMilliCPULimit)
		if got.memoryLimit > 0 {
			setBytes(res.Limits, got.memoryLimit)
		}
	}
	if res.Requests != nil {
		setCPU(res.Requests, got.cpuRequest, minShares)
		// No runtime knows a memory request: it is what the container was given.
		if q := given.Requests.Memory(); known && !q.IsZero() {
			res.Requests[v1.ResourceMemory] = *q
		}
	}
}

// amounts are what a cgroup's values say, in thousandths of a core and in bytes; 0 for none.
type amounts struct{ cpuRequest, cpuLimit, memoryLimit int64 }

func (a amounts) any() bool { return a != amounts{} }

func actual(l *runtimeapi.LinuxContainerResources) amounts {
	if l == nil {
		return amounts{}
	}
	return amounts{fromShares(l.CpuShares), fromQuota(l.CpuQuota, l.CpuPeriod), max(l.MemoryLimitInBytes, 0)}
}

// fromShares is the CPU request that shares came from, rounded up as the kubelet does.
func fromShares(shares int64) int64 {
	if shares < minShares {
		return 0
	}
	return (shares*1000 + 1023) / 1024
}

func fromQuota(quota, period int64) int64 {
	if quota <= 0 || period <= 0 {
		return 0
	}
	return quota * 1000 / period
}

// setCPU shows what is actual, but for amounts so small that the kernel's bound hides what was asked.
func setCPU(list v1.ResourceList, milli, bound int64) {
	if own := list[v1.ResourceCPU]; milli <= 0 || milli <= bound && own.MilliValue() <= bound {
		return
	}
	q := *resource.NewMilliQuantity(milli, resource.DecimalSI)
	if own, ok := list[v1.ResourceCPU]; ok && own.Cmp(q) == 0 {
		return // as it was written
	}
	list[v1.ResourceCPU] = q
}

func setBytes(list v1.ResourceList, n int64) {
	q := *resource.NewQuantity(n, resource.BinarySI)
	if own, ok := list[v1.ResourceMemory]; ok && own.Cmp(q) == 0 {
		return
	}
	list[v1.ResourceMemory] = q
}

// resize shows the pod's own resources and where a resize stands.
func (b *builder) resize(out *v1.PodStatus) {
	out.AllocatedResources = resourcehelper.PodRequests(b.pod, resourcehelper.PodResourcesOptions{})
	out.Resources = b.level(out)
	if terminal(out.Phase) {
		return // nothing is pending or under way in a pod that has ended
	}
	b.resizeCondition(out, v1.PodResizePending, b.s.Resize.Pending)
	b.resizeCondition(out, v1.PodResizeInProgress, b.s.Resize.Progress)
}

func (b *builder) resizeCondition(out *v1.PodStatus, t v1.PodConditionType, c *resizeplan.Condition) {
	if c == nil {
		return
	}
	b.set(out, t, v1.ConditionTrue, c.Reason, c.Message)
	for i := range out.Conditions {
		if out.Conditions[i].Type == t {
			out.Conditions[i].ObservedGeneration = c.Generation
		}
	}
}

// level is what the pod as a whole has: before it runs what is promised, then what its cgroup was given.
func (b *builder) level(out *v1.PodStatus) *v1.ResourceRequirements {
	res := b.pod.Spec.Resources.DeepCopy()
	if res == nil {
		res = &v1.ResourceRequirements{}
	}
	opts := resourcehelper.PodResourcesOptions{}
	if out.Phase != v1.PodRunning {
		res.Requests, res.Limits = resourcehelper.PodRequests(b.pod, opts), resourcehelper.PodLimits(b.pod, opts)
		return res
	}
	cgroup, cfg := b.s.CgroupHas, cgroups.PodConfig{EnforceCPULimits: true}
	if cgroup.Pod == nil {
		cgroup.Pod = b.pod
	}
	d := cgroups.PodResources(cgroup.Pod, cfg)
	if cgroup.AtLeast != nil {
		d = cgroups.Cover(d, cgroups.PodResources(cgroup.AtLeast, cfg))
	}
	v := d.Resources
	if res.Requests == nil {
		res.Requests = v1.ResourceList{}
	}
	if res.Limits == nil {
		res.Limits = v1.ResourceList{}
	}
	if c := v.CPU; c != nil && c.Shares != nil {
		setCPU(res.Requests, fromShares(int64(*c.Shares)), minShares)
		if c.Quota != nil && c.Period != nil {
			setCPU(res.Limits, fromQuota(*c.Quota, int64(*c.Period)), minMilliCPULimit)
		}
	}
	if _, has := res.Requests[v1.ResourceMemory]; !has {
		if q, ok := resourcehelper.PodRequests(b.pod, opts)[v1.ResourceMemory]; ok {
			res.Requests[v1.ResourceMemory] = q
		}
	}
	if m := v.Memory; m != nil && m.Limit != nil {
		setBytes(res.Limits, *m.Limit)
	}
	return res
}
