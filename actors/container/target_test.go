package container

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

// TestTarget: an ephemeral container joins its target's processes, and without a target it is refused as the kubelet does.
func TestTarget(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{
		Containers:          []v1.Container{{Name: "app"}},
		EphemeralContainers: []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug"}, TargetContainerName: "app"}, {EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "loose"}}},
	}}
	for _, c := range []struct {
		name   string
		target model.ContainerID
		pid    runtimeapi.NamespaceMode
		bad    string
	}{
		{"debug", "", 0, "unable to find target container app"},
		{"debug", "id", runtimeapi.NamespaceMode_TARGET, ""},
		{"loose", "", runtimeapi.NamespaceMode_CONTAINER, ""},
		{"app", "", runtimeapi.NamespaceMode_CONTAINER, ""},
	} {
		b := &Builder{Images: &shelf{}, Facts: func() NodeFacts { return NodeFacts{} }, LogsRoot: t.TempDir()}
		in := CreateInput{Pod: pod, Container: &v1.Container{Name: c.name}, Target: c.target}
		if c.bad != "" {
			if d := b.create(t.Context(), in); d.Class != model.OutcomeRefused || d.Reason != "CreateContainerConfigError" || d.Message != c.bad || d.Op != containermsg.OpNone {
				t.Errorf("%s: %+v", c.name, d)
			}
			continue
		}
		cfg, err := b.config(t.Context(), in)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if ns := cfg.Linux.SecurityContext.NamespaceOptions; ns.Pid != c.pid || ns.TargetId != string(c.target) {
			t.Errorf("%s: %v", c.name, ns)
		}
	}
}
