package admission

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/utils/ptr"
)

// TestFeatures: a pod that needs what the node does not declare gets no place, and only it.
func TestFeatures(t *testing.T) {
	restartsAll := func(p *v1.Pod) {
		p.Spec.Containers = []v1.Container{{Name: "c", RestartPolicyRules: []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleActionRestartAllContainers}}}}
	}
	initRestartsAll := func(p *v1.Pod) {
		p.Spec.InitContainers = []v1.Container{{Name: "i", RestartPolicyRules: []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleActionRestartAllContainers}}}}
	}
	both := func(p *v1.Pod) {
		restartsAll(p)
		p.Spec.HostNetwork, p.Spec.HostUsers = true, ptr.To(false)
	}
	for name, c := range map[string]struct {
		gates string
		pod   func(*v1.Pod)
		want  string
	}{
		"needs nothing":      {"", func(*v1.Pod) {}, ""},
		"has it":             {"RestartAllContainersOnContainerExits", restartsAll, ""},
		"has it not":         {"ExtendWebSocketsToKubelet", restartsAll, "Pod requires node features that are not available: RestartAllContainersOnContainerExits"},
		"an init container":  {"", initRestartsAll, "Pod requires node features that are not available: RestartAllContainersOnContainerExits"},
		"the runtime cannot": {"RestartAllContainersOnContainerExits UserNamespacesHostNetworkSupport", both, "Pod requires node features that are not available: UserNamespacesHostNetworkSupport"},
		"several":            {"", both, "Pod requires node features that are not available: RestartAllContainersOnContainerExits, UserNamespacesHostNetworkSupport"},
		"other rules need nothing": {"", func(p *v1.Pod) {
			p.Spec.Containers = []v1.Container{{RestartPolicyRules: []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleActionRestart}}}}
		}, ""},
	} {
		f := DiscoverFeatures(func(name string) bool { return slices.Contains(strings.Fields(c.gates), name) }, version.MustParseGeneric("1.36.3"))
		p := &v1.Pod{}
		c.pod(p)
		got := ""
		if r := f.Check(p); r != nil {
			if got = r.Message; r.Reason != "PodFeatureUnsupported" {
				t.Errorf("%s: reason %s", name, r.Reason)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if r := (Features{}).Check(p); r != nil {
			t.Errorf("%s: refused with the gate off: %v", name, r)
		}
	}
}

// TestFeaturesRefuse: the node's check asks for them.
func TestFeaturesRefuse(t *testing.T) {
	p := &v1.Pod{Spec: v1.PodSpec{HostNetwork: true, HostUsers: ptr.To(false)}}
	node := Node{Object: &v1.Node{}, Allocatable: v1.ResourceList{v1.ResourcePods: resource.MustParse("10")}, Features: DiscoverFeatures(func(string) bool { return true }, version.MustParseGeneric("1.36.3"))}
	var l Ledger
	if r := l.Check(p, node); r == nil || r.Reason != PodFeatureUnsupported {
		t.Errorf("%+v", r)
	}
}
