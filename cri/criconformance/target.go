// Package criconformance is the one suite of behaviours that Troupe depends on, run against every implementation of
// the cri port: the simulated runtime and a real one. What the agent takes for granted belongs here, so that the
// simulation cannot drift from what runs in production.
package criconformance

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// Target is what the suite runs against.
type Target struct {
	Runtime cri.Runtime
	Images  cri.Images
	// Image is present and has sh, sleep, echo and trap as busybox has them.
	Image string
	// LogDir is where the runtime may write container logs; it exists. Empty when the target writes none.
	LogDir string
	// CgroupParent of the sandboxes; empty leaves it to the runtime.
	CgroupParent string
	// PullableImage can be pulled and removed again; empty leaves pulls unchecked.
	PullableImage string
}

// Run runs the suite, each behaviour on a target of its own. newTarget registers its own clean-up.
func Run(t *testing.T, newTarget func(t *testing.T) Target) {
	for _, b := range behaviours() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			t.Cleanup(cancel)
			b.check(&suite{T: t, Target: newTarget(t), ctx: ctx})
		})
	}
}

type behaviour struct {
	name  string
	check func(*suite)
}

// suite is one behaviour's view of its target, with the set-up that all of them share.
type suite struct {
	*testing.T
	Target
	ctx context.Context
}

// serial keeps the UIDs of one process apart; the time those of repeated runs.
var serial atomic.Uint64

// pod is a sandbox under test with the config that it was made of.
type pod struct {
	uid    model.UID
	config *runtimeapi.PodSandboxConfig
	id     model.SandboxID
}

// podConfig makes the config of a new pod as the agent makes it.
func (s *suite) podConfig() *pod {
	uid := model.UID(fmt.Sprintf("%08x-%d", time.Now().UnixNano(), serial.Add(1)))
	name := "conformance-" + string(uid)
	p := &pod{uid: uid, config: &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "troupe", Uid: string(uid)},
		Hostname: "conformance",
		Labels: map[string]string{
			cri.LabelPodName: name, cri.LabelPodNamespace: "troupe", cri.LabelPodUID: string(uid), "app": "conformance",
		},
		Annotations: map[string]string{"kubernetes.io/config.source": "api", "note": "kept as it is"},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent:    s.CgroupParent,
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER}},
		},
	}}
	if s.LogDir != "" {
		p.config.LogDirectory = s.LogDir
	}
	return p
}

// sandbox runs the sandbox of a new pod and removes it at the end.
func (s *suite) sandbox() *pod {
	s.Helper()
	p := s.podConfig()
	s.runSandbox(p)
	return p
}

func (s *suite) runSandbox(p *pod) {
	s.Helper()
	id, err := s.Runtime.RunPodSandbox(s.ctx, p.config, "")
	s.ok("RunPodSandbox", err)
	p.id = id
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Runtime.StopPodSandbox(ctx, id); err != nil {
			s.Errorf("clean up: %v", err)
		}
		if err := s.Runtime.RemovePodSandbox(ctx, id); err != nil {
			s.Errorf("clean up: %v", err)
		}
	})
}

// containerConfig makes the config of a container as the agent makes it.
func (s *suite) containerConfig(p *pod, name string, attempt uint32, command ...string) *runtimeapi.ContainerConfig {
	c := &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name, Attempt: attempt},
		Image:    &runtimeapi.ImageSpec{Image: s.Image, UserSpecifiedImage: s.Image},
		Command:  command,
		Labels: map[string]string{
			cri.LabelPodName: p.config.Metadata.Name, cri.LabelPodNamespace: "troupe",
			cri.LabelPodUID: string(p.uid), cri.LabelContainerName: name,
		},
		Annotations: map[string]string{"io.kubernetes.container.hash": "abcd", "io.kubernetes.container.restartCount": fmt.Sprint(attempt)},
		Linux:       &runtimeapi.LinuxContainerConfig{},
	}
	if s.LogDir != "" {
		c.LogPath = fmt.Sprintf("%s-%s-%d.log", p.uid, name, attempt)
	}
	return c
}

func (s *suite) create(p *pod, name string, attempt uint32, command ...string) model.ContainerID {
	s.Helper()
	id, err := s.Runtime.CreateContainer(s.ctx, p.id, s.containerConfig(p, name, attempt, command...), p.config)
	s.ok("CreateContainer", err)
	return id
}

func (s *suite) start(p *pod, name string, command ...string) model.ContainerID {
	s.Helper()
	id := s.create(p, name, 0, command...)
	s.ok("StartContainer", s.Runtime.StartContainer(s.ctx, id))
	return id
}

func (s *suite) ok(op string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", op, err)
	}
}

func (s *suite) class(op string, err error, want model.OutcomeClass) {
	s.Helper()
	if got := cri.ClassOf(err); got != want {
		s.Fatalf("%s: class %v, want %v (error: %v)", op, got, want, err)
	}
}

func (s *suite) status(id model.ContainerID) model.Container {
	s.Helper()
	c, err := s.Runtime.ContainerStatus(s.ctx, id)
	s.ok("ContainerStatus", err)
	return c
}

// exited waits until a container has ended. A real runtime has nothing else to wait on here but its status; the
// events have a behaviour of their own.
func (s *suite) exited(id model.ContainerID) model.Container {
	s.Helper()
	for {
		c := s.status(id)
		if c.State == model.ContainerExited {
			return c
		}
		if c.State == model.ContainerUnknown {
			s.Fatalf("container %s is in state unknown", id)
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("container %s did not exit: %+v", id, c)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
