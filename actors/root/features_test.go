package root

import (
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"
)

// TestFeatures: what the node declares follows its feature gates, and is what it admits pods by.
func TestFeatures(t *testing.T) {
	all := []string{"ExtendWebSocketsToKubelet", "InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers", "RestartAllContainersOnContainerExits"}
	for name, c := range map[string]struct {
		version string
		gates   map[string]bool
		want    []string
	}{
		"as built":               {"v1.36.3", nil, all},
		"with build metadata":    {"v1.36.3+troupe.abc", nil, all},
		"a version of no form":   {"devel", nil, all},
		"one off":                {"v1.36.3", map[string]bool{"ExtendWebSocketsToKubelet": false}, all[1:]},
		"one that is not had":    {"v1.36.3", map[string]bool{"UserNamespacesHostNetworkSupport": true}, all},
		"none are declared":      {"v1.36.3", map[string]bool{"NodeDeclaredFeatures": false}, nil},
		"said what is so anyway": {"v1.36.3", map[string]bool{"NodeDeclaredFeatures": true, all[0]: true}, all},
	} {
		cfg := Config{Version: c.version, Major: "1.36", Kubelet: &kubeletconfig.KubeletConfiguration{FeatureGates: c.gates}}
		h := &Host{}
		n := nodeConfig(cfg, h)
		if !slices.Equal(n.Status.DeclaredFeatures, c.want) {
			t.Errorf("%s: %v", name, n.Status.DeclaredFeatures)
		}
		p := &v1.Pod{Spec: v1.PodSpec{HostNetwork: true, HostUsers: ptr.To(false)}}
		if refused := n.Features.Check(p) != nil; refused != (c.want != nil) {
			t.Errorf("%s: refused %v", name, refused)
		}
	}
}
