package root

import (
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/troupe-dev/troupe/actors/node/admission"
)

// features are what the node declares that it can do for pods; the API server and the scheduler read them, and admission
// keeps to them. Each has a feature gate of its name; this agent has no runtime that user namespaces on the host's network
// need.
func features(cfg Config) admission.Features {
	if !gate(cfg.Kubelet, "NodeDeclaredFeatures") {
		return admission.Features{}
	}
	for _, text := range []string{cfg.Version, cfg.Major} {
		if v, err := version.Parse(text); err == nil {
			return admission.DiscoverFeatures(func(name string) bool {
				return name != "UserNamespacesHostNetworkSupport" && gate(cfg.Kubelet, name)
			}, v)
		}
	}
	return admission.Features{} // the agent does not know its version
}
