package node

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Server is one daemon of the node, with a log of its own.
type Server struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	err  error         // of its end; read after done
}

// start runs a program in the background. env is added to a small environment: what the machine's own says of proxies
// or clusters is none of the node's business.
func start(l Layout, name, program string, args ...string) (*Server, error) {
	logs := filepath.Join(Home, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	s := &Server{name: name, log: filepath.Join(logs, name+".log"), done: make(chan struct{})}
	f, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s.cmd = exec.Command(program, args...)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = l.environment(), f, f
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	return s, nil
}

// environment is that of every program inside.
func (l Layout) environment() []string {
	return []string{"HOME=" + Home, "TMPDIR=/tmp", "PATH=" + strings.Join([]string{filepath.Join(l.Cache, "bin"), filepath.Join(l.Runtime, "bin"),
		"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}, ":")}
}

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// stop asks it to end, and makes it end when it has not after ten seconds.
func (s *Server) stop() {
	_ = s.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// await polls until ready says so. It fails when the server ends before, or after the time given.
func (s *Server) await(limit time.Duration, ready func() error) error {
	end := time.After(limit)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		if last = ready(); last == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("%s ended (%v)\n%s", s.name, s.err, s.tail(8))
		case <-end:
			return fmt.Errorf("%s is not ready after %s: %w\n%s", s.name, limit, last, s.tail(8))
		case <-tick.C:
		}
	}
}

// tail gives the last lines of the log.
func (s *Server) tail(n int) string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

// listens tells whether a UNIX socket is there.
func listens(path string) func() error {
	return func() error {
		fi, err := os.Stat(path)
		if err == nil && fi.Mode()&os.ModeSocket == 0 {
			err = errors.New(path + " is no socket")
		}
		return err
	}
}

// End says how the server ended, and its last words. Valid after Done.
func (s *Server) End() string { return fmt.Sprintf("%v: %s", s.err, s.tail(1)) }
