package podstatus

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/model"
)

// What a mount shows as its mode follows from what was asked, and from what the handler of the pod's sandbox can do.
func TestRecursiveReadOnly(t *testing.T) {
	const off, on, maybe = v1.RecursiveReadOnlyDisabled, v1.RecursiveReadOnlyEnabled, v1.RecursiveReadOnlyIfPossible
	class := "sandboxed"
	handlers := map[string]bool{"": true, "plain": false}
	box := func(handler string) *model.Sandbox { return &model.Sandbox{ID: "s", Handler: handler} }
	for name, c := range map[string]struct {
		asked    v1.RecursiveReadOnlyMode
		writable bool
		class    *string
		sandbox  *model.Sandbox
		handlers map[string]bool
		shown    v1.RecursiveReadOnlyMode // before
		want     v1.RecursiveReadOnlyMode
	}{
		"writable":                  {asked: "", writable: true, handlers: handlers, want: ""},
		"not asked":                 {asked: "", handlers: handlers, want: off},
		"disabled":                  {asked: off, handlers: handlers, want: off},
		"default handler":           {asked: on, sandbox: box(""), handlers: handlers, want: on},
		"if possible, it is":        {asked: maybe, sandbox: box(""), handlers: handlers, want: on},
		"if possible, it is not":    {asked: maybe, sandbox: box("plain"), handlers: handlers, want: off},
		"refused":                   {asked: on, sandbox: box("plain"), handlers: handlers, want: off},
		"unknown handler":           {asked: maybe, sandbox: box("other"), handlers: handlers, want: off},
		"no sandbox, no class":      {asked: maybe, handlers: handlers, want: on},
		"no sandbox, but a class":   {asked: maybe, class: &class, handlers: handlers, want: off},
		"runtime not heard yet":     {asked: maybe, sandbox: box(""), shown: on, want: on},
		"runtime heard, new answer": {asked: maybe, sandbox: box("plain"), handlers: handlers, shown: on, want: off},
	} {
		m := v1.VolumeMount{Name: "v", MountPath: "/v", ReadOnly: !c.writable}
		if c.asked != "" {
			m.RecursiveReadOnly = &c.asked
		}
		var prev *v1.ContainerStatus
		if c.shown != "" {
			prev = &v1.ContainerStatus{VolumeMounts: []v1.VolumeMountStatus{{Name: "v", MountPath: "/v", ReadOnly: true, RecursiveReadOnly: &c.shown}}}
		}
		pod := &v1.Pod{Spec: v1.PodSpec{RuntimeClassName: c.class}}
		b := builder{s: &podplan.State{Sandbox: c.sandbox}, pod: pod, node: Node{RecursiveReadOnly: c.handlers}}
		got := b.volumeMounts(&v1.Container{VolumeMounts: []v1.VolumeMount{m}}, prev)
		var mode v1.RecursiveReadOnlyMode
		if got[0].RecursiveReadOnly != nil {
			mode = *got[0].RecursiveReadOnly
		}
		if mode != c.want || got[0].ReadOnly == c.writable || got[0].Name != "v" || got[0].MountPath != "/v" {
			t.Errorf("%s: got %+v with mode %q, want %q", name, got[0], mode, c.want)
		}
	}
}
