package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/cri/sim"
	"github.com/troupe-dev/troupe/messages/model"
)

func TestSocketPath(t *testing.T) {
	for _, tc := range []struct {
		endpoint, path string
		bare, bad      bool
	}{
		{endpoint: "unix:///run/containerd/containerd.sock", path: "/run/containerd/containerd.sock"},
		{endpoint: "/run/crio/crio.sock", path: "/run/crio/crio.sock", bare: true},
		{endpoint: "unix:/run/x.sock", path: "/run/x.sock"},
		{endpoint: "", bad: true},
		{endpoint: "run/x.sock", bad: true},
		{endpoint: "unix://run/x.sock", bad: true},
		{endpoint: "tcp://127.0.0.1:1", bad: true},
		{endpoint: "npipe:////./pipe/containerd", bad: true},
	} {
		path, bare, err := remote.SocketPath(tc.endpoint)
		if (err != nil) != tc.bad || path != tc.path || bare != tc.bare {
			t.Errorf("%q: %q, bare %v, %v", tc.endpoint, path, bare, err)
		}
	}
}

func dial(t *testing.T, endpoint string, opts remote.Options) *remote.Client {
	t.Helper()
	c, err := remote.Dial(context.Background(), endpoint, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// An outage: calls fail at once all the time, and work at once when the runtime is back, however long it was away.
func TestOutage(t *testing.T) {
	rt := sim.New(sim.Config{})
	path := filepath.Join(t.TempDir(), "sim.sock")
	srv, err := rt.Serve(path)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Stop()
	c := dial(t, "unix://"+path, remote.Options{})
	idle := dial(t, "unix://"+path, remote.Options{}) // makes no calls meanwhile
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, c := range []*remote.Client{c, idle} {
		if _, err := c.CheckVersion(ctx); err != nil {
			t.Fatal(err)
		}
	}
	srv.Stop()
	if _, err := idle.Version(ctx); cri.CodeOf(err) != codes.Unavailable {
		t.Errorf("%v", err)
	}
	calls := 0
	for away := time.Now(); time.Since(away) < 4*time.Second; calls++ { // far into the back-off
		begin := time.Now()
		_, err := c.ListPodSandbox(ctx, cri.SandboxFilter{})
		if cri.ClassOf(err) != model.OutcomeUnknown || cri.CodeOf(err) != codes.Unavailable {
			t.Fatalf("during the outage: %v", err)
		}
		if d := time.Since(begin); d > 500*time.Millisecond {
			t.Errorf("a call during the outage took %v to fail", d)
		}
		short, done := context.WithTimeout(ctx, 50*time.Millisecond)
		if err := c.Ready(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ready during the outage: %v", err)
		}
		done()
	}
	if calls < 20 {
		t.Errorf("only %d calls in 4 s: something waited", calls)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	if _, err := c.CheckVersion(ctx); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(back); d > 500*time.Millisecond {
		t.Errorf("connected %v after the return", d)
	}
	for {
		if _, err := idle.Version(ctx); err == nil {
			break
		} else if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(back); d > 1500*time.Millisecond {
		t.Errorf("the client without calls was back after %v", d)
	}
}

// A socket that accepts and does not speak, as a stopped runtime's: the caller's deadline holds.
func TestSilentSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "silent.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := dial(t, path, remote.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := c.Version(ctx); cri.ClassOf(err) != model.OutcomeUnknown {
		t.Errorf("%v", err)
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestNoCRIv1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer() // speaks gRPC, but not ours
	go s.Serve(l)
	defer s.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = dial(t, "unix://"+path, remote.Options{}).CheckVersion(ctx)
	if !errors.Is(err, cri.ErrNoCRIv1) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}

func TestOnCallAndErrors(t *testing.T) {
	rt := sim.New(sim.Config{Images: []string{"a"}})
	srv := rt.ServePipe()
	defer srv.Stop()
	var mu sync.Mutex
	var seen []string
	c := dial(t, "sim", remote.Options{Dialer: srv.Dial, OnCall: func(op string, d time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprint(op, " ", cri.CodeOf(err), " ", d > 0))
	}})
	ctx := context.Background()
	if _, err := c.Version(ctx); err != nil {
		t.Fatal(err)
	}
	err := c.StartContainer(ctx, "nope")
	if cri.ClassOf(err) != model.OutcomeNotFound || !strings.HasPrefix(err.Error(), "start container nope: ") {
		t.Errorf("%v", err)
	}
	if _, err := c.Exec(ctx, &runtimeapi.ExecRequest{}); !errors.Is(err, cri.ErrUnimplemented) {
		t.Errorf("%v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got, want := strings.Join(seen, ", "), "Version OK true, StartContainer NotFound true, Exec Unimplemented true"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// An answer beyond gRPC's default limit of 4 MiB arrives.
func TestLargeMessage(t *testing.T) {
	rt := sim.New(sim.Config{})
	srv := rt.ServePipe()
	defer srv.Stop()
	c := dial(t, "sim", remote.Options{Dialer: srv.Dial})
	big := strings.Repeat("x", 7<<20)
	ctx := context.Background()
	for i := range 2 { // two of 7 MiB make a list of 14
		if _, err := c.RunPodSandbox(ctx, &runtimeapi.PodSandboxConfig{
			Metadata:    &runtimeapi.PodSandboxMetadata{Name: fmt.Sprint(i)},
			Annotations: map[string]string{"big": big},
		}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := c.ListPodSandbox(ctx, cri.SandboxFilter{}); err != nil || len(l) != 2 || l[0].Annotations["big"] != big {
		t.Errorf("%d, %v", len(l), err)
	}
}
