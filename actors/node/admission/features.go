package admission

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
	ndf "k8s.io/component-helpers/nodedeclaredfeatures"
)

// PodFeatureUnsupported refuses a pod that needs what the node does not declare (the kubelet's own name).
const PodFeatureUnsupported = "PodFeatureUnsupported"

// Features are what the node declares that it can do for pods (KEP 5328). The zero value declares nothing and refuses
// nobody: the feature gate NodeDeclaredFeatures is off.
type Features struct {
	names   []string
	set     ndf.FeatureSet
	version *version.Version
}

// DiscoverFeatures finds what a node of this version with these feature gates can do.
func DiscoverFeatures(gates func(name string) bool, node *version.Version) Features {
	names := ndf.DefaultFramework.DiscoverNodeFeatures(&ndf.NodeConfiguration{FeatureGates: gateFunc(gates), Version: node})
	return Features{names: names, set: ndf.DefaultFramework.TryMap(names), version: node}
}

// Names are the features as the node's status has them, sorted. They are not to be changed.
func (f Features) Names() []string { return f.names }

// Check says what the pod needs and the node does not declare.
func (f Features) Check(pod *v1.Pod) *Refusal {
	if f.version == nil {
		return nil
	}
	needs, err := ndf.DefaultFramework.InferForPodScheduling(&ndf.PodInfo{Spec: &pod.Spec, Status: &pod.Status}, f.version)
	if err != nil {
		return &Refusal{Reason: PodFeatureUnsupported, Message: fmt.Sprintf("Failed to infer pod's feature requirements: %v", err)}
	}
	has, err := ndf.DefaultFramework.MatchNodeFeatureSet(needs, f.set)
	if err != nil {
		return &Refusal{Reason: PodFeatureUnsupported, Message: fmt.Sprintf("Failed to match pod's feature requirements against the node: %v", err)}
	}
	if !has.IsMatch {
		return &Refusal{Reason: PodFeatureUnsupported, Message: "Pod requires node features that are not available: " + strings.Join(has.UnsatisfiedRequirements, ", ")}
	}
	return nil
}

type gateFunc func(name string) bool

// Enabled implements nodedeclaredfeatures.FeatureGate.
func (f gateFunc) Enabled(name string) bool { return f(name) }
