package version

import (
	"fmt"
	"regexp"
	"testing"
)

func TestKubeletVersionIsSemver(t *testing.T) {
	got := Get()
	// The API server and the scheduler parse nodeInfo.kubeletVersion.
	pattern := regexp.MustCompile(fmt.Sprintf(`^v%d\.%d\.\d+\+troupe\.[0-9A-Za-z.-]+$`, Major, Minor))
	if !pattern.MatchString(got.Kubelet) {
		t.Errorf("kubelet version %q does not match %s", got.Kubelet, pattern)
	}
	if m := metadata("a_b/c+1.2"); m != "a-b-c-1.2" {
		t.Errorf("metadata gives %q", m)
	}
}
