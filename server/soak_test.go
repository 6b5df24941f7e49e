package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/messages/model"
)

// soak holds many streams open at the same time, ends them in every way there is, and looks for what they leave behind.
type soak struct {
	*rig
	cfg  *rest.Config
	port int // of the pod, which echoes
}

// sizes are how many exec sessions and port-forwards a soak has (TROUPE_TEST_STREAMS=200,50).
func sizes(t *testing.T) (execs, forwards int) {
	execs, forwards = 24, 8
	if s := os.Getenv("TROUPE_TEST_STREAMS"); s != "" {
		if n, err := fmt.Sscanf(s, "%d,%d", &execs, &forwards); n != 2 {
			t.Fatalf("TROUPE_TEST_STREAMS=%q: %v", s, err)
		}
	}
	return execs, forwards
}

// held is what this process holds.
type held struct{ goroutines, descriptors int }

func hold() held {
	fds, _ := os.ReadDir("/proc/self/fd")
	return held{runtime.NumGoroutine(), len(fds)}
}

// rested waits until what is held does not become less any more.
func rested() held {
	least, since := hold(), time.Now()
	for time.Since(since) < time.Second {
		time.Sleep(50 * time.Millisecond)
		if now := hold(); now.goroutines < least.goroutines || now.descriptors < least.descriptors {
			least, since = held{min(now.goroutines, least.goroutines), min(now.descriptors, least.descriptors)}, time.Now()
		}
	}
	return least
}

// settled waits until no more is held than before, and says what is held when that does not happen.
func settled(t *testing.T, before held) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		now := hold()
		if now.goroutines <= before.goroutines && now.descriptors <= before.descriptors {
			t.Logf("before %+v, after %+v", before, now)
			return
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("before %+v, after %+v; the goroutines:\n%s", before, now, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// round opens all streams, waits until all are open at once, and ends them.
func (s *soak) round(t *testing.T, execs, forwards int) {
	t.Helper()
	var open, ended sync.WaitGroup
	open.Add(execs + forwards)
	all := make(chan struct{})
	failed := make(chan error, execs+forwards)
	run := func(f func(opened func()) error) {
		var once sync.Once
		opened := func() { once.Do(open.Done) }
		ended.Go(func() {
			defer opened()
			if err := f(opened); err != nil {
				failed <- err
			}
		})
	}
	for i := range execs {
		run(func(opened func()) error { return s.exec(i, opened, all) })
	}
	for i := range forwards {
		run(func(opened func()) error { return s.forward(i, opened, all) })
	}
	began := time.Now()
	open.Wait()
	t.Logf("%d exec sessions and %d port-forwards were open after %s, with %+v", execs, forwards, time.Since(began).Round(time.Millisecond), hold())
	close(all)
	ended.Wait()
	close(failed)
	n := 0
	for err := range failed {
		if n++; n <= 5 {
			t.Error(err)
		}
	}
	if n > 0 {
		t.Fatalf("%d streams failed", n)
	}
}

// exec is one session: it talks, stays open with the others, and ends by itself, by the end of its input, or by a client
// that goes away.
func (s *soak) exec(i int, opened func(), all <-chan struct{}) error {
	script := "cat"
	if i%3 == 1 {
		script = "read a; echo $a; read b; exit 7"
	}
	path := "/exec/default/web/app?input=1&output=1&error=1&command=sh&command=-c&command=" + url.QueryEscape(script)
	address, err := url.Parse(s.url(path))
	if err != nil {
		return err
	}
	var e remotecommand.Executor
	if i%2 == 0 {
		e, err = remotecommand.NewSPDYExecutor(s.cfg, "POST", address)
	} else {
		e, err = remotecommand.NewWebSocketExecutor(s.cfg, "GET", address.String())
	}
	if err != nil {
		return err
	}
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: out, Stderr: io.Discard})
		_ = out.CloseWithError(fmt.Errorf("the session ended: %w", err))
		_ = in.CloseWithError(io.ErrClosedPipe)
		done <- err
	}()
	word := fmt.Sprintf("session %d\n", i)
	go func() { _, _ = io.WriteString(stdin, word) }()
	if got, err := bufio.NewReader(stdout).ReadString('\n'); got != word {
		cancel()
		return fmt.Errorf("exec %d: got %q: %w", i, got, err)
	}
	opened()
	<-all
	switch i % 3 {
	case 0:
		_ = stdin.Close()
		err = <-done
	case 1:
		_, _ = io.WriteString(stdin, "end\n")
		err = <-done
		var code utilexec.CodeExitError
		if errors.As(err, &code) && code.Code == 7 {
			err = nil
		} else {
			err = fmt.Errorf("it should end with 7: %w", err)
		}
	case 2:
		cancel()
		if err = <-done; errors.Is(err, context.Canceled) {
			err = nil
		}
	}
	_ = stdin.Close()
	if err != nil {
		return fmt.Errorf("exec %d: %w", i, err)
	}
	return nil
}

// forward is one port-forward with one connection, which ends before its forwarder or with it.
func (s *soak) forward(i int, opened func(), all <-chan struct{}) error {
	u, err := url.Parse(s.url("/portForward/default/web"))
	if err != nil {
		return err
	}
	rt, upgrader, err := spdy.RoundTripperFor(s.cfg)
	if err != nil {
		return err
	}
	dial := spdy.NewDialer(upgrader, &http.Client{Transport: rt}, "POST", u)
	if i%2 == 1 {
		if dial, err = portforward.NewSPDYOverWebsocketDialer(u, s.cfg); err != nil {
			return err
		}
	}
	stop, ready, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	fw, err := portforward.NewOnAddresses(dial, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", s.port)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return err
	}
	go func() { done <- fw.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		return fmt.Errorf("port-forward %d: %w", i, err)
	}
	ports, err := fw.GetPorts()
	if err != nil {
		return err
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
	if err != nil {
		return err
	}
	defer c.Close()
	word := fmt.Sprintf("connection %d\n", i)
	_, _ = io.WriteString(c, word)
	if got, err := bufio.NewReader(c).ReadString('\n'); got != word {
		return fmt.Errorf("port-forward %d: got %q: %w", i, got, err)
	}
	opened()
	<-all
	if i%4 < 2 {
		_ = c.Close()
	}
	close(stop)
	<-done
	return nil
}

func (s *soak) run(t *testing.T) {
	s.cfg = &rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	s.round(t, 6, 4) // what stays for good is there after the first streams
	before := rested()
	execs, forwards := sizes(t)
	s.round(t, execs, forwards)
	settled(t, before)
}

// echo listens on a loopback port until the test ends, and sends back what it gets.
func echo(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(struct{ io.Writer }{c}, c) // from socket to socket it would keep the pipes of splice(2)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// Many streams at once, against a streaming server in this process.
func TestManyStreams(t *testing.T) {
	r, _, _ := streamingRig(t)
	(&soak{rig: r, port: echoPort}).run(t)
}

// Many streams at once, against the real runtime: nothing stays in this process, nor in the container.
func TestManyStreamsOfRealRuntime(t *testing.T) {
	endpoint, image := realRuntime(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	rt, err := remote.Dial(ctx, endpoint, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rt.Close() })
	pod := web()
	pod.UID = model.UID(fmt.Sprintf("uid-streams-%d", time.Now().UnixNano()))
	port := echo(t) // the pod is in the node's network, and so are we
	id := startReal(ctx, t, rt, pod, image, "exec sleep 3600")
	pod.Status.ContainerStatuses[0].ContainerID = "containerd://" + string(id)
	r := start(t, func(d *Deps, _ *Config) { d.Runtime, d.Pods = rt, pods{pod} })
	processes := func() string {
		res, err := rt.ExecSync(ctx, id, []string{"sh", "-c", "ls -d /proc/[0-9]* | wc -l"}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(res.Stdout))
	}
	before := processes()
	(&soak{rig: r, port: port}).run(t)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if now := processes(); now == before {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("processes in the container: %s before, %s after", before, now)
		}
	}
}
