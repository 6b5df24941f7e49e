package root

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"

	"github.com/troupe-dev/troupe/actors/node/nodestatus"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
)

// TestGroupOOMKill: a container that runs out of memory is ended whole on cgroup v2 unless the configuration wants a single
// process, and never on v1.
func TestGroupOOMKill(t *testing.T) {
	for _, c := range []struct {
		version cgroupfs.Version
		single  *bool
		want    bool
	}{
		{cgroupfs.V2, nil, true}, {cgroupfs.V2, ptr.To(false), true}, {cgroupfs.V2, ptr.To(true), false},
		{cgroupfs.V1, nil, false}, {cgroupfs.V1, ptr.To(false), false}, {cgroupfs.V1, ptr.To(true), false},
	} {
		cfg := Config{Kubelet: &kubeletconfig.KubeletConfiguration{SingleProcessOOMKill: c.single}}
		if got := limits(cfg, &Host{Cgroups: &cgroupfs.Host{Version: c.version}}).GroupOOMKill; got != c.want {
			t.Errorf("v%d, single process %v: %v", c.version, c.single, got)
		}
	}
}

// TestSwapOfTheNode: what containers are told about swap comes from the machine and the configuration.
func TestSwapOfTheNode(t *testing.T) {
	host := &Host{
		Cgroups: &cgroupfs.Host{Version: cgroupfs.V2, SwapAccounted: true}, Machine: nodestatus.Machine{Swap: 1 << 30},
		Capacity: v1.ResourceList{v1.ResourceMemory: resource.MustParse("8Gi")},
	}
	for behavior, limited := range map[string]bool{"": false, "NoSwap": false, "LimitedSwap": true} {
		cfg := Config{Kubelet: &kubeletconfig.KubeletConfiguration{MemorySwap: kubeletconfig.MemorySwapConfiguration{SwapBehavior: behavior}}}
		want := cgroups.Swap{Accounted: true, Unified: true, Limited: limited, Memory: 8 << 30, Swap: 1 << 30}
		if got := limits(cfg, host).Swap; got != want {
			t.Errorf("%q: %+v", behavior, got)
		}
		if got := nodeConfig(cfg, host).Resize.Swap; got != limited {
			t.Errorf("%q: resizes follow it: %v", behavior, got)
		}
	}
}
