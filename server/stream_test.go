package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	criremote "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	kexec "k8s.io/utils/exec"
)

// streams is the streaming server of a runtime: exec echoes stdin in capitals, ports answer with their number.
type streams struct {
	server streaming.Server
	tty    chan bool
}

func newStreams(t *testing.T) *streams {
	t.Helper()
	s := &streams{tty: make(chan bool, 1)}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.server.ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	cfg := streaming.DefaultConfig
	cfg.BaseURL, _ = url.Parse(front.URL)
	var err error
	if s.server, err = streaming.NewServer(cfg, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *streams) Exec(ctx context.Context, id string, cmd []string, in io.Reader, out, errs io.WriteCloser, _ bool, _ <-chan criremote.TerminalSize) error {
	if cmd[0] == "sh" {
		return shell(cmd[2], in, out)
	}
	switch cmd[0] {
	case "fail":
		_, _ = io.WriteString(errs, "broken")
		return kexec.CodeExitError{Err: errors.New("command terminated"), Code: 7}
	case "hang":
		_, _ = io.WriteString(out, "hanging")
		_, _ = io.Copy(io.Discard, in)
		return nil
	}
	b, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s %s", id, strings.ToUpper(string(b)))
	return err
}

// shell stands for the two scripts of the soak.
func shell(script string, in io.Reader, out io.Writer) error {
	if script == "cat" {
		_, err := io.Copy(out, in)
		return err
	}
	lines := bufio.NewReader(in)
	for i := range 2 {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		if i == 0 {
			_, _ = io.WriteString(out, line)
		}
	}
	return kexec.CodeExitError{Err: errors.New("command terminated"), Code: 7}
}

// echoPort is the one that sends back what it gets; others tell their number.
const echoPort = 7

func (s *streams) Attach(_ context.Context, id string, _ io.Reader, out, _ io.WriteCloser, tty bool, _ <-chan criremote.TerminalSize) error {
	s.tty <- tty
	_, err := io.WriteString(out, "attached to "+id)
	return err
}

func (s *streams) PortForward(_ context.Context, sandbox string, port int32, stream io.ReadWriteCloser) error {
	if port == echoPort {
		_, err := io.Copy(stream, stream)
		_ = stream.Close()
		return err
	}
	_, err := fmt.Fprintf(stream, "%s:%d", sandbox, port)
	_ = stream.Close()
	return err
}

// streaming makes a rig whose runtime streams.
func streamingRig(t *testing.T) (*rig, *streams, *rest.Config) {
	t.Helper()
	r, s := start(t, nil), newStreams(t)
	r.runtime.streams = s.server
	return r, s, &rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

func (f *fakeRuntime) Exec(_ context.Context, req *runtimeapi.ExecRequest) (string, error) {
	res, err := f.streams.GetExec(req)
	return res.GetUrl(), err
}

func (f *fakeRuntime) Attach(_ context.Context, req *runtimeapi.AttachRequest) (string, error) {
	res, err := f.streams.GetAttach(req)
	return res.GetUrl(), err
}

func (f *fakeRuntime) PortForward(_ context.Context, req *runtimeapi.PortForwardRequest) (string, error) {
	res, err := f.streams.GetPortForward(req)
	return res.GetUrl(), err
}

// executors are the two ways in which kubectl and the API server speak to a node.
func executors(t *testing.T, cfg *rest.Config, address string) map[string]remotecommand.Executor {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	s, err := remotecommand.NewSPDYExecutor(cfg, "POST", u)
	if err != nil {
		t.Fatal(err)
	}
	w, err := remotecommand.NewWebSocketExecutor(cfg, "GET", address)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]remotecommand.Executor{"spdy": s, "websocket": w}
}

func TestExec(t *testing.T) {
	r, _, cfg := streamingRig(t)
	for name, e := range executors(t, cfg, r.url("/exec/default/web/app?command=upper&input=1&output=1&error=1")) {
		var out, errs bytes.Buffer
		err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("hello"), Stdout: &out, Stderr: &errs})
		if err != nil || out.String() != "c1 HELLO" || errs.Len() != 0 {
			t.Errorf("%s: %q %q %v", name, out.String(), errs.String(), err)
		}
	}
	for name, e := range executors(t, cfg, r.url("/exec/default/web/app?command=fail&output=1&error=1")) {
		var out, errs bytes.Buffer
		err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &errs})
		var code utilexec.CodeExitError
		if !errors.As(err, &code) || code.Code != 7 || errs.String() != "broken" {
			t.Errorf("%s: %v, stderr %q", name, err, errs.String())
		}
	}
}

// The terminal of an attached process is what its spec says.
func TestAttach(t *testing.T) {
	r, s, cfg := streamingRig(t)
	pod, _ := r.deps.Pods.Get("default", "web")
	for _, tty := range []bool{false, true} {
		pod.Spec.Containers[0].TTY = tty
		var out bytes.Buffer
		e := executors(t, cfg, r.url("/attach/default/web/app?output=1&tty="+map[bool]string{true: "1", false: "0"}[tty]))["spdy"]
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Tty: tty})
		cancel()
		if err != nil || out.String() != "attached to c1" {
			t.Fatalf("tty %v: %q %v", tty, out.String(), err)
		}
		if got := <-s.tty; got != tty {
			t.Errorf("tty %v, want %v", got, tty)
		}
	}
}

func TestPortForward(t *testing.T) {
	r, _, cfg := streamingRig(t)
	u, _ := url.Parse(r.url("/portForward/default/web"))
	rt, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialer(u, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, dial := range map[string]httpstream.Dialer{"spdy": spdy.NewDialer(upgrader, &http.Client{Transport: rt}, "POST", u), "websocket": tunnel} {
		stop, ready := make(chan struct{}), make(chan struct{})
		fw, err := portforward.NewOnAddresses(dial, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- fw.ForwardPorts() }()
		select {
		case <-ready:
		case err := <-done:
			t.Fatalf("%s: %v", name, err)
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: not ready", name)
		}
		ports, _ := fw.GetPorts()
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(c)
		_ = c.Close()
		if string(b) != "s1:8080" {
			t.Errorf("%s: %q", name, b)
		}
		close(stop)
		<-done
	}
}

// A stream that is open when the server ends is cut, and does not hold it up.
func TestEndCutsStreams(t *testing.T) {
	r, _, cfg := streamingRig(t)
	for name, e := range executors(t, cfg, r.url("/exec/default/web/app?command=hang&input=1&output=1")) {
		out := &first{seen: make(chan struct{})}
		in, keep := io.Pipe()
		defer func() { _ = keep.Close() }()
		ended := make(chan error, 1)
		go func() {
			ended <- e.StreamWithContext(context.WithoutCancel(t.Context()), remotecommand.StreamOptions{Stdin: in, Stdout: out})
		}()
		<-out.seen
		if name == "spdy" {
			continue
		}
		begin := time.Now()
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 2*leave {
			t.Errorf("the server needed %s to end", took)
		}
		<-ended
		return
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// first closes a channel with the first write.
type first struct{ seen chan struct{} }

func (f *first) Write(b []byte) (int, error) {
	select {
	case <-f.seen:
	default:
		close(f.seen)
	}
	return len(b), nil
}

// Requests that are no upgrade are told so, and the client's credentials stay here.
func TestExecWithoutUpgrade(t *testing.T) {
	r, _, _ := streamingRig(t)
	ca := newAuthority(t, "ca")
	if code, body := do(t, ca.client(t, ""), "POST", r.url("/exec/default/web/app?command=x&output=1")); code != 500 || !strings.Contains(body, "Upgrade request required") {
		t.Errorf("%d %q", code, body)
	}
}
