package inspect

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/registry"
	"github.com/troupe-dev/troupe/supervisor/runner"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }
func in(d time.Duration) time.Time  { return now.Add(d) }
func code(n int32) *int32           { return &n }

// app is a container of the pod under test.
func app(change func(*model.ContainerExplain)) model.ContainerExplain {
	c := model.ContainerExplain{Name: "app", Kind: "app", Stage: "Up", Image: "nginx:latest", Started: true, Ready: true}
	change(&c)
	return c
}

func TestSentence(t *testing.T) {
	up := app(func(*model.ContainerExplain) {})
	for name, c := range map[string]struct {
		pod  model.PodExplain
		want string
	}{
		"pull fails": {model.PodExplain{Stage: "Running", Containers: []model.ContainerExplain{app(func(c *model.ContainerExplain) {
			c.Stage, c.Ready, c.Reason, c.Failures, c.LastError, c.RetryAt = "Backoff", false, "ErrImagePull", 3, "not found", in(40*time.Second)
		})}}, "Pod default/web is not ready: container app waits for its image nginx:latest; pull has failed 3 times (ErrImagePull: not found); next try in 40 s."},
		"pull runs": {model.PodExplain{Stage: "Running", Containers: []model.ContainerExplain{app(func(c *model.ContainerExplain) {
			c.Stage, c.Ready, c.InFlight = "Pulling", false, []model.CallView{{Op: "PullImage", Since: ago(12 * time.Second)}}
		})}}, "Pod default/web is not ready: container app waits for its image nginx:latest; PullImage has been in progress for 12 s."},
		"crash loop": {model.PodExplain{Stage: "Running", Containers: []model.ContainerExplain{app(func(c *model.ContainerExplain) {
			c.Stage, c.Ready, c.Reason, c.Restarts, c.ExitCode, c.ExitReason, c.ExitedAt, c.RetryAt = "Backoff", false, "CrashLoopBackOff", 7, code(137), "OOMKilled", ago(65*time.Second), in(95*time.Second)
		})}}, "Pod default/web is not ready: container app keeps ending (last exit code 137, OOMKilled, 1 min 5 s ago); restarts: 7; next try in 1 min 35 s."},
		"hung sandbox": {model.PodExplain{Stage: "Starting", Blockers: []model.Blocker{{Kind: model.BlockedBySandbox, What: "its sandbox"}},
			InFlight: []model.CallView{{Op: "RunPodSandbox", Since: ago(3 * time.Minute), Overdue: true}}},
			"Pod default/web is not ready: it waits for its sandbox; RunPodSandbox has not answered for 3 min, longer than such calls take."},
		"sandbox refused": {model.PodExplain{Stage: "Starting", Failures: 2, LastError: "cni:\n plugin not initialized.", RetryAt: in(4 * time.Second)},
			"Pod default/web is not ready: it is starting; it has failed twice (cni: plugin not initialized); next try in 4 s."},
		"volumes": {model.PodExplain{Stage: "Starting", Blockers: []model.Blocker{{Kind: model.BlockedByVolumes, What: `volume conf (configmap "x" not found)`, Since: ago(90 * time.Second)}}},
			`Pod default/web is not ready: it waits for volume conf (configmap "x" not found) for 1 min 30 s.`},
		"init first": {model.PodExplain{Stage: "Initializing", Containers: []model.ContainerExplain{
			{Name: "wait", Kind: "init", Stage: "Up", Started: true, Ready: true},
			app(func(c *model.ContainerExplain) { c.Stage, c.Ready = "Held", false }),
		}}, "Pod default/web is not ready: init container wait runs but its readiness probe has not succeeded."},
		"readiness": {model.PodExplain{Stage: "Running", Containers: []model.ContainerExplain{app(func(c *model.ContainerExplain) { c.Ready, c.Blocker = false, "HTTP 503" })}},
			"Pod default/web is not ready: container app runs but its readiness probe has not succeeded (HTTP 503)."},
		"startup": {model.PodExplain{Stage: "Running", Containers: []model.ContainerExplain{app(func(c *model.ContainerExplain) { c.Ready, c.Started = false, false })}},
			"Pod default/web is not ready: container app runs but its startup probe has not succeeded."},
		"trouble before held": {model.PodExplain{Stage: "Running", Containers: []model.ContainerExplain{
			app(func(c *model.ContainerExplain) { c.Name, c.Stage, c.Ready = "a", "Held", false }),
			app(func(c *model.ContainerExplain) {
				c.Name, c.Stage, c.Ready, c.LastError = "b", "Creating", false, "no such device"
			}),
		}}, "Pod default/web is not ready: container b is being created; the last try failed (no such device)."},
		"doubt": {model.PodExplain{Stage: "Running", Containers: []model.ContainerExplain{app(func(c *model.ContainerExplain) { c.Stage, c.Ready, c.LastError = "Doubt", false, "deadline exceeded" })}},
			"Pod default/web is not ready: container app is in doubt: a call ended without an answer, and the runtime is being asked what came of it (deadline exceeded)."},
		"ready": {model.PodExplain{Stage: "Running", Ready: true, Since: ago(26 * time.Hour), Containers: []model.ContainerExplain{up, up}},
			"Pod default/web is ready: its 2 containers run, and it has been running for 26 h."},
		"ending": {model.PodExplain{Stage: "Ending", Since: ago(5 * time.Second), Reason: "deletion was asked", Deadline: in(25 * time.Second), Containers: []model.ContainerExplain{
			app(func(c *model.ContainerExplain) {
				c.Stage, c.InFlight = "Stopping", []model.CallView{{Op: "StopContainer", Since: ago(5 * time.Second)}}
			})}},
			"Pod default/web is ending for 5 s (deletion was asked): container app has not stopped yet; the grace period has 25 s left; StopContainer has been in progress for 5 s for app."},
		"ended, API away": {model.PodExplain{Stage: "Ended", Phase: "Failed", Reason: "Evicted", Blockers: []model.Blocker{{Kind: model.BlockedByStatus, What: "the API server to take the last status", Since: ago(time.Minute)}}},
			"Pod default/web has ended as Failed (Evicted) and is being cleaned up; it waits for the API server to take the last status for 1 min."},
		"unknown": {model.PodExplain{}, "Pod default/web is not ready: it is not known yet."},
	} {
		t.Run(name, func(t *testing.T) {
			c.pod.Namespace, c.pod.Name = "default", "web"
			if got := Sentence(c.pod, now); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

// Whatever a pod publishes, it is one line that names the pod and ends as a sentence.
func TestSentenceProperty(t *testing.T) {
	stages := []string{"Held", "Backoff", "Pulling", "Creating", "Starting", "Up", "Stopping", "Exited", "Doubt", "Done", "new"}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"", "one.", "two\nlines", strings.Repeat("long ", 200)})
		e := model.PodExplain{Namespace: "ns", Name: "p",
			Stage:    rapid.SampledFrom([]string{"", "Queued", "Starting", "Initializing", "Running", "Ending", "Ended", "Finished", "new"}).Draw(t, "stage"),
			Ready:    rapid.Bool().Draw(t, "ready"),
			Failures: rapid.IntRange(0, 3).Draw(t, "failures"), LastError: text.Draw(t, "error"), Reason: text.Draw(t, "reason"),
		}
		if rapid.Bool().Draw(t, "blocked") {
			e.Blockers = []model.Blocker{{Kind: model.BlockedByVolumes, What: text.Draw(t, "what")}}
		}
		for range rapid.IntRange(0, 3).Draw(t, "containers") {
			e.Containers = append(e.Containers, model.ContainerExplain{Name: "c", Kind: rapid.SampledFrom([]string{"init", "sidecar", "app", "ephemeral"}).Draw(t, "kind"),
				Stage: rapid.SampledFrom(stages).Draw(t, "cstage"), Ready: rapid.Bool().Draw(t, "cready"), Blocker: text.Draw(t, "blocker"),
				LastError: text.Draw(t, "cerror"), Message: text.Draw(t, "message"), Failures: rapid.IntRange(0, 2).Draw(t, "cfail")})
		}
		s := Sentence(e, now)
		if !strings.HasPrefix(s, "Pod ns/p ") || !strings.HasSuffix(s, ".") || strings.HasSuffix(s, "..") || strings.ContainsAny(s, "\n\r") || len(s) > 1200 {
			t.Fatalf("%q", s)
		}
	})
}

// A pod cannot say that its own actor is broken, or that a call is overdue; the answer does.
func TestMerge(t *testing.T) {
	until := in(30 * time.Second)
	e := merge(model.PodExplain{Namespace: "default", Name: "web", Stage: "Running", Ready: true},
		&registry.Node{Panics: 3, QuarantinedUntil: &until, LastPanic: &registry.Panic{Value: "index out of range", At: ago(10 * time.Second)}}, nil, now)
	if got := Sentence(e, now); got != "Pod default/web is not ready: it waits for its actor, which is quarantined after 3 panics (index out of range) for 10 s; next try in 30 s." {
		t.Error(got)
	}
	if !strings.Contains(Advice(e), "fault of the agent") {
		t.Error(Advice(e))
	}
	since := ago(time.Minute)
	e = merge(model.PodExplain{}, &registry.Node{InHand: "podmsg.Look", Since: &since}, nil, now)
	if got := Sentence(e, now); !strings.Contains(got, "its actor, which is stuck in podmsg.Look for 1 min") {
		t.Error(got)
	}
	shared := []model.CallView{{Op: "RunPodSandbox", Since: ago(time.Minute)}}
	e = merge(model.PodExplain{InFlight: shared}, nil, []runner.InFlight{{Op: "RunPodSandbox", Overdue: true}}, now)
	if !e.InFlight[0].Overdue || shared[0].Overdue {
		t.Errorf("overdue %v, and what the actor published %v", e.InFlight[0].Overdue, shared[0].Overdue)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0 s", 250 * time.Millisecond: "250 ms", 1400 * time.Millisecond: "1 s", 61 * time.Second: "1 min 1 s", time.Hour: "1 h",
		90 * time.Minute: "1 h 30 min", 72 * time.Hour: "3 d", 75 * time.Hour: "3 d 3 h",
	} {
		if got := span(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestScrub(t *testing.T) {
	s := newScrubber()
	for in, want := range map[string]string{
		`pull https://joe:pw@reg.io/v2/x: denied`:                                              `pull https://***@reg.io/v2/x: denied`,
		`GET /x?sig=abc%3D&X-Amz-Signature=00ff&n=1`:                                           `GET /x?sig=***&X-Amz-Signature=***&n=1`,
		`Authorization: Bearer abcdefghijkl`:                                                   `Authorization: Bearer ***`,
		`token eyJhbGciOiJSUzI1.eyJpc3MiOiJrdWJlcm.sig`:                                        `token ***`,
		`{"at":"2026-01-02T03:04:05Z","image":"nginx@sha256:00112233","secret":"default/tls"}`: `{"at":"2026-01-02T03:04:05Z","image":"nginx@sha256:00112233","secret":"default/tls"}`,
	} {
		if got := string(s.bytes([]byte(in))); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

// The page asks no other address for anything, and puts nothing into markup.
func TestPageIsSelfContained(t *testing.T) {
	for _, bad := range []string{"http://", "https://", "innerHTML", "document.write", "eval(", "<link", "src="} {
		if strings.Contains(string(page), bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
}
