// Package containerspec turns a container of a pod into what CRI's CreateContainer is given: command, environment,
// mounts, resources, security context, labels and annotations, as the kubelet does it, so that a node changes over in
// both directions. It is pure: what it needs from disk, the API or the runtime comes in with Input.
package containerspec

import (
	"encoding/json"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/actors/pod/sandboxspec"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
)

// Input is all that a container is made from.
type Input struct {
	Pod       *v1.Pod
	Container *v1.Container
	Attempt   uint32
	Hash      string
	// ImageRef is what the image actor answered; the spec's image name goes along as the user's.
	ImageRef  string
	ImageUser User
	Env       []Variable
	Mounts    []*runtimeapi.Mount
	Devices   []*runtimeapi.Device
	CDI       []*runtimeapi.CDIDevice
	Userns    *runtimeapi.UserNamespace
	// TargetContainer is the id of the container whose PID namespace an ephemeral container joins.
	TargetContainer string
	ExtraGroups     []int64
	Node            Node
	SeccompRoot     string
	SeccompDefault  bool
}

// Node is what a container's limits depend on besides its spec.
type Node struct {
	MemoryCapacity  model.Bytes
	CFSQuota        bool
	CFSPeriodMicros uint64
	HugePageSizes   []model.Bytes
	// GroupOOMKill: the kernel ends a container whole when it runs out of memory (cgroup v2, without singleProcessOOMKill).
	GroupOOMKill bool
	Swap         cgroups.Swap
	// Masked are paths of this machine that containers must not see, besides those that are the same everywhere.
	Masked []string
}

// The kubelet's annotations of a container; see containerplan for hash and restart count, which are read back.
const (
	annotationHash              = "io.kubernetes.container.hash"
	annotationRestartCount      = "io.kubernetes.container.restartCount"
	annotationTerminationPath   = "io.kubernetes.container.terminationMessagePath"
	annotationTerminationPolicy = "io.kubernetes.container.terminationMessagePolicy"
	annotationPreStop           = "io.kubernetes.container.preStopHandler"
	annotationPorts             = "io.kubernetes.container.ports"
	annotationGrace             = "io.kubernetes.pod.terminationGracePeriod"
	annotationDeletionGrace     = "io.kubernetes.pod.deletionGracePeriod"
)

// LogPath is a container's log relative to the pod's log directory.
func LogPath(name string, attempt uint32) string {
	return filepath.Join(name, strconv.Itoa(int(attempt))+".log")
}

// Config is the container's configuration. It fails only for what the spec or the image asks and cannot be granted
// (runAsNonRoot, profiles).
func Config(in Input) (*runtimeapi.ContainerConfig, error) {
	sc, err := security(&in)
	if err != nil {
		return nil, err
	}
	c := in.Container
	cfg := &runtimeapi.ContainerConfig{
		Metadata:    &runtimeapi.ContainerMetadata{Name: c.Name, Attempt: in.Attempt},
		Image:       &runtimeapi.ImageSpec{Image: in.ImageRef, UserSpecifiedImage: c.Image},
		Command:     expandAll(c.Command, in.Env),
		Args:        expandAll(c.Args, in.Env),
		WorkingDir:  c.WorkingDir,
		Labels:      labels(in.Pod, c),
		Annotations: annotations(&in),
		Mounts:      idMapped(in.Mounts, in.Userns),
		Devices:     in.Devices,
		CDIDevices:  in.CDI,
		LogPath:     LogPath(c.Name, in.Attempt),
		Stdin:       c.Stdin,
		StdinOnce:   c.StdinOnce,
		Tty:         c.TTY,
		Linux:       &runtimeapi.LinuxContainerConfig{Resources: Resources(in.Pod, c, in.Node), SecurityContext: sc},
	}
	for _, v := range in.Env {
		cfg.Envs = append(cfg.Envs, &runtimeapi.KeyValue{Key: v.Name, Value: []byte(v.Value)})
	}
	return cfg, nil
}

// idMapped shows files in the mounts of a pod with a user namespace of its own with the owners that they have on the node.
func idMapped(mounts []*runtimeapi.Mount, userns *runtimeapi.UserNamespace) []*runtimeapi.Mount {
	for _, m := range mounts {
		m.UidMappings, m.GidMappings = userns.GetUids(), userns.GetGids()
	}
	return mounts
}

func labels(pod *v1.Pod, c *v1.Container) map[string]string {
	return map[string]string{
		sandboxspec.LabelPodName: pod.Name, sandboxspec.LabelPodNamespace: pod.Namespace,
		sandboxspec.LabelPodUID: string(pod.UID), sandboxspec.LabelContainerName: c.Name,
	}
}

func annotations(in *Input) map[string]string {
	c, pod := in.Container, in.Pod
	a := map[string]string{
		annotationHash:              in.Hash,
		annotationRestartCount:      strconv.Itoa(int(in.Attempt)),
		annotationTerminationPath:   c.TerminationMessagePath,
		annotationTerminationPolicy: string(c.TerminationMessagePolicy),
	}
	if g := pod.DeletionGracePeriodSeconds; g != nil {
		a[annotationDeletionGrace] = strconv.FormatInt(*g, 10)
	}
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		a[annotationGrace] = strconv.FormatInt(*g, 10)
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		if raw, err := json.Marshal(c.Lifecycle.PreStop); err == nil {
			a[annotationPreStop] = string(raw)
		}
	}
	if len(c.Ports) > 0 {
		if raw, err := json.Marshal(c.Ports); err == nil {
			a[annotationPorts] = string(raw)
		}
	}
	return a
}

// Resources are the limits that the runtime sets on the container's own cgroup.
func Resources(pod *v1.Pod, c *v1.Container, node Node) *runtimeapi.LinuxContainerResources {
	cpu, memory := *c.Resources.Limits.Cpu(), *c.Resources.Limits.Memory()
	if pl := pod.Spec.Resources; pl != nil {
		if cpu.IsZero() {
			cpu = *pl.Limits.Cpu()
		}
		if memory.IsZero() {
			memory = *pl.Limits.Memory()
		}
	}
	request, has := c.Resources.Requests[v1.ResourceCPU]
	if !has {
		request = cpu
	}
	r := &runtimeapi.LinuxContainerResources{
		CpuShares:          int64(cgroups.Shares(model.MilliCPU(request.MilliValue()))),
		MemoryLimitInBytes: memory.Value(),
		OomScoreAdj:        int64(cgroups.ContainerOOMScoreAdj(pod, c, node.MemoryCapacity)),
		HugepageLimits:     hugepages(pod, c, node.HugePageSizes),
	}
	if node.CFSQuota {
		r.CpuPeriod = int64(node.CFSPeriodMicros)
		r.CpuQuota = cgroups.Quota(model.MilliCPU(cpu.MilliValue()), node.CFSPeriodMicros)
	}
	if node.GroupOOMKill {
		r.Unified = map[string]string{"memory.oom.group": "1"}
	}
	limitSwap(r, pod, c, node.Swap)
	return r
}

// limitSwap says how much a container may swap, also when that is nothing: without a word the kernel sets no limit. Cgroup
// v1 limits memory and swap together, and only where memory is limited.
func limitSwap(r *runtimeapi.LinuxContainerResources, pod *v1.Pod, c *v1.Container, node cgroups.Swap) {
	switch {
	case !node.Accounted:
	case node.Unified:
		if r.Unified == nil {
			r.Unified = map[string]string{}
		}
		r.Unified["memory.swap.max"] = strconv.FormatInt(int64(node.Share(pod, c.Resources)), 10)
	default:
		r.MemorySwapLimitInBytes = r.MemoryLimitInBytes
	}
}

func hugepages(pod *v1.Pod, c *v1.Container, sizes []model.Bytes) []*runtimeapi.HugepageLimit {
	limits := map[string]uint64{}
	for _, size := range sizes {
		limits[cgroups.PageSizeName(size)] = 0
	}
	take := func(list v1.ResourceList) {
		for name, q := range list {
			if text, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix); ok {
				if size, ok := parseSize(text); ok {
					if _, known := limits[cgroups.PageSizeName(size)]; known {
						limits[cgroups.PageSizeName(size)] = uint64(q.Value())
					}
				}
			}
		}
	}
	if pod.Spec.Resources != nil {
		take(pod.Spec.Resources.Limits)
	}
	take(c.Resources.Limits)
	out := make([]*runtimeapi.HugepageLimit, 0, len(limits))
	for name, limit := range limits {
		out = append(out, &runtimeapi.HugepageLimit{PageSize: name, Limit: limit})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].PageSize < out[j].PageSize })
	return out
}
