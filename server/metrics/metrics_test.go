package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/registry"
	"github.com/troupe-dev/troupe/supervisor/runner"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// scrape returns the text of /metrics.
func scrape(t *testing.T, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func expect(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, s := range want {
		if !strings.Contains(text, s+"\n") {
			t.Errorf("no %q", s)
		}
	}
}

// stub fails or works as told.
type stub struct {
	cri.Runtime
	err error
}

func (s stub) RunPodSandbox(context.Context, *runtimeapi.PodSandboxConfig, string) (model.SandboxID, error) {
	return "s", s.err
}

func (s stub) Events(_ context.Context, connected func(), handle func(model.RuntimeEvent)) error {
	connected()
	handle(model.RuntimeEvent{At: time.Now()})
	return s.err
}

func TestRuntimeCalls(t *testing.T) {
	r := New("n", 2)
	for _, err := range []error{nil, errors.New("no")} {
		rt := r.Runtime(stub{err: err})
		if id, got := rt.RunPodSandbox(t.Context(), nil, "runc"); id != "s" || !errors.Is(got, err) {
			t.Errorf("forwarded %q %v", id, got)
		}
		_ = rt.Events(t.Context(), func() {}, func(model.RuntimeEvent) {})
	}
	expect(t, scrape(t, r.Handler()),
		`kubelet_runtime_operations_total{operation_type="run_podsandbox"} 2`,
		`kubelet_runtime_operations_errors_total{operation_type="run_podsandbox"} 1`,
		`kubelet_runtime_operations_duration_seconds_count{operation_type="run_podsandbox"} 2`,
		`kubelet_run_podsandbox_errors_total{runtime_handler="runc"} 1`,
		`kubelet_started_pods_total 2`, `kubelet_started_pods_errors_total 1`,
		`kubelet_evented_pleg_connection_success_count 2`, `kubelet_evented_pleg_connection_error_count 1`,
		`kubelet_cgroup_version 2`)
}

func TestRecorder(t *testing.T) {
	r := New("n", 0)
	at := time.Unix(1000, 0)
	r.PodStarted(at, at.Add(time.Second), at.Add(10*time.Second), 7*time.Second)
	r.FullLook(at, at.Add(-10*time.Second), time.Millisecond)
	r.Probed(Probe{Type: "Readiness", Container: "c", Pod: "p", Namespace: "ns", UID: "u"}, "successful", time.Millisecond)
	r.ImagePulled(50<<20, time.Second)
	expect(t, scrape(t, r.Handler()),
		"kubelet_pod_start_duration_seconds_sum 9", "kubelet_pod_start_total_duration_seconds_sum 10", "kubelet_pod_start_sli_duration_seconds_sum 3",
		"kubelet_pleg_last_seen_seconds 1000", "kubelet_pleg_relist_interval_seconds_sum 10",
		`kubelet_image_pull_duration_seconds_count{image_size_in_bytes="10MB-100MB"} 1`)
	probe := `prober_probe_total{container="c",namespace="ns",pod="p",pod_uid="u",probe_type="Readiness",result="successful"} 1`
	expect(t, scrape(t, r.ProbesHandler()), probe)
	r.PodGone("ns", "p", "u")
	if strings.Contains(scrape(t, r.ProbesHandler()), "prober_") {
		t.Error("series of an ended pod stay")
	}
}

// Lanes and actors are read when they are scraped; the number of series does not grow with the number of pods.
func TestStateCollectors(t *testing.T) {
	r, run, reg := New("n", 0), runner.New(runner.Config{}), registry.New()
	done := make(chan struct{})
	run.Do(t.Context(), runner.Job{Lane: runner.Starts, Op: "CreateContainer", Fn: func(context.Context) error { defer close(done); return errors.New("no") }})
	<-done
	for run.Snapshot().Lanes[0].Done == 0 {
		time.Sleep(time.Millisecond) // the runner counts after Fn has returned
	}
	r.Register(EffectState(run))
	r.Register(ActorState(reg))
	pods := reg.Add(nil, "pods", "pods")
	for i := range 50 {
		e := reg.Add(pods, fmt.Sprint("uid-", i), "pod")
		e.SetState("Running")
		e.SetMailbox(func() int { return i })
	}
	text := scrape(t, r.Handler())
	expect(t, text,
		`troupe_actors{kind="pod",state="Running"} 50`, `troupe_actor_mailbox_messages{kind="pod"} 1225`, `troupe_actor_mailbox_messages_max{kind="pod"} 49`,
		`troupe_effects_total{lane="starts",op="CreateContainer"} 1`, `troupe_effect_errors_total{lane="starts",op="CreateContainer"} 1`,
		`troupe_effect_duration_seconds_count{lane="starts",op="CreateContainer"} 1`, `troupe_actors_stuck 0`)
	if strings.Contains(text, "uid-") {
		t.Error("a pod has series of its own")
	}
}

// Nobody can make series by inventing paths or methods.
func TestHTTPLabels(t *testing.T) {
	r := New("n", 0)
	h := r.HTTP("readwrite", http.NotFoundHandler())
	for i := range 20 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(fmt.Sprint("M", i), fmt.Sprint("/x", i), nil))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", fmt.Sprint("/metrics/x", i), nil))
	}
	expect(t, scrape(t, r.Handler()), `kubelet_http_requests_total{long_running="false",method="other",path="other",server_type="readwrite"} 20`,
		`kubelet_http_requests_total{long_running="false",method="GET",path="other",server_type="readwrite"} 20`)
}
