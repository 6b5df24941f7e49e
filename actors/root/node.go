package root

import (
	v1 "k8s.io/api/core/v1"

	kubeletconfig "k8s.io/kubelet/config/v1beta1"

	"github.com/troupe-dev/troupe/actors/node"
	"github.com/troupe-dev/troupe/actors/node/admission"
	"github.com/troupe-dev/troupe/actors/node/nodestatus"
)

func statusConfig(cfg Config, h *Host) nodestatus.Config {
	k := cfg.Kubelet
	c := nodestatus.Config{
		MaxPods: int(k.MaxPods), PodsPerCore: int(k.PodsPerCore), KubeletVersion: cfg.Version, Port: k.Port,
		KubeReserved: h.KubeReserved, SystemReserved: h.SystemReserved, EvictionHard: k.EvictionHard,
		DeclaredFeatures: features(cfg).Names(),
	}
	if cfg.IgnoreEviction {
		c.EvictionHard = nil
	}
	return c
}

func nodeConfig(cfg Config, h *Host) node.Config {
	k := cfg.Kubelet
	c := node.Config{
		NodeName: cfg.NodeName, Hostname: cfg.NodeName, NodeIPs: cfg.NodeIPs, Register: cfg.RegisterNode, Labels: cfg.Labels, Taints: cfg.RegisterTaints,
		Unschedulable: cfg.Unschedulable, ProviderID: cfg.ProviderID, ExternalCloudProvider: cfg.CloudProvider == "external",
		ControllerAttachDetach: k.EnableControllerAttachDetach == nil || *k.EnableControllerAttachDetach, Status: statusConfig(cfg, h),
		MaxImages: 50, UpdateFrequency: k.NodeStatusUpdateFrequency.Duration, ReportFrequency: k.NodeStatusReportFrequency.Duration,
		AllowedUnsafeSysctls: k.AllowedUnsafeSysctls, StateDir: cfg.RootDir, Features: features(cfg),
		Resize: admission.ResizeRules{
			StaticCPU: k.CPUManagerPolicy == "static", StaticMemory: k.MemoryManagerPolicy == kubeletconfig.StaticMemoryManagerPolicy,
			Swap: limitedSwap(cfg),
		},
	}
	if k.NodeStatusMaxImages != nil {
		c.MaxImages = int(*k.NodeStatusMaxImages)
	}
	return c
}

// newNode makes the /node actor.
func (a *Agent) newNode(d Deps, cfg Config, h *Host) (*node.Actor, error) {
	client := d.Heartbeat
	return node.New(node.Deps{
		Client: client, Runner: a.Runner, Runtime: &a.refs.runtime, Pods: &a.refs.pods, Images: d.Images, Recorder: a.Recorder(), Ref: a.nodeRef(), Machine: h.Machine, Logger: d.Logger,
		Ticks: a.upkeep.ticks(),
	}, nodeConfig(cfg, h))
}

func (a *Agent) nodeRef() *v1.ObjectReference { return a.Events.Node() }
