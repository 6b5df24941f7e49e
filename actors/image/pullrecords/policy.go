package pullrecords

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
)

// Policy says for which images on the node a pod has to show that it could have pulled them
// (imagePullCredentialsVerificationPolicy and preloadedImagesVerificationAllowlist).
type Policy struct {
	kind     kubeletconfig.ImagePullCredentialsVerificationPolicy
	names    map[string]bool
	prefixes []string
}

// NewPolicy checks the configuration. An empty kind is the default, NeverVerifyPreloadedImages.
func NewPolicy(kind kubeletconfig.ImagePullCredentialsVerificationPolicy, allowlist []string) (Policy, error) {
	p := Policy{kind: kind, names: map[string]bool{}}
	switch kind {
	case "":
		p.kind = kubeletconfig.NeverVerifyPreloadedImages
	case kubeletconfig.NeverVerify, kubeletconfig.NeverVerifyPreloadedImages, kubeletconfig.AlwaysVerify:
	case kubeletconfig.NeverVerifyAllowlistedImages:
		for _, pattern := range allowlist {
			if err := p.allow(pattern); err != nil {
				return p, fmt.Errorf("preloadedImagesVerificationAllowlist: %w", err)
			}
		}
	default:
		return p, fmt.Errorf("imagePullCredentialsVerificationPolicy: unknown policy %q", kind)
	}
	return p, nil
}

// allow takes an image without tag and digest, or everything below a path: "registry.example/team/*".
func (p *Policy) allow(pattern string) error {
	prefix, all := strings.CutSuffix(pattern, "*")
	all = all && strings.HasSuffix(prefix, "/")
	switch {
	case pattern != strings.TrimSpace(pattern):
		return fmt.Errorf("%q begins or ends with a space", pattern)
	case all && prefix == "/":
		return fmt.Errorf("%q names no registry", pattern)
	case all && !strings.Contains(prefix, "*"):
		p.prefixes = append(p.prefixes, prefix)
		return nil
	case strings.Contains(pattern, "*"):
		return fmt.Errorf("%q: a wildcard may only be the last part of a path, as in registry.example/*", pattern)
	}
	name, err := withoutTag(pattern)
	if err != nil {
		return fmt.Errorf("%q is no image: %w", pattern, err)
	}
	if name != pattern {
		return fmt.Errorf("%q has a tag or digest, which is not allowed here", pattern)
	}
	p.names[name] = true
	return nil
}

// verify says whether a pod has to show that it may use an image. pulled: this node pulled it, as opposed to one that was
// put there.
func (p *Policy) verify(image string, pulled bool) bool {
	switch p.kind {
	case kubeletconfig.NeverVerify:
		return false
	case kubeletconfig.NeverVerifyPreloadedImages:
		return pulled
	case kubeletconfig.NeverVerifyAllowlistedImages:
		return !p.allowed(image)
	case kubeletconfig.AlwaysVerify:
	}
	return true
}

func (p *Policy) allowed(image string) bool {
	name, err := withoutTag(image)
	if err != nil {
		name = image
	}
	if p.names[name] {
		return true
	}
	for _, prefix := range p.prefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// withoutTag is an image as a pod names it, less its tag and digest. A short name stays short.
func withoutTag(image string) (string, error) {
	ref, err := reference.Parse(image)
	if err != nil {
		return "", err
	}
	if d, ok := ref.(reference.Digested); ok {
		image = strings.TrimSuffix(image, "@"+d.Digest().String())
	}
	if t, ok := ref.(reference.Tagged); ok {
		image = strings.TrimSuffix(image, ":"+t.Tag())
	}
	return image, nil
}
