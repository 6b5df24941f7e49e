package metrics

import (
	"context"
	"errors"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// steps fails the steps that it is told to.
type steps struct {
	cri.Runtime
	run, create, start error
}

func (s *steps) RunPodSandbox(context.Context, *runtimeapi.PodSandboxConfig, string) (model.SandboxID, error) {
	return "s", s.run
}

func (s *steps) CreateContainer(context.Context, model.SandboxID, *runtimeapi.ContainerConfig, *runtimeapi.PodSandboxConfig) (model.ContainerID, error) {
	return "c", s.create
}

func (s *steps) StartContainer(context.Context, model.ContainerID) error { return s.start }
func (s *steps) StopPodSandbox(context.Context, model.SandboxID) error   { return nil }

func TestUserNamespacedPods(t *testing.T) {
	r, no := New("n", 0), errors.New("no")
	life := func(own bool, s steps) {
		rt := r.Runtime(&s)
		c := &runtimeapi.PodSandboxConfig{Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{UsernsOptions: &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_NODE}}}}}
		if own {
			c.Linux.SecurityContext.NamespaceOptions.UsernsOptions = &runtimeapi.UserNamespace{Uids: []*runtimeapi.IDMapping{{HostId: 65536, Length: 65536}}}
		}
		if _, err := rt.RunPodSandbox(t.Context(), c, ""); err != nil {
			return
		}
		for range 2 {
			if id, err := rt.CreateContainer(t.Context(), "s", nil, c); err == nil {
				_ = rt.StartContainer(t.Context(), id)
			}
		}
		_ = rt.StopPodSandbox(t.Context(), "s")
	}
	life(false, steps{start: no})
	life(true, steps{})
	life(true, steps{run: no})
	life(true, steps{create: no})
	life(true, steps{start: no})
	expect(t, scrape(t, r.Handler()), "kubelet_started_user_namespaced_pods_total 4", "kubelet_started_user_namespaced_pods_errors_total 3")
	if len(r.userns.well)+len(r.userns.of) > 0 {
		t.Errorf("left: %v %v", r.userns.well, r.userns.of)
	}
}
