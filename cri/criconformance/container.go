package criconformance

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

func contextWithTimeout(s *suite, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, d)
}

func containerLife(s *suite) {
	p := s.sandbox()
	before := time.Now().Add(-time.Second)
	id := s.create(p, "main", 0, "sleep", "3600")
	c := s.status(id)
	if c.State != model.ContainerCreated || c.CreatedAt.Before(before) || !c.StartedAt.IsZero() || !c.FinishedAt.IsZero() || !c.Detailed {
		s.Errorf("created: %+v", c)
	}
	if c.UID != p.uid || c.Name != "main" || c.PodName != p.config.Metadata.Name || c.Namespace != "troupe" {
		s.Errorf("identity: %+v", c)
	}
	s.ok("StartContainer", s.Runtime.StartContainer(s.ctx, id))
	c = s.status(id)
	if c.State != model.ContainerRunning || c.StartedAt.Before(c.CreatedAt) || !c.FinishedAt.IsZero() {
		s.Errorf("started: %+v", c)
	}
	if c.Image == "" || c.ImageRef == "" || c.ImageID == "" {
		s.Errorf("image %q, ref %q, id %q", c.Image, c.ImageRef, c.ImageID)
	}
	ls, err := s.Runtime.ListContainers(s.ctx, cri.ContainerFilter{UID: p.uid})
	s.ok("ListContainers", err)
	if len(ls) != 1 {
		s.Fatalf("listed %+v", ls)
	}
	l := ls[0]
	if l.ID != id || l.Sandbox != p.id || l.State != model.ContainerRunning || l.UID != p.uid || l.Name != "main" || !l.CreatedAt.Equal(c.CreatedAt) {
		s.Errorf("listed as %+v", l)
	}
	s.ok("StopContainer", s.Runtime.StopContainer(s.ctx, id, 0))
	s.ok("RemoveContainer", s.Runtime.RemoveContainer(s.ctx, id))
	_, err = s.Runtime.ContainerStatus(s.ctx, id)
	s.class("ContainerStatus after removal", err, model.OutcomeNotFound)
}

func roundTrip(s *suite) {
	p := s.sandbox()
	cfg := s.containerConfig(p, "main", 7, "sleep", "3600")
	cfg.Labels["extra"] = "ünïcode and spaces"
	cfg.Annotations["io.kubernetes.container.ports"] = `[{"containerPort":80}]`
	cfg.Annotations["empty"] = ""
	id, err := s.Runtime.CreateContainer(s.ctx, p.id, cfg, p.config)
	s.ok("CreateContainer", err)
	c := s.status(id)
	if !maps.Equal(c.Labels, cfg.Labels) || !maps.Equal(c.Annotations, cfg.Annotations) || c.Attempt != 7 {
		s.Errorf("status has labels %v, annotations %v, attempt %d", c.Labels, c.Annotations, c.Attempt)
	}
	ls, err := s.Runtime.ListContainers(s.ctx, cri.ContainerFilter{UID: p.uid})
	s.ok("ListContainers", err)
	if len(ls) != 1 || !maps.Equal(ls[0].Labels, cfg.Labels) || !maps.Equal(ls[0].Annotations, cfg.Annotations) || ls[0].Attempt != 7 {
		s.Errorf("listed as %+v", ls)
	}
}

func containerNames(s *suite) {
	p := s.sandbox()
	id := s.start(p, "main", "sh", "-c", "exit 0")
	_, err := s.Runtime.CreateContainer(s.ctx, p.id, s.containerConfig(p, "main", 0, "sleep", "1"), p.config)
	if !cri.NameReserved(err) {
		s.Fatalf("the same name and attempt again: %v", err)
	}
	s.class("CreateContainer again", err, model.OutcomeUnknown)
	s.create(p, "main", 1, "sleep", "1")
	s.exited(id)
	s.ok("RemoveContainer", s.Runtime.RemoveContainer(s.ctx, id))
	s.create(p, "main", 0, "sleep", "1")
}

func absentImage(s *suite) {
	p := s.sandbox()
	cfg := s.containerConfig(p, "main", 0, "sleep", "1")
	cfg.Image = &runtimeapi.ImageSpec{Image: "example.invalid/none:1"}
	_, err := s.Runtime.CreateContainer(s.ctx, p.id, cfg, p.config)
	if cri.ClassOf(err) != model.OutcomeNotFound && cri.ClassOf(err) != model.OutcomeRefused {
		s.Fatalf("CreateContainer with an absent image: %v", err)
	}
	// The name is free again.
	s.create(p, "main", 0, "sleep", "1")
}

func exitCodes(s *suite) {
	p := s.sandbox()
	for _, tc := range []struct {
		name, script string
		code         int32
		reason       string
	}{
		{"zero", "exit 0", 0, "Completed"},
		{"three", "exit 3", 3, "Error"},
		{"later", "sleep 1; exit 42", 42, "Error"},
	} {
		id := s.start(p, tc.name, "sh", "-c", tc.script)
		c := s.exited(id)
		if c.ExitCode != tc.code || c.Reason != tc.reason {
			s.Errorf("%s: code %d, reason %q; want %d, %q", tc.name, c.ExitCode, c.Reason, tc.code, tc.reason)
		}
		// containerd notes the start after the start call, the end when the process ended: a short life ends before it
		// starts, by a few milliseconds.
		if c.StartedAt.IsZero() || c.FinishedAt.Before(c.StartedAt.Add(-time.Second)) || c.FinishedAt.After(time.Now().Add(time.Second)) {
			s.Errorf("%s: started %v, finished %v", tc.name, c.StartedAt, c.FinishedAt)
		}
	}
}

func startFails(s *suite) {
	p := s.sandbox()
	id := s.create(p, "main", 0, "/no/such/program")
	s.class("StartContainer", s.Runtime.StartContainer(s.ctx, id), model.OutcomeRefused)
	c := s.status(id)
	if c.State != model.ContainerExited || c.ExitCode == 0 || c.Reason == "" || c.Message == "" {
		s.Errorf("after a start that failed: %+v", c)
	}
}

func startTwice(s *suite) {
	p := s.sandbox()
	id := s.start(p, "main", "sleep", "3600")
	s.class("StartContainer again", s.Runtime.StartContainer(s.ctx, id), model.OutcomeRefused)
	end := s.start(p, "end", "sh", "-c", "exit 5")
	s.exited(end)
	s.class("StartContainer after its exit", s.Runtime.StartContainer(s.ctx, end), model.OutcomeRefused)
	if c := s.status(end); c.State != model.ContainerExited {
		s.Errorf("it is %+v", c)
	}
}

// trapping is a program that handles SIGTERM, once its trap stands (see settle).
const trapping = "trap 'exit 9' TERM; sleep 3600 & wait"

func stopHandled(s *suite) {
	p := s.sandbox()
	id := s.start(p, "main", "sh", "-c", trapping)
	s.settle(id)
	begin := time.Now()
	s.ok("StopContainer", s.Runtime.StopContainer(s.ctx, id, 20*time.Second))
	if d := time.Since(begin); d > 10*time.Second {
		s.Errorf("it took %v of a grace of 20 s", d)
	}
	if c := s.status(id); c.State != model.ContainerExited || c.ExitCode != 9 {
		s.Errorf("after the stop: %+v, want exit code 9", c)
	}
}

// settle lets a shell set its trap: an exec goes through the same process start and comes later.
func (s *suite) settle(id model.ContainerID) {
	s.Helper()
	_, err := s.Runtime.ExecSync(s.ctx, id, []string{"sh", "-c", "sleep 1"}, 10*time.Second)
	s.ok("ExecSync", err)
}

func stopKilled(s *suite) {
	p := s.sandbox()
	id := s.start(p, "main", "sh", "-c", "trap '' TERM; sleep 3600")
	s.settle(id)
	begin := time.Now()
	s.ok("StopContainer", s.Runtime.StopContainer(s.ctx, id, 2*time.Second))
	if d := time.Since(begin); d < 1900*time.Millisecond || d > 12*time.Second {
		s.Errorf("it took %v, the grace is 2 s", d)
	}
	if c := s.status(id); c.State != model.ContainerExited || c.ExitCode != 137 || c.Reason != "Error" {
		s.Errorf("after the stop: %+v, want exit code 137, reason Error", c)
	}
}

func stopNow(s *suite) {
	p := s.sandbox()
	id := s.start(p, "main", "sh", "-c", trapping)
	s.ok("StopContainer", s.Runtime.StopContainer(s.ctx, id, 0))
	if c := s.status(id); c.State != model.ContainerExited || c.ExitCode != 137 {
		s.Errorf("after the stop: %+v, want exit code 137", c)
	}
}

func stopCreated(s *suite) {
	p := s.sandbox()
	id := s.create(p, "main", 0, "sleep", "3600")
	s.ok("StopContainer", s.Runtime.StopContainer(s.ctx, id, time.Second))
	if c := s.status(id); c.State != model.ContainerCreated {
		s.Fatalf("after the stop: %+v", c)
	}
	s.ok("StartContainer", s.Runtime.StartContainer(s.ctx, id))
	other := s.create(p, "other", 0, "sleep", "3600")
	s.ok("RemoveContainer", s.Runtime.RemoveContainer(s.ctx, other))
	_, err := s.Runtime.ContainerStatus(s.ctx, other)
	s.class("ContainerStatus", err, model.OutcomeNotFound)
}

func removeRunning(s *suite) {
	p := s.sandbox()
	id := s.start(p, "main", "sleep", "3600")
	s.ok("RemoveContainer", s.Runtime.RemoveContainer(s.ctx, id))
	_, err := s.Runtime.ContainerStatus(s.ctx, id)
	s.class("ContainerStatus", err, model.OutcomeNotFound)
}

func filters(s *suite) {
	a, b := s.sandbox(), s.sandbox()
	ca, cb := s.create(a, "main", 0, "sleep", "1"), s.create(b, "main", 0, "sleep", "1")
	for _, tc := range []struct {
		name   string
		filter cri.ContainerFilter
		want   model.ContainerID
	}{
		{"pod a", cri.ContainerFilter{UID: a.uid}, ca},
		{"sandbox b", cri.ContainerFilter{Sandbox: b.id}, cb},
		{"both", cri.ContainerFilter{UID: b.uid, Sandbox: b.id}, cb},
		{"pod of the one, sandbox of the other", cri.ContainerFilter{UID: a.uid, Sandbox: b.id}, ""},
		{"no such pod", cri.ContainerFilter{UID: "nobody"}, ""},
	} {
		ls, err := s.Runtime.ListContainers(s.ctx, tc.filter)
		s.ok("ListContainers", err)
		var got []model.ContainerID
		for _, c := range ls {
			got = append(got, c.ID)
		}
		if (tc.want == "" && len(got) != 0) || (tc.want != "" && (len(got) != 1 || got[0] != tc.want)) {
			s.Errorf("%s: got %v, want %q", tc.name, got, tc.want)
		}
	}
	all, err := s.Runtime.ListContainers(s.ctx, cri.ContainerFilter{})
	s.ok("ListContainers", err)
	seen := map[model.ContainerID]bool{}
	for _, c := range all {
		seen[c.ID] = true
	}
	if !seen[ca] || !seen[cb] {
		s.Errorf("a list without filter misses some of %s, %s", ca, cb)
	}
	sbs, err := s.Runtime.ListPodSandbox(s.ctx, cri.SandboxFilter{})
	s.ok("ListPodSandbox", err)
	found := 0
	for _, sb := range sbs {
		if sb.ID == a.id || sb.ID == b.id {
			found++
		}
	}
	if found != 2 {
		s.Errorf("a list without filter has %d of 2 sandboxes", found)
	}
}

func execSync(s *suite) {
	p := s.sandbox()
	id := s.start(p, "main", "sleep", "3600")
	r, err := s.Runtime.ExecSync(s.ctx, id, []string{"sh", "-c", "echo out; echo err >&2; exit 7"}, 10*time.Second)
	s.ok("ExecSync", err)
	if string(r.Stdout) != "out\n" || string(r.Stderr) != "err\n" || r.ExitCode != 7 {
		s.Errorf("stdout %q, stderr %q, code %d", r.Stdout, r.Stderr, r.ExitCode)
	}
	r, err = s.Runtime.ExecSync(s.ctx, id, []string{"true"}, 0)
	s.ok("ExecSync without timeout", err)
	if r.ExitCode != 0 {
		s.Errorf("code %d", r.ExitCode)
	}
}

func execTimeout(s *suite) {
	p := s.sandbox()
	id := s.start(p, "main", "sleep", "3600")
	_, err := s.Runtime.ExecSync(s.ctx, id, []string{"sleep", "30"}, time.Second)
	if err == nil || !strings.Contains(err.Error(), cri.ErrExecTimeout.Error()) {
		s.Fatalf("ExecSync: %v, want one that wraps %q", err, cri.ErrExecTimeout)
	}
	if c := s.status(id); c.State != model.ContainerRunning {
		s.Errorf("the container suffered from it: %+v", c)
	}
}

func execNotRunning(s *suite) {
	p := s.sandbox()
	id := s.create(p, "main", 0, "sleep", "3600")
	_, err := s.Runtime.ExecSync(s.ctx, id, []string{"true"}, time.Second)
	s.class("ExecSync", err, model.OutcomeRefused)
}

func logs(s *suite) {
	if s.LogDir == "" {
		s.Log("the target writes no logs")
		return
	}
	p := s.sandbox()
	id := s.start(p, "main", "sh", "-c", "echo first; echo second >&2; exit 0")
	c := s.exited(id)
	want := filepath.Join(s.LogDir, s.containerConfig(p, "main", 0).LogPath)
	if c.LogPath != want {
		s.Errorf("log path %q, want %q", c.LogPath, want)
	}
	b, err := os.ReadFile(want)
	s.ok("read the log", err)
	for _, part := range []string{" stdout F first\n", " stderr F second\n"} {
		if !strings.Contains(string(b), part) {
			s.Errorf("no %q in %q", part, b)
		}
	}
	stamp, _, _ := strings.Cut(string(b), " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil {
		s.Errorf("time stamp %q: %v", stamp, err)
	}
	run := s.start(p, "run", "sleep", "3600")
	path := s.status(run).LogPath
	s.ok("move the log away", os.Rename(path, path+".1"))
	s.ok("ReopenContainerLog", s.Runtime.ReopenContainerLog(s.ctx, run))
	if _, err := os.Stat(path); err != nil {
		s.Errorf("after ReopenContainerLog: %v", err)
	}
	s.class("ReopenContainerLog of an ended container", s.Runtime.ReopenContainerLog(s.ctx, id), model.OutcomeRefused)
}

func resources(s *suite) {
	p := s.sandbox()
	cfg := s.containerConfig(p, "main", 0, "sleep", "3600")
	cfg.Linux.Resources = &runtimeapi.LinuxContainerResources{CpuShares: 102, MemoryLimitInBytes: 64 << 20}
	id, err := s.Runtime.CreateContainer(s.ctx, p.id, cfg, p.config)
	s.ok("CreateContainer", err)
	s.ok("StartContainer", s.Runtime.StartContainer(s.ctx, id))
	if r := s.status(id).Resources.GetLinux(); r.GetCpuShares() != 102 || r.GetMemoryLimitInBytes() != 64<<20 {
		s.Errorf("resources %v", r)
	}
	s.ok("UpdateContainerResources", s.Runtime.UpdateContainerResources(s.ctx, id, &runtimeapi.LinuxContainerResources{CpuShares: 204, MemoryLimitInBytes: 96 << 20}))
	if r := s.status(id).Resources.GetLinux(); r.GetCpuShares() != 204 || r.GetMemoryLimitInBytes() != 96<<20 {
		s.Errorf("resources after the update %v", r)
	}
}
