package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/server/health"
	"github.com/troupe-dev/troupe/server/inspect"
)

func TestRoutes(t *testing.T) {
	ca := newAuthority(t, "ca")
	logDir := t.TempDir()
	if err := os.WriteFile(filepath.Join(logDir, "messages"), []byte("system log"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, func(d *Deps, c *Config) {
		c.EnableSystemLogHandler, c.SystemLogDir = true, logDir
		d.Configz = func() any {
			return &kubeletconfig.KubeletConfiguration{MaxPods: 7, StaticPodURLHeader: map[string][]string{"Authorization": {"hush"}}}
		}
	})
	c := ca.client(t, "")
	for _, q := range []struct {
		method, path string
		code         int
		has          string
	}{
		{"GET", "/healthz", 200, "ok"},
		{"GET", "/healthz?verbose", 200, "[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n"},
		{"GET", "/healthz/syncloop", 200, "ok"},
		{"GET", "/pods", 200, `{"kind":"PodList","apiVersion":"v1"`},
		{"GET", "/pods/", 200, `"name":"web"`},
		{"POST", "/pods", 405, ""},
		{"GET", "/runningpods/", 200, `"containers":[{"name":"app","image":"nginx"`},
		{"GET", "/containerLogs/default/none/app", 404, `pod "none" does not exist`},
		{"GET", "/containerLogs/default/web/none", 404, `container "none" not found in pod "web"`},
		{"GET", "/containerLogs/default/web/late", 400, `container "late" in pod "web" is waiting to start: ContainerCreating`},
		{"GET", "/containerLogs/default/web/app?previous=true", 400, `previous terminated container "app" in pod "web" not found`},
		{"GET", "/containerLogs/default/web/app?tailLines=x", 400, `{"message": "Unable to decode query."}`},
		{"GET", "/containerLogs/default/web/app?tailLines=-1", 422, `{"message": "Invalid request."}`},
		{"POST", "/run/default/web/app?cmd=echo%20hi", 200, "echo+hi"},
		{"POST", "/run/default/web/uid-web/app?cmd=echo", 200, "echo"},
		{"POST", "/run/default/web/wrong/app?cmd=echo", 404, "pod not found"},
		{"POST", "/run/default/web/app?cmd=false", 500, "command 'false' exited with 3: no"},
		{"GET", "/run/default/web/app?cmd=echo", 405, ""},
		{"POST", "/exec/default/none/app?command=x&output=1", 404, "pod does not exist"},
		{"POST", "/exec/default/web/app?command=x", 400, "you must specify at least 1 of stdin, stdout, stderr"},
		{"POST", "/exec/default/web/none?command=x&output=1", 500, `container not found ("none")`},
		{"POST", "/portForward/default/none", 404, "pod does not exist"},
		{"POST", "/checkpoint/default/web/app?timeout=9", 200, `{"items":["`},
		{"POST", "/checkpoint/default/web/none", 404, "container none does not exist"},
		{"POST", "/checkpoint/default/web/app?timeout=x", 404, "cannot parse value of timeout parameter"},
		{"GET", "/configz", 200, `"maxPods":7`},
		{"GET", "/debug/pprof/cmdline", 200, "server.test"},
		{"PUT", "/debug/flags/v", 400, "invalid syntax"},
		{"GET", "/debug/flags/v", 406, "unsupported http method"},
		{"GET", "/logs/messages", 200, "system log"},
		{"GET", "/logs/../../etc/passwd", 404, ""},
		{"GET", "/metrics", 200, `kubelet_node_name{node="node-1"} 1`},
		{"GET", "/metrics", 200, `kubelet_running_containers{container_state="running"} 1`},
		{"GET", "/metrics", 200, `kubelet_http_requests_total{long_running="false",method="GET",path="pods",server_type="readwrite"}`},
		{"GET", "/metrics", 200, "go_goroutines"},
		{"GET", "/metrics/probes", 200, ""},
		{"GET", "/metrics/slis", 200, `kubernetes_healthcheck{name="syncloop",type="healthz"} 1`},
		{"GET", "/stats/summary", 501, ""},
		{"GET", "/nowhere", 404, ""},
	} {
		code, body := do(t, c, q.method, r.url(q.path))
		if code != q.code || !strings.Contains(body, q.has) {
			t.Errorf("%s %s: %d %q, want %d with %q", q.method, q.path, code, shorten(body), q.code, q.has)
		}
		if strings.Contains(body, "hush") {
			t.Errorf("%s shows a credential", q.path)
		}
	}
}

func shorten(s string) string { return s[:min(len(s), 300)] }

func TestDisabled(t *testing.T) {
	ca := newAuthority(t, "ca")
	r := start(t, func(_ *Deps, c *Config) { c.EnableDebuggingHandlers = false })
	for _, path := range []string{"/exec/a/b/c", "/containerLogs/a/b/c", "/debug/pprof/", "/runningpods/"} {
		if code, body := do(t, ca.client(t, ""), "GET", r.url(path)); code != 405 || body != "Debug endpoints are disabled.\n" {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	if code, _ := do(t, ca.client(t, ""), "GET", r.url("/pods")); code != 200 {
		t.Errorf("/pods: %d", code)
	}
}

func TestHealthPort(t *testing.T) {
	var sick atomic.Bool
	r := start(t, func(d *Deps, c *Config) {
		c.Secure, c.Healthz = "", "127.0.0.1:0"
		d.Health = []health.Check{{Name: "syncloop", Check: func() error {
			if sick.Load() {
				return errors.New("no actor has moved for 6 min")
			}
			return nil
		}}}
	})
	base := "http://" + r.Addr("healthz")
	if code, body := do(t, http.DefaultClient, "GET", base+"/healthz"); code != 200 || body != "ok" {
		t.Errorf("%d %q", code, body)
	}
	sick.Store(true)
	if code, body := do(t, http.DefaultClient, "GET", base+"/healthz"); code != 500 || !strings.Contains(body, "[-]syncloop failed: reason withheld") {
		t.Errorf("%d %q", code, body)
	}
	if code, _ := do(t, http.DefaultClient, "GET", base+"/healthz?exclude=syncloop"); code != 200 {
		t.Errorf("excluded: %d", code)
	}
	if code, _ := do(t, http.DefaultClient, "GET", base+"/pods"); code != 404 {
		t.Errorf("the health port serves pods: %d", code)
	}
}

// A followed log arrives line by line over HTTPS and ends when the container ends.
func TestFollowOverHTTPS(t *testing.T) {
	ca := newAuthority(t, "ca")
	path := filepath.Join(t.TempDir(), "0.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var ended atomic.Bool
	r := start(t, nil)
	r.runtime.logPath, r.runtime.ended = path, ended.Load
	req, _ := http.NewRequestWithContext(t.Context(), "GET", r.url("/containerLogs/default/web/app?follow=true"), nil)
	res, err := ca.client(t, "").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	in := bufio.NewReader(res.Body)
	for _, word := range []string{"one", "two"} {
		_, _ = f.WriteString("2026-01-02T03:04:05.000000006Z stdout F " + word + "\n")
		if line, err := in.ReadString('\n'); err != nil || line != word+"\n" {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	ended.Store(true)
	_ = f.Close()
	if rest, err := io.ReadAll(in); err != nil || len(rest) != 0 {
		t.Errorf("rest %q, %v", rest, err)
	}
}

// The end of the server ends followers and streams, and nothing of it stays: no goroutine, no open port.
func TestNothingIsLeft(t *testing.T) {
	ca := newAuthority(t, "ca")
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := ca.client(t, "")
	before := runtime.NumGoroutine()
	socket := filepath.Join(t.TempDir(), "own", "troupe.sock")
	r := start(t, func(_ *Deps, c *Config) { c.Socket = socket; c.Healthz = "127.0.0.1:0" })
	r.runtime.logPath = path
	req, _ := http.NewRequestWithContext(t.Context(), "GET", r.url("/containerLogs/default/web/app?follow=true"), nil)
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	idle, err := net.Dial("tcp", r.Addr("https"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	address := r.Addr("https")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	c.CloseIdleConnections()
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("the port is still open")
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	settle(t, before)
}

// settle waits until the number of goroutines is back.
func settle(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(10 * time.Millisecond) // polls a count that has no event
	}
}

// Connections that come and go leave nothing behind in the server.
func TestConnectionsDoNotAccumulate(t *testing.T) {
	ca := newAuthority(t, "ca")
	r := start(t, nil)
	c := ca.client(t, "")
	do(t, c, "GET", r.url("/healthz"))
	c.CloseIdleConnections()
	p := r.ports[0]
	count := func() int { p.listener.mu.Lock(); defer p.listener.mu.Unlock(); return len(p.listener.open) }
	base := runtime.NumGoroutine()
	for range 20 {
		do(t, c, "GET", r.url("/healthz"))
		c.CloseIdleConnections()
	}
	deadline := time.Now().Add(10 * time.Second)
	for count() > 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond) // polls a count that has no event
	}
	if n := count(); n != 0 {
		t.Errorf("%d connections are still known", n)
	}
	settle(t, base+2)
}

func TestSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "own", "troupe.sock")
	r := start(t, func(d *Deps, c *Config) {
		c.Secure, c.Socket = "", socket
		d.Local = func(m *http.ServeMux) {
			m.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("stopping")) })
		}
	})
	for path, want := range map[string]os.FileMode{socket: 0o600, filepath.Dir(socket): 0o700} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v %v", path, st.Mode().Perm(), err)
		}
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr}
	for _, path := range []string{"/actors", "/explain/default/web", "/pods", "/healthz"} {
		if code, _ := do(t, c, "GET", "http://troupe"+path); code != 200 {
			t.Errorf("%s: %d", path, code)
		}
	}
	if _, body := do(t, c, "POST", "http://troupe/stop"); body != "stopping" {
		t.Errorf("local route: %q", body)
	}
	// A second agent must not take the socket of a living one.
	if _, err := listenSocket(socket); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("second agent: %v", err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	// What a dead one left behind is no obstacle.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	again, err := listenSocket(socket)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
	open := filepath.Join(t.TempDir(), "shared")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(filepath.Join(open, "s")); err == nil || !strings.Contains(err.Error(), "open to others") {
		t.Errorf("shared folder: %v", err)
	}
}

func TestInspectPage(t *testing.T) {
	const token = "0123456789abcdef"
	r := start(t, func(_ *Deps, c *Config) { c.Secure, c.Inspect, c.InspectToken = "", "127.0.0.1:0", token })
	jar, _ := cookiejar.New(nil)
	c := &http.Client{Jar: jar}
	base := "http://" + r.Addr("inspect")
	for _, path := range []string{"/actors", "/actors/ui", "/explain/default/web", "/actors?token=wrong"} {
		if code, _ := do(t, c, "GET", base+path); code != 401 {
			t.Errorf("%s without token: %d", path, code)
		}
	}
	if code, body := do(t, c, "GET", r.InspectURL()); code != 200 || !strings.Contains(body, "<title>Troupe") {
		t.Errorf("page: %d %q", code, shorten(body))
	}
	code, body := do(t, c, "GET", base+"/actors")
	var in inspect.Inspection
	if err := json.Unmarshal([]byte(body), &in); code != 200 || err != nil {
		t.Errorf("actors: %d %v", code, err)
	}
	if code, _ := do(t, c, "GET", base+"/pods"); code != 404 {
		t.Errorf("the page's port serves pods: %d", code)
	}
	if _, err := New(r.deps, Config{Inspect: "127.0.0.1:0", InspectToken: "short"}); err == nil {
		t.Error("a short token was accepted")
	}
	s := &Server{cfg: Config{Inspect: "0.0.0.0:0", InspectToken: token}}
	if err := s.Listen(); err == nil {
		t.Error("the page may be served to the world")
	}
}

func TestExplainOverHTTP(t *testing.T) {
	ca := newAuthority(t, "ca")
	r := start(t, func(_ *Deps, c *Config) { c.Auth.ClientCAFile = ca.file })
	parent := r.registry.Add(nil, "pods", "pods")
	e := r.registry.Add(parent, "uid-web", "pod")
	e.SetDetail(model.PodExplain{Namespace: "default", Name: "web", UID: "uid-web", Stage: "Starting", Since: time.Now(),
		Blockers: []model.Blocker{{Kind: model.BlockedByVolumes, What: "volume data: Get https://joe:hunter2@host/x?access_token=s3cr3t failed"}}})
	code, body := do(t, ca.client(t, "admin"), "GET", r.url("/explain/default/web"))
	var a inspect.Explanation
	if err := json.Unmarshal([]byte(body), &a); code != 200 || err != nil {
		t.Fatalf("%d %v", code, err)
	}
	if !strings.HasPrefix(a.Sentence, "Pod default/web is not ready: it waits for volume data") || a.Actor == nil || a.Actor.Path != "/pods/uid-web" {
		t.Errorf("answer %s", body)
	}
	if strings.Contains(body, "hunter2") || strings.Contains(body, "s3cr3t") {
		t.Errorf("credentials are shown: %s", body)
	}
	if code, body := do(t, ca.client(t, "admin"), "GET", r.url("/actors")); code != 200 || strings.Contains(body, "hunter2") {
		t.Errorf("actors: %d %s", code, body)
	}
	if code, _ := do(t, ca.client(t, "admin"), "GET", r.url("/explain/default/none")); code != 404 {
		t.Errorf("unknown pod: %d", code)
	}
	if code, body := do(t, ca.client(t, "admin"), "GET", r.url("/explain/default/web?format=text")); code != 200 || !strings.HasPrefix(body, "Pod default/web") {
		t.Errorf("text: %d %s", code, body)
	}
}

// measured is a fixed measurement.
type measured struct{}

func (measured) Summary(_ context.Context, only bool) (*statsapi.Summary, error) {
	n, b := uint64(2e9), uint64(4096)
	s := &statsapi.Summary{Node: statsapi.NodeStats{NodeName: "node-1", CPU: &statsapi.CPUStats{UsageCoreNanoSeconds: &n}}}
	s.Pods = []statsapi.PodStats{{PodRef: statsapi.PodReference{Name: "web", Namespace: "default"},
		Containers: []statsapi.ContainerStats{{Name: "app", Memory: &statsapi.MemoryStats{WorkingSetBytes: &b}}}}}
	if !only {
		s.Node.Fs = &statsapi.FsStats{UsedBytes: &b}
	}
	return s, nil
}

func TestStats(t *testing.T) {
	ca := newAuthority(t, "ca")
	r := start(t, func(d *Deps, _ *Config) { d.Stats = measured{} })
	c := ca.client(t, "")
	for _, q := range []struct {
		method, path, has string
		not               string
	}{
		{"GET", "/stats/summary", `"nodeName": "node-1"`, "none"},
		{"POST", "/stats/summary", `"fs"`, "none"},
		{"GET", "/stats/summary?only_cpu_and_memory=true", `"nodeName"`, `"fs"`},
		{"GET", "/metrics/resource", "node_cpu_usage_seconds_total 2\n", "none"},
		{"GET", "/metrics/resource", `container_memory_working_set_bytes{container="app",namespace="default",pod="web"} 4096`, "none"},
		{"GET", "/metrics/resource", "resource_scrape_error 0", "none"},
	} {
		code, body := do(t, c, q.method, r.url(q.path))
		if code != 200 || !strings.Contains(body, q.has) || strings.Contains(body, q.not) {
			t.Errorf("%s %s: %d %s", q.method, q.path, code, body)
		}
	}
}

// A pod list is decoded by the API's own types.
func TestPodsDecode(t *testing.T) {
	ca := newAuthority(t, "ca")
	r := start(t, nil)
	_, body := do(t, ca.client(t, ""), "GET", r.url("/pods"))
	var list v1.PodList
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Items) != 1 || list.Items[0].Status.Phase != v1.PodRunning {
		t.Errorf("%v %s", err, body)
	}
}
