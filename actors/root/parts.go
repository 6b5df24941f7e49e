package root

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	mount "k8s.io/mount-utils"

	"github.com/troupe-dev/troupe/actors/cgroup"
	"github.com/troupe-dev/troupe/actors/container"
	"github.com/troupe-dev/troupe/actors/image"
	"github.com/troupe-dev/troupe/actors/image/imageplan"
	"github.com/troupe-dev/troupe/actors/pod"
	"github.com/troupe-dev/troupe/actors/pod/podstatus"
	"github.com/troupe-dev/troupe/actors/pods"
	"github.com/troupe-dev/troupe/actors/probe"
	"github.com/troupe-dev/troupe/actors/source/catalog"
	"github.com/troupe-dev/troupe/actors/userns"
	"github.com/troupe-dev/troupe/actors/volume"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/policy"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// podParts builds what pods and containers share.
func podParts(a *Agent, d Deps, cfg Config, host *Host, objects volume.Objects, services *catalog.Services, mounter mount.Interface, recorder record.EventRecorder) (*pod.Deps, pod.Config) {
	k := cfg.Kubelet
	timeout := k.RuntimeRequestTimeout.Duration
	runs := &probe.Runner{Runtime: d.Runtime, Version: cfg.Major, Fallback: func(p *v1.Pod, host string) {
		recorder.Eventf(container.Reference(p, ""), v1.EventTypeWarning, "LifecycleHTTPFallback", "request to HTTPS lifecycle hook %s got HTTP response, retry with HTTP succeeded", host)
	}}
	builder := &container.Builder{
		Runtime: d.Runtime, Images: d.Images, Objects: objects, Mounter: mounter, Facts: host.facts,
		RootDir: cfg.RootDir, LogsRoot: k.PodLogsDir, ClusterDomain: k.ClusterDomain, SeccompDefault: cfg.SeccompDefault,
	}
	if services != nil {
		builder.Services = services
	}
	curve := policy.CrashLoop(0)
	if b := k.CrashLoopBackOff.MaxContainerRestartPeriod; b != nil {
		curve = policy.CrashLoop(b.Duration)
	}
	cc := container.Config{CallTimeout: timeout, Curve: curve, LogsRoot: k.PodLogsDir, LinksDir: cfg.LinksDir, AgentStarted: time.Now()}
	boxes := &pod.SandboxBuilder{
		LogsRoot: k.PodLogsDir, ClusterDNS: k.ClusterDNS, ClusterDomain: k.ClusterDomain, HostIPs: host.hostIPs,
		CFSQuota: k.CPUCFSQuota == nil || *k.CPUCFSQuota, CFSPeriodMicros: period(k),
		Users: userns.Ask{To: &a.refs.userns, PodsDir: podsDir(cfg)}, UserNamespaces: host.userNamespaces,
	}
	if k.ResolverConfig != nil {
		boxes.ResolvConf = *k.ResolverConfig
	}
	if d.Main != nil {
		boxes.Classes = catalog.Classes{Client: d.Main}
	}
	deps := &pod.Deps{
		Runtime: d.Runtime, Runner: a.Runner, Recorder: recorder, Node: &a.refs.node, Cgroups: &a.refs.cgroups, Volumes: &a.refs.volumes,
		Images: &a.refs.images, Status: &a.refs.status, Pods: &a.refs.pods, Sandboxes: boxes, Published: a.Table,
		Container: &container.Deps{Runtime: d.Runtime, Runner: a.Runner, Images: &a.refs.images, Recorder: recorder, Builder: builder, Hooks: runs, Probes: runs, Observer: d.Observer},
		Observer:  d.Observer,
		StatusNode: func() podstatus.Node {
			return podstatus.Node{HostIPs: host.hostIPs(), RuntimeName: host.runtimeName(), RecursiveReadOnly: host.abilities().recursiveReadOnly}
		},
	}
	return deps, pod.Config{CallTimeout: timeout, LogsRoot: k.PodLogsDir, LinksDir: cfg.LinksDir, Container: cc}
}

func period(k *kubeletconfig.KubeletConfiguration) uint64 {
	if k.CPUCFSQuotaPeriod != nil && k.CPUCFSQuotaPeriod.Duration > 0 {
		return uint64(k.CPUCFSQuotaPeriod.Microseconds())
	}
	return cgroups.DefaultPeriodMicros
}

func (a *Agent) podsProducer(cfg Config, d Deps, deps *pod.Deps, pc pod.Config) func(*spawn.Cell) spawn.Receiver {
	closed, past := false, pods.NewPast()
	return func(*spawn.Cell) spawn.Receiver {
		return pods.New(pods.Deps{
			Spawn: func(k *spawn.Cell, newest func() *v1.Pod, static, orphan bool, inc model.Incarnation) spawn.Receiver {
				p := newest()
				if shown, ok := a.Table.ByUID(p.UID); ok && k.Incarnation() > 1 {
					with := *p // what the pod said last is newer than what its source has given back
					with.Status = shown.Status
					p = &with
				}
				return pod.New(deps, pc, p, static, orphan, inc)
			},
			Past: past, Vanished: a.vanished, Table: a.Table,
			Cgroups: &a.refs.cgroups, Volumes: &a.refs.volumes, Node: &a.refs.node, Mirrors: &a.refs.mirrors,
			Synced: func() {
				if !closed {
					closed = true
					close(a.synced)
				}
			},
		}, pods.Config{Sources: sourceNames(d, cfg)})
	}
}

func imageConfig(cfg Config) image.Config {
	k := cfg.Kubelet
	p := imageplan.Config{Serialize: k.SerializeImagePulls == nil || *k.SerializeImagePulls, Burst: int(k.RegistryBurst)}
	if k.MaxParallelImagePulls != nil {
		p.MaxParallel = int(*k.MaxParallelImagePulls)
	}
	if k.RegistryPullQPS != nil {
		p.QPS = float64(*k.RegistryPullQPS)
	}
	return image.Config{Plan: p, NodeConfigDirs: image.NodeConfigDirs(cfg.RootDir), CallTimeout: k.RuntimeRequestTimeout.Duration}
}

func cgroupConfig(cfg Config, host *Host, driver cgroups.Driver) cgroup.Config {
	k := cfg.Kubelet
	layout := cgroups.Layout{Root: cgroups.ParseName(driver, k.CgroupRoot), PerQOS: k.CgroupsPerQOS == nil || *k.CgroupsPerQOS}
	pc := cgroups.PodConfig{
		Layout: layout, EnforceCPULimits: k.CPUCFSQuota == nil || *k.CPUCFSQuota, PeriodMicros: period(k), HugePageSizes: host.Cgroups.HugePageSizes,
	}
	if k.PodPidsLimit != nil {
		pc.PidsLimit = *k.PodPidsLimit
	}
	return cgroup.Config{Pod: pc, Node: cgroups.NodeConfig{
		Layout: layout, Driver: driver, Capacity: host.Capacity, KubeReserved: host.KubeReserved, SystemReserved: host.SystemReserved,
		KubeReservedCgroup: k.KubeReservedCgroup, SystemReservedCgroup: k.SystemReservedCgroup, Enforce: k.EnforceNodeAllocatable,
		CPUs: k.ReservedSystemCPUs, HugePageSizes: host.Cgroups.HugePageSizes,
	}}
}
