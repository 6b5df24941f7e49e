package criconformance

import (
	"maps"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

func versionAndConditions(s *suite) {
	v, err := s.Runtime.Version(s.ctx)
	s.ok("Version", err)
	if v.GetRuntimeName() == "" || v.GetRuntimeVersion() == "" {
		s.Errorf("name and version are missing: %v", v)
	}
	st, err := s.Runtime.Status(s.ctx, false)
	s.ok("Status", err)
	seen := map[string]bool{}
	for _, c := range st.GetStatus().GetConditions() {
		seen[c.GetType()] = c.GetStatus()
	}
	if !seen[runtimeapi.RuntimeReady] || !seen[runtimeapi.NetworkReady] {
		s.Errorf("conditions %v", st.GetStatus().GetConditions())
	}
	if len(st.GetRuntimeHandlers()) == 0 {
		s.Errorf("no runtime handlers: the default one has the empty name")
	}
	cfg, err := s.Runtime.RuntimeConfig(s.ctx)
	s.ok("RuntimeConfig", err)
	if cfg.GetLinux() == nil {
		s.Errorf("RuntimeConfig names no cgroup driver")
	}
	s.ok("UpdateRuntimeConfig", s.Runtime.UpdateRuntimeConfig(s.ctx, "10.99.0.0/24"))
}

func sandboxLife(s *suite) {
	before := time.Now().Add(-time.Second)
	p := s.sandbox()
	sb, err := s.Runtime.PodSandboxStatus(s.ctx, p.id)
	s.ok("PodSandboxStatus", err)
	if sb.ID != p.id || sb.UID != p.uid || sb.Name != p.config.Metadata.Name || sb.Namespace != "troupe" || sb.State != model.SandboxReady || !sb.Detailed {
		s.Errorf("status %+v", sb)
	}
	if len(sb.IPs) == 0 {
		s.Errorf("a ready sandbox with its own network has no IP")
	}
	if sb.CreatedAt.Before(before) || sb.CreatedAt.After(time.Now().Add(time.Second)) {
		s.Errorf("created at %v", sb.CreatedAt)
	}
	if !maps.Equal(sb.Labels, p.config.Labels) || !maps.Equal(sb.Annotations, p.config.Annotations) {
		s.Errorf("labels %v, annotations %v", sb.Labels, sb.Annotations)
	}
	l := one(s, p)
	if l.ID != p.id || l.UID != p.uid || l.State != model.SandboxReady || !maps.Equal(l.Labels, p.config.Labels) || !l.CreatedAt.After(before) {
		s.Errorf("listed as %+v", l)
	}

	s.ok("StopPodSandbox", s.Runtime.StopPodSandbox(s.ctx, p.id))
	sb, err = s.Runtime.PodSandboxStatus(s.ctx, p.id)
	s.ok("PodSandboxStatus", err)
	if sb.State != model.SandboxNotReady || len(sb.IPs) != 0 {
		s.Errorf("after the stop: %+v", sb)
	}
	if l := one(s, p); l.State != model.SandboxNotReady {
		s.Errorf("listed after the stop as %+v", l)
	}
	s.ok("RemovePodSandbox", s.Runtime.RemovePodSandbox(s.ctx, p.id))
	_, err = s.Runtime.PodSandboxStatus(s.ctx, p.id)
	s.class("PodSandboxStatus after removal", err, model.OutcomeNotFound)
	if ls, err := s.Runtime.ListPodSandbox(s.ctx, cri.SandboxFilter{UID: p.uid}); err != nil || len(ls) != 0 {
		s.Errorf("listed after removal: %v, %v", ls, err)
	}
}

// one lists the pod's sandboxes and wants exactly one.
func one(s *suite, p *pod) model.Sandbox {
	s.Helper()
	ls, err := s.Runtime.ListPodSandbox(s.ctx, cri.SandboxFilter{UID: p.uid})
	s.ok("ListPodSandbox", err)
	if len(ls) != 1 {
		s.Fatalf("%d sandboxes of pod %s: %+v", len(ls), p.uid, ls)
	}
	return ls[0]
}

func sandboxNames(s *suite) {
	p := s.sandbox()
	_, err := s.Runtime.RunPodSandbox(s.ctx, p.config, "")
	if !cri.NameReserved(err) {
		s.Fatalf("the same name and attempt again: %v", err)
	}
	s.class("RunPodSandbox again", err, model.OutcomeUnknown)
	s.ok("StopPodSandbox", s.Runtime.StopPodSandbox(s.ctx, p.id))
	if _, err = s.Runtime.RunPodSandbox(s.ctx, p.config, ""); !cri.NameReserved(err) {
		s.Fatalf("a stopped sandbox keeps its name, but: %v", err)
	}
	next := &pod{uid: p.uid, config: p.config}
	next.config.Metadata = &runtimeapi.PodSandboxMetadata{Name: p.config.Metadata.Name, Namespace: "troupe", Uid: string(p.uid), Attempt: 1}
	s.runSandbox(next)
	ls, err := s.Runtime.ListPodSandbox(s.ctx, cri.SandboxFilter{UID: p.uid})
	s.ok("ListPodSandbox", err)
	if len(ls) != 2 {
		s.Errorf("%d sandboxes, want the stopped one and attempt 1", len(ls))
	}
	s.ok("RemovePodSandbox", s.Runtime.RemovePodSandbox(s.ctx, p.id))
	again := &pod{uid: p.uid, config: &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: p.config.Metadata.Name, Namespace: "troupe", Uid: string(p.uid)},
		Labels:   p.config.Labels, Linux: p.config.Linux, LogDirectory: p.config.LogDirectory,
	}}
	s.runSandbox(again)
}

func notFound(s *suite) {
	const none = "00000000000000000000000000000000000000000000000000000000deadbeef"
	_, err := s.Runtime.PodSandboxStatus(s.ctx, none)
	s.class("PodSandboxStatus", err, model.OutcomeNotFound)
	_, err = s.Runtime.ContainerStatus(s.ctx, none)
	s.class("ContainerStatus", err, model.OutcomeNotFound)
	s.class("StartContainer", s.Runtime.StartContainer(s.ctx, none), model.OutcomeNotFound)
	p := s.podConfig()
	_, err = s.Runtime.CreateContainer(s.ctx, none, s.containerConfig(p, "a", 0, "sleep", "60"), p.config)
	s.class("CreateContainer", err, model.OutcomeNotFound)
	_, err = s.Runtime.ExecSync(s.ctx, none, []string{"true"}, time.Second)
	s.class("ExecSync", err, model.OutcomeNotFound)
	s.class("UpdateContainerResources", s.Runtime.UpdateContainerResources(s.ctx, none, &runtimeapi.LinuxContainerResources{CpuShares: 100}), model.OutcomeNotFound)
	s.class("ReopenContainerLog", s.Runtime.ReopenContainerLog(s.ctx, none), model.OutcomeNotFound)
}

func idempotent(s *suite) {
	const none = "00000000000000000000000000000000000000000000000000000000deadbeef"
	s.ok("StopPodSandbox", s.Runtime.StopPodSandbox(s.ctx, none))
	s.ok("RemovePodSandbox", s.Runtime.RemovePodSandbox(s.ctx, none))
	s.ok("StopContainer", s.Runtime.StopContainer(s.ctx, none, time.Second))
	s.ok("RemoveContainer", s.Runtime.RemoveContainer(s.ctx, none))
	s.ok("RemoveImage", s.Images.RemoveImage(s.ctx, "example.invalid/none:1"))
	p := s.sandbox()
	id := s.start(p, "a", "sh", "-c", "exit 0")
	s.exited(id)
	for range 2 {
		s.ok("StopContainer", s.Runtime.StopContainer(s.ctx, id, time.Second))
	}
	for range 2 {
		s.ok("RemoveContainer", s.Runtime.RemoveContainer(s.ctx, id))
	}
	for range 2 {
		s.ok("StopPodSandbox", s.Runtime.StopPodSandbox(s.ctx, p.id))
	}
	for range 2 {
		s.ok("RemovePodSandbox", s.Runtime.RemovePodSandbox(s.ctx, p.id))
	}
}

func stopSandbox(s *suite) {
	p := s.sandbox()
	run := s.start(p, "run", "sleep", "3600")
	made := s.create(p, "made", 0, "sleep", "3600")
	done := s.start(p, "done", "sh", "-c", "exit 0")
	s.exited(done)
	begin := time.Now()
	s.ok("StopPodSandbox", s.Runtime.StopPodSandbox(s.ctx, p.id))
	if d := time.Since(begin); d > 8*time.Second {
		s.Errorf("it took %v: a sandbox is stopped without grace", d)
	}
	// Not "exited, at last": the agent reads the states once, after the call.
	if c := s.status(run); c.State != model.ContainerExited || c.ExitCode != 137 {
		s.Errorf("the running container is %+v, want exited with 137", c)
	}
	if c := s.status(done); c.State != model.ContainerExited || c.ExitCode != 0 {
		s.Errorf("the ended container is %+v", c)
	}
	if c := s.status(made); c.State != model.ContainerCreated {
		s.Errorf("the created container is %+v: nothing touches it", c)
	}
}

func stoppedSandboxRefuses(s *suite) {
	p := s.sandbox()
	made := s.create(p, "made", 0, "sleep", "3600")
	s.ok("StopPodSandbox", s.Runtime.StopPodSandbox(s.ctx, p.id))
	_, err := s.Runtime.CreateContainer(s.ctx, p.id, s.containerConfig(p, "late", 0, "sleep", "60"), p.config)
	s.class("CreateContainer", err, model.OutcomeRefused)
	s.class("StartContainer", s.Runtime.StartContainer(s.ctx, made), model.OutcomeRefused)
	if c := s.status(made); c.State != model.ContainerExited || c.ExitCode == 0 {
		s.Errorf("a start that was refused ends the container with an error, but: %+v", c)
	}
}

func removeSandbox(s *suite) {
	p := s.sandbox()
	run := s.start(p, "run", "sleep", "3600")
	made := s.create(p, "made", 0, "sleep", "3600")
	s.ok("RemovePodSandbox", s.Runtime.RemovePodSandbox(s.ctx, p.id))
	for _, id := range []model.ContainerID{run, made} {
		_, err := s.Runtime.ContainerStatus(s.ctx, id)
		s.class("ContainerStatus", err, model.OutcomeNotFound)
	}
	if ls, err := s.Runtime.ListContainers(s.ctx, cri.ContainerFilter{UID: p.uid}); err != nil || len(ls) != 0 {
		s.Errorf("left over: %v, %v", ls, err)
	}
}

func deadline(s *suite) {
	p := s.podConfig()
	ctx, cancel := contextWithTimeout(s, time.Nanosecond)
	defer cancel()
	_, err := s.Runtime.RunPodSandbox(ctx, p.config, "")
	s.class("RunPodSandbox", err, model.OutcomeUnknown)
}

var _ testing.TB = (*suite)(nil)
