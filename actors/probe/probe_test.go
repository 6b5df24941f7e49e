package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	health "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/troupe-dev/troupe/actors/container"
	"github.com/troupe-dev/troupe/actors/container/probeplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

func ptr[T any](v T) *T { return &v }

// shell is a runtime that only runs commands.
type shell struct {
	cri.Runtime
	exec func(ctx context.Context, command []string, timeout time.Duration) (cri.ExecResult, error)
}

func (s shell) ExecSync(ctx context.Context, _ model.ContainerID, command []string, timeout time.Duration) (cri.ExecResult, error) {
	return s.exec(ctx, command, timeout)
}

func target(timeout time.Duration) container.ProbeTarget {
	pod := &v1.Pod{}
	pod.Name, pod.Namespace = "p", "n"
	return container.ProbeTarget{Pod: pod, Container: &v1.Container{Name: "c"}, ID: "id", IPs: []string{"127.0.0.1"}, Timeout: timeout}
}

func run(t *testing.T, r *Runner, tg container.ProbeTarget, h v1.ProbeHandler) (probeplan.Result, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return r.Probe(ctx, tg, &v1.Probe{ProbeHandler: h})
}

func portOfURL(t *testing.T, raw string) intstr.IntOrString {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return intstr.FromInt32(int32(n))
}

// TestHTTP: status codes, redirects, headers and limits, as the kubelet's probes have them.
func TestHTTP(t *testing.T) {
	var seen atomic.Pointer[http.Request]
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the probe left the host") }))
	defer elsewhere.Close()
	handle := func(path string, fn http.HandlerFunc) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { seen.Store(r.Clone(context.Background())); fn(w, r) })
	}
	handle("/ok", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") })
	handle("/code", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		w.WriteHeader(n)
	})
	handle("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	handle("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	handle("/bad", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/code?n=500", http.StatusFound) })
	handle("/off", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
	})
	handle("/big", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 100<<10)) })
	handle("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	handle("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	})
	r := &Runner{Version: "1.36"}
	port := portOfURL(t, srv.URL)
	for _, tc := range []struct {
		get  v1.HTTPGetAction
		want probeplan.Result
		out  func(string) bool
	}{
		{v1.HTTPGetAction{Path: "/ok"}, probeplan.Success, func(s string) bool { return s == "fine" }},
		{v1.HTTPGetAction{Path: "ok"}, probeplan.Success, nil},
		{v1.HTTPGetAction{Path: "/code?n=204"}, probeplan.Success, nil},
		{v1.HTTPGetAction{Path: "/code?n=399"}, probeplan.Success, nil},
		{v1.HTTPGetAction{Path: "/code?n=304"}, probeplan.Success, nil},
		{v1.HTTPGetAction{Path: "/code?n=400"}, probeplan.Failure, func(s string) bool { return s == "HTTP probe failed with statuscode: 400" }},
		{v1.HTTPGetAction{Path: "/code?n=503"}, probeplan.Failure, nil},
		{v1.HTTPGetAction{Path: "/here"}, probeplan.Success, func(s string) bool { return s == "fine" }},
		{v1.HTTPGetAction{Path: "/bad"}, probeplan.Failure, nil},
		{v1.HTTPGetAction{Path: "/loop"}, probeplan.Failure, func(s string) bool { return strings.Contains(s, "stopped after 10 redirects") }},
		{v1.HTTPGetAction{Path: "/off"}, probeplan.Warning, func(s string) bool { return strings.HasPrefix(s, "Probe terminated redirects") }},
		{v1.HTTPGetAction{Path: "/big"}, probeplan.Success, func(s string) bool { return len(s) == 10<<10 }},
		{v1.HTTPGetAction{Path: "/endless"}, probeplan.Success, func(s string) bool { return len(s) == 10<<10 }},
		{v1.HTTPGetAction{Path: "/hang"}, probeplan.Failure, func(s string) bool { return strings.Contains(s, "context deadline exceeded") }},
		{v1.HTTPGetAction{Path: "/ok", Port: intstr.FromInt32(1)}, probeplan.Failure, func(s string) bool { return strings.Contains(s, "connection refused") }},
		{v1.HTTPGetAction{Path: "/ok", Port: intstr.FromString("nobody")}, probeplan.Unknown, nil},
	} {
		if tc.get.Port == (intstr.IntOrString{}) {
			tc.get.Port = port
		}
		timeout := time.Second
		if got, out := run(t, r, target(timeout), v1.ProbeHandler{HTTPGet: &tc.get}); got != tc.want || tc.out != nil && !tc.out(out) {
			t.Errorf("%s: %v %.100q", tc.get.Path, got, out)
		}
	}
	t.Run("headers", func(t *testing.T) {
		run(t, r, target(time.Second), v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: "/ok", Port: port}})
		if h := seen.Load().Header; h.Get("User-Agent") != "kube-probe/1.36" || h.Get("Accept") != "*/*" || h.Get("Accept-Encoding") != "" {
			t.Errorf("%v", h)
		}
		run(t, r, target(time.Second), v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: "/ok", Port: port, HTTPHeaders: []v1.HTTPHeader{
			{Name: "User-Agent", Value: "me"}, {Name: "Accept", Value: ""}, {Name: "Host", Value: "virtual"}, {Name: "X", Value: "1"}, {Name: "X", Value: "2"}}}})
		q := seen.Load()
		if h := q.Header; h.Get("User-Agent") != "me" || h["Accept"] != nil || q.Host != "virtual" || len(h["X"]) != 2 {
			t.Errorf("%v %q", h, q.Host)
		}
	})
	t.Run("by the port's name", func(t *testing.T) {
		tg := target(time.Second)
		tg.Container.Ports = []v1.ContainerPort{{Name: "web", ContainerPort: port.IntVal}}
		if got, out := run(t, r, tg, v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: "/ok", Port: intstr.FromString("web")}}); got != probeplan.Success {
			t.Errorf("%v %s", got, out)
		}
	})
	t.Run("its own host", func(t *testing.T) {
		tg := target(time.Second)
		tg.IPs = []string{"192.0.2.1"}
		if got, out := run(t, r, tg, v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: "/ok", Host: "127.0.0.1", Port: port}}); got != probeplan.Success {
			t.Errorf("%v %s", got, out)
		}
	})
	t.Run("a proxy of the environment is not used", func(t *testing.T) {
		t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
		if got, out := run(t, r, target(time.Second), v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: "/ok", Port: port}}); got != probeplan.Success {
			t.Errorf("%v %s", got, out)
		}
	})
}

// TestHTTPS: certificates are not checked.
func TestHTTPS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") }))
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	defer srv.Close()
	r := &Runner{Version: "1.36"}
	got, out := run(t, r, target(time.Second), v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Scheme: v1.URISchemeHTTPS, Port: portOfURL(t, srv.URL)}})
	if got != probeplan.Success || out != "fine" {
		t.Fatalf("%v %s", got, out)
	}
	if got, _ := run(t, r, target(time.Second), v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Port: portOfURL(t, srv.URL)}}); got != probeplan.Failure {
		t.Fatal("plain http to a TLS port succeeded")
	}
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := intstr.FromInt32(int32(l.Addr().(*net.TCPAddr).Port))
	r := &Runner{}
	if got, out := run(t, r, target(time.Second), v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: port}}); got != probeplan.Success {
		t.Fatalf("%v %s", got, out)
	}
	l.Close()
	if got, _ := run(t, r, target(time.Second), v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: port}}); got != probeplan.Failure {
		t.Fatalf("%v", got)
	}
	if got, _ := run(t, r, target(time.Second), v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt32(0)}}); got != probeplan.Unknown {
		t.Fatalf("%v", got)
	}
	if got, _ := run(t, r, target(time.Second), v1.ProbeHandler{}); got != probeplan.Unknown {
		t.Fatalf("%v", got)
	}
}

func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, hs := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(srv, hs)
	hs.SetServingStatus("up", healthpb.HealthCheckResponse_SERVING)
	hs.SetServingStatus("down", healthpb.HealthCheckResponse_NOT_SERVING)
	go func() { _ = srv.Serve(l) }()
	defer srv.Stop()
	bare, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	none := grpc.NewServer()
	go func() { _ = none.Serve(bare) }()
	defer none.Stop()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r := &Runner{Version: "1.36"}
	portOf := func(l net.Listener) int32 { return int32(l.Addr().(*net.TCPAddr).Port) }
	for _, tc := range []struct {
		port    int32
		service *string
		want    probeplan.Result
		out     string
	}{
		{portOf(l), nil, probeplan.Success, "service healthy"},
		{portOf(l), ptr("up"), probeplan.Success, "service healthy"},
		{portOf(l), ptr("down"), probeplan.Failure, `service unhealthy (responded with "NOT_SERVING")`},
		{portOf(l), ptr("unknown"), probeplan.Failure, "health rpc probe failed"},
		{portOf(bare), nil, probeplan.Failure, "does not implement the grpc health protocol"},
		{portOf(silent), nil, probeplan.Failure, "within 1s"},
		{1, nil, probeplan.Failure, ""},
	} {
		got, out := run(t, r, target(time.Second), v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: tc.port, Service: tc.service}})
		if got != tc.want || !strings.Contains(out, tc.out) {
			t.Errorf("service %v: %v %q", tc.service, got, out)
		}
	}
}

// TestExec: exit codes, output, and the difference between a command and a call that took too long.
func TestExec(t *testing.T) {
	calls := 0
	for _, tc := range []struct {
		name  string
		res   cri.ExecResult
		err   error
		want  probeplan.Result
		out   func(string) bool
		calls int
	}{
		{"ok", cri.ExecResult{Stdout: []byte("out"), Stderr: []byte("err")}, nil, probeplan.Success, func(s string) bool { return s == "outerr" }, 1},
		{"failed", cri.ExecResult{Stdout: []byte("no"), ExitCode: 1}, nil, probeplan.Failure, func(s string) bool { return s == "no" }, 1},
		{"much", cri.ExecResult{Stdout: make([]byte, 100<<10)}, nil, probeplan.Success, func(s string) bool { return len(s) == 10<<10 }, 1},
		{"too slow", cri.ExecResult{}, fmt.Errorf("exec: %w", cri.ErrExecTimeout), probeplan.Failure, func(s string) bool { return strings.Contains(s, "timed out") }, 1},
		{"not run", cri.ExecResult{}, errors.New("no shim"), probeplan.Unknown, nil, 3}, // tried again at once
	} {
		calls = 0
		r := &Runner{Runtime: shell{exec: func(_ context.Context, command []string, timeout time.Duration) (cri.ExecResult, error) {
			calls++
			if command[0] != "check" || timeout != 2*time.Second {
				t.Errorf("%v %v", command, timeout)
			}
			return tc.res, tc.err
		}}}
		got, out := run(t, r, target(2*time.Second), v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"check"}}})
		if got != tc.want || tc.out != nil && !tc.out(out) || calls != tc.calls {
			t.Errorf("%s: %v %.60q after %d calls", tc.name, got, out, calls)
		}
	}
}

// TestHooks: any answer to an HTTP hook is a success, https falls back to http, a sleep ends with its context.
func TestHooks(t *testing.T) {
	pod := &v1.Pod{}
	pod.Name, pod.Namespace, pod.UID = "p", "n", "u"
	c := &v1.Container{Name: "c"}
	var fell string
	r := &Runner{Version: "1.36", Fallback: func(_ *v1.Pod, host string) { fell = host }, Runtime: shell{exec: func(_ context.Context, command []string, _ time.Duration) (cri.ExecResult, error) {
		if command[0] == "bad" {
			return cri.ExecResult{ExitCode: 3, Stderr: []byte("why")}, nil
		}
		return cri.ExecResult{}, nil
	}}}
	hook := func(ctx context.Context, h v1.LifecycleHandler, ips ...string) (string, error) {
		return r.Run(ctx, pod, c, "id", ips, &h)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if ua := q.Header.Get("User-Agent"); ua != "kube-lifecycle/1.36" {
			t.Errorf("user agent %q", ua)
		}
		if q.TLS == nil && q.Header.Get("Authorization") != "" && q.URL.Query().Get("https") != "" {
			t.Error("credentials went out in the clear")
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer srv.Close()
	port := portOfURL(t, srv.URL)
	ctx := t.Context()
	if m, err := hook(ctx, v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"good"}}}); err != nil || m != "" {
		t.Errorf("%q %v", m, err)
	}
	if m, err := hook(ctx, v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"bad"}}}); err == nil || !strings.Contains(m, "exited with 3") || !strings.Contains(m, "why") || !strings.Contains(m, `"p_n(u)"`) {
		t.Errorf("%q %v", m, err)
	}
	if m, err := hook(ctx, v1.LifecycleHandler{HTTPGet: &v1.HTTPGetAction{Port: port}}, "127.0.0.1"); err != nil {
		t.Errorf("%q %v", m, err)
	}
	https := v1.LifecycleHandler{HTTPGet: &v1.HTTPGetAction{Scheme: v1.URISchemeHTTPS, Path: "/?https=1", Port: port, HTTPHeaders: []v1.HTTPHeader{{Name: "Authorization", Value: "secret"}}}}
	if m, err := hook(ctx, https, "127.0.0.1"); err != nil || fell != "127.0.0.1:"+port.String() {
		t.Errorf("%q %v, fell back on %q", m, err, fell)
	}
	if _, err := hook(ctx, v1.LifecycleHandler{HTTPGet: &v1.HTTPGetAction{Port: port}}); err == nil {
		t.Error("a hook without an address succeeded")
	}
	if _, err := hook(ctx, v1.LifecycleHandler{TCPSocket: &v1.TCPSocketAction{Port: port}}); err == nil {
		t.Error("a tcpSocket hook succeeded")
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := hook(short, v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 60}}); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("sleep: %v", err)
	}
	if _, err := hook(ctx, v1.LifecycleHandler{Sleep: &v1.SleepAction{}}); err != nil {
		t.Error(err)
	}
}
