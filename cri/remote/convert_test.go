package remote

import (
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
)

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{-1: 0, 0: 0, 1: 1, time.Second: 1, time.Second + 1: 2, 30 * time.Second: 30} {
		if got := seconds(d); got != want {
			t.Errorf("seconds(%v) = %d, want %d", d, got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	if !at(0).IsZero() || !at(-1).IsZero() || at(1).IsZero() || at(1_700_000_000_123_456_789).UnixNano() != 1_700_000_000_123_456_789 {
		t.Error("nanoseconds")
	}
}

// The labels name the pod; for a sandbox without them, the metadata does.
func TestSandboxIdentity(t *testing.T) {
	m := &runtimeapi.PodSandboxMetadata{Name: "n", Namespace: "ns", Uid: "meta", Attempt: 2}
	if s := sandboxOf(&runtimeapi.PodSandbox{Metadata: m}); s.UID != "meta" || s.Name != "n" || s.Namespace != "ns" || s.Attempt != 2 {
		t.Errorf("%+v", s)
	}
	if s := sandboxStatusOf(&runtimeapi.PodSandboxStatus{Metadata: m, Labels: map[string]string{cri.LabelPodUID: "label"}}); s.UID != "label" {
		t.Errorf("%+v", s)
	}
}

func TestIPs(t *testing.T) {
	n := &runtimeapi.PodSandboxNetworkStatus{Ip: "10.0.0.1", AdditionalIps: []*runtimeapi.PodIP{{Ip: "fd00::1"}, {}}}
	if got := sandboxIPs(n); len(got) != 2 || got[0] != "10.0.0.1" || got[1] != "fd00::1" {
		t.Errorf("%v", got)
	}
	if got := sandboxIPs(nil); got != nil {
		t.Errorf("%v", got)
	}
}

func TestEventOf(t *testing.T) {
	sb := &runtimeapi.PodSandboxStatus{Id: "s", Metadata: &runtimeapi.PodSandboxMetadata{Uid: "u"}}
	cs := []*runtimeapi.ContainerStatus{{Labels: map[string]string{cri.LabelPodUID: "u"}}}
	for _, tc := range []struct {
		name      string
		e         *runtimeapi.ContainerEventResponse
		container string
		ok        bool
	}{
		{"container", &runtimeapi.ContainerEventResponse{ContainerId: "c", PodSandboxStatus: sb}, "c", true},
		{"sandbox", &runtimeapi.ContainerEventResponse{ContainerId: "s", PodSandboxStatus: sb}, "", true},
		{"the sandbox is gone, a container is left", &runtimeapi.ContainerEventResponse{ContainerId: "c", ContainersStatuses: cs}, "c", true},
		{"nothing is left", &runtimeapi.ContainerEventResponse{ContainerId: "c"}, "c", false},
	} {
		ev, ok := eventOf(tc.e)
		if ok != tc.ok || string(ev.Container) != tc.container || (ok && ev.UID != "u") {
			t.Errorf("%s: %+v, %v", tc.name, ev, ok)
		}
	}
}

func TestImageUser(t *testing.T) {
	if i := imageOf(&runtimeapi.Image{Uid: &runtimeapi.Int64Value{Value: 0}}); i.UID == nil || *i.UID != 0 {
		t.Errorf("user 0 is a number: %+v", i)
	}
	if i := imageOf(&runtimeapi.Image{Username: "nobody"}); i.UID != nil || i.Username != "nobody" {
		t.Errorf("%+v", i)
	}
}
