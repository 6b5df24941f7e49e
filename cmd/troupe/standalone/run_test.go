package standalone

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	rtactor "github.com/troupe-dev/troupe/actors/runtime"
	"github.com/troupe-dev/troupe/actors/source/embedded"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/messages/statusmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// smallAgent is the least agent that a run can have: the real /runtime actor and source, and pods run without any care.
type smallAgent struct {
	cfg AgentConfig
	sys *spawn.System
	src *embedded.Source
	wg  sync.WaitGroup
	ctx context.Context
	end context.CancelFunc
}

func startSmall(_ context.Context, cfg AgentConfig) (Agent, error) {
	a := &smallAgent{cfg: cfg, sys: spawn.NewSystem(spawn.Config{Logger: klog.Background()})}
	a.ctx, a.end = context.WithCancel(context.Background())
	a.src = embedded.New(embedded.Deps{Pods: messages.SinkFunc(a.onPods), Changed: func(*v1.Pod, bool) { cfg.Changed() }}, embedded.Config{NodeName: cfg.NodeName})
	a.sys.Root("runtime", rtactor.Kind, rtactor.New(rtactor.Deps{
		Runtime: cfg.Runtime, Runner: runner.New(runner.Config{}), Pods: messages.Nowhere, Node: messages.Nowhere, Child: cfg.Child, Log: klog.Background(),
	}, rtactor.Config{}))
	return a, nil
}

func (a *smallAgent) onPods(msg any) {
	if m, ok := msg.(podsmsg.Assigned); ok {
		a.wg.Go(func() {
			if m.Pod.DeletionTimestamp == nil {
				a.run(m.Pod)
			} else {
				a.remove(m.Pod)
			}
		})
	}
}

func (a *smallAgent) sandbox(p *v1.Pod) *runtimeapi.PodSandboxConfig {
	dir := filepath.Join(a.cfg.PodLogsDir, p.Namespace+"_"+p.Name+"_"+string(p.UID))
	return &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: p.Name, Namespace: p.Namespace, Uid: string(p.UID)}, LogDirectory: dir,
		Labels: map[string]string{"io.kubernetes.pod.uid": string(p.UID), "io.kubernetes.pod.name": p.Name, "io.kubernetes.pod.namespace": p.Namespace},
		Linux:  &runtimeapi.LinuxPodSandboxConfig{CgroupParent: a.cfg.Cgroups.Path + "/kubepods/pod" + string(p.UID)},
	}
}

func (a *smallAgent) run(p *v1.Pod) {
	st := v1.PodStatus{Phase: v1.PodPending}
	sb := a.sandbox(p)
	id, err := a.cfg.Runtime.RunPodSandbox(a.ctx, sb, "")
	for _, c := range p.Spec.Containers {
		var cid model.ContainerID
		if err == nil {
			cid, err = a.cfg.Runtime.CreateContainer(a.ctx, id, &runtimeapi.ContainerConfig{
				Metadata: &runtimeapi.ContainerMetadata{Name: c.Name}, Image: &runtimeapi.ImageSpec{Image: c.Image}, LogPath: c.Name + "/0.log",
			}, sb)
		}
		if err == nil {
			err = a.cfg.Runtime.StartContainer(a.ctx, cid)
		}
	}
	if err == nil {
		var s model.Sandbox
		if s, err = a.cfg.Runtime.PodSandboxStatus(a.ctx, id); err == nil {
			st.Phase, st.PodIP = v1.PodRunning, s.IPs[0]
			st.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}
		}
	}
	if err != nil {
		st.Reason, st.Message = "Error", err.Error()
	}
	a.src.Tell(statusmsg.Publish{Pod: p, Status: st})
}

func (a *smallAgent) remove(p *v1.Pod) {
	_ = SweepRuntime(a.ctx, a.cfg.Runtime)
	a.src.Remove(p.UID)
}

func (a *smallAgent) Add(p *v1.Pod) (*v1.Pod, error)          { return a.src.Add(p) }
func (a *smallAgent) Synced()                                 { a.src.Synced() }
func (a *smallAgent) Delete(uid types.UID, grace *int64) bool { return a.src.Delete(uid, grace) }
func (a *smallAgent) Pods() []*v1.Pod                         { return a.src.List() }
func (a *smallAgent) InspectURL() string                      { return "" }
func (a *smallAgent) Explain(*v1.Pod) string                  { return "" }
func (a *smallAgent) Stop(ctx context.Context) error          { a.end(); a.wg.Wait(); return a.sys.Stop(ctx) }

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A run from manifests to Ready, looked at by ps and logs, its runtime killed and back, and its end by stop.
func TestRunFromFileToEnd(t *testing.T) {
	r := rig(t)
	before := SeeFilter(t.Context())
	out := &syncBuffer{}
	o := Options{
		Manifests: []string{"../../../examples/hello.yaml"}, StateDir: r.Layout.Dir, Images: []string{os.Getenv("TROUPE_TEST_IMAGES")},
		Subnet: r.Subnet, CgroupRoot: "/troupe-private-test", Timeout: time.Minute, Out: out, Start: startSmall,
	}
	ended := make(chan error, 1)
	go func() { ended <- Run(t.Context(), o, nil) }()

	var rep Report
	until(t, out, "the pods are ready", func() bool {
		var err error
		rep, err = NewClient(r.Layout).Report(t.Context())
		return err == nil && rep.Phase == "running"
	})
	get := func() string {
		for _, u := range URLs(rep.Pods[0]) {
			resp, err := http.Get(u)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			return string(b)
		}
		return ""
	}
	if got := get(); !strings.Contains(got, "Hello from pod") {
		t.Errorf("the pod says %q", got)
	}
	if err := Run(t.Context(), o, nil); err == nil || !strings.Contains(err.Error(), "troupe stop") {
		t.Errorf("a second run = %v, want a refusal that names `troupe stop`", err)
	}
	ps := command(t, PsCommand(), "--state-dir", r.Layout.Dir)
	if !strings.Contains(ps, "hello") || !strings.Contains(ps, "ready") || !strings.Contains(ps, "http://10.185.") {
		t.Errorf("ps = %q", ps)
	}
	if logs := command(t, LogsCommand(), "--state-dir", r.Layout.Dir, "hello", "--tail", "1"); !strings.Contains(logs, "GET / from") {
		t.Errorf("logs = %q", logs)
	}

	// The runtime is killed: its supervisor starts it again, and the pod does not notice.
	pid := runtimePID(t, r.Layout)
	kill(t, pid)
	until(t, out, "the runtime is back", func() bool { p := runtimePID(t, r.Layout); return p != 0 && p != pid })
	if got := get(); !strings.Contains(got, "Hello from pod") {
		t.Errorf("after the runtime was killed the pod says %q", got)
	}

	command(t, StopCommand(), "--state-dir", r.Layout.Dir)
	if err := <-ended; err != nil {
		t.Errorf("run = %v\n%s", err, out)
	}
	if _, err := ReadRecord(r.Layout); err != ErrNoRun {
		t.Errorf("record after the end: %v", err)
	}
	checkNothingLeft(t, r.Layout, before)
	if t.Failed() {
		t.Log(out)
	}
}
