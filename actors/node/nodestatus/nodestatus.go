// Package nodestatus composes the status of the node object from what is known of the machine, the runtime and the
// pressure on them. It is pure. Reasons and messages are the kubelet's: node controllers and people read them.
package nodestatus

import (
	"runtime"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
)

// Machine is what the status tells of the machine.
type Machine struct {
	Cores        int // logical CPUs that are online
	Memory, Swap model.Bytes
	// Storage is the size of the file system that holds the pods' data.
	Storage model.Bytes
	// HugePages counts the pages of each size.
	HugePages                                      map[model.Bytes]int64
	MachineID, SystemUUID, BootID, Kernel, OSImage string
	// AppArmor says that the kernel enforces profiles.
	AppArmor bool
}

// Pressure says what the node runs out of.
type Pressure struct{ Memory, Disk, PID bool }

// Config is what the operator decided.
type Config struct {
	// MaxPods and PodsPerCore (0 for no such bound) limit the number of pods.
	MaxPods, PodsPerCore int
	// KubeletVersion is what nodeInfo says.
	KubeletVersion string
	// Port is that of the agent's API.
	Port int32
	// KubeReserved and SystemReserved are kept from pods.
	KubeReserved, SystemReserved v1.ResourceList
	// EvictionHard is the thresholds by signal (memory.available: 100Mi, nodefs.available: 10%): what is below them is
	// kept from pods too.
	EvictionHard map[string]string
	// DeclaredFeatures are told as they are, sorted.
	DeclaredFeatures []string
}

// Facts is everything that the status is made of.
type Facts struct {
	Now     time.Time
	Machine Machine
	// Runtime is nil until the runtime was asked for the first time.
	Runtime   *nodemsg.RuntimeInfo
	Pressure  Pressure
	Addresses []v1.NodeAddress
	// Images is nil while they are not known; then what the status has stays.
	Images []v1.ContainerImage
	// NotReady are further reasons why pods cannot run, in words.
	NotReady []string
}

// Apply writes the facts into the status, in place, and returns the reasons of the events about the node that this is
// worth (NodeReady, NodeHasSufficientMemory, …). What others put into the status (extended resources, their conditions,
// attached volumes) stays.
func Apply(s *v1.NodeStatus, c Config, f Facts) []string {
	if len(f.Addresses) > 0 {
		s.Addresses = f.Addresses
	}
	Capacity(s, c, f.Machine)
	info(&s.NodeInfo, c, f)
	s.DaemonEndpoints.KubeletEndpoint.Port = c.Port
	if f.Images != nil {
		s.Images = f.Images
	}
	if f.Runtime != nil && f.Runtime.Up {
		s.RuntimeHandlers = f.Runtime.Handlers
		groups := f.Runtime.SupplementalGroupsPolicy
		s.Features = &v1.NodeFeatures{SupplementalGroupsPolicy: &groups}
	}
	s.DeclaredFeatures = c.DeclaredFeatures
	return conditions(s, f)
}

func info(i *v1.NodeSystemInfo, c Config, f Facts) {
	m := f.Machine
	i.MachineID, i.SystemUUID, i.BootID = m.MachineID, m.SystemUUID, m.BootID
	i.KernelVersion, i.OSImage = m.Kernel, m.OSImage
	i.OperatingSystem, i.Architecture = "linux", runtime.GOARCH
	i.KubeletVersion = c.KubeletVersion
	i.KubeProxyVersion = ""
	switch {
	case f.Runtime != nil && f.Runtime.Name != "":
		i.ContainerRuntimeVersion = f.Runtime.Name + "://" + f.Runtime.Version
	case i.ContainerRuntimeVersion == "":
		i.ContainerRuntimeVersion = "remote://Unknown"
	}
	i.Swap = nil
	if m.Swap != 0 {
		swap := int64(m.Swap)
		i.Swap = &v1.NodeSwapStatus{Capacity: &swap}
	}
}

// Changed says that a reader would see a difference: heartbeat times do not count.
func Changed(old, new *v1.NodeStatus) bool {
	a, b := *old, *new
	a.Conditions, b.Conditions = silent(old.Conditions), silent(new.Conditions)
	return !equality.Semantic.DeepEqual(a, b)
}

func silent(list []v1.NodeCondition) []v1.NodeCondition {
	out := make([]v1.NodeCondition, 0, len(list))
	for _, c := range list {
		c.LastHeartbeatTime = metav1.Time{}
		out = append(out, c)
	}
	return out
}

func quantity(n int64) resource.Quantity { return *resource.NewQuantity(n, resource.BinarySI) }
