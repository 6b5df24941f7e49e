// Package child runs one daemon as a child process of the agent: its own process group, so that a terminal's Ctrl-C
// reaches the agent alone; its output in a file; and a kernel guarantee that it does not outlive the agent. What the
// daemon's own children do (container shims) is not its business: they outlive both by design.
package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Spec says what to run. All paths are absolute.
type Spec struct {
	// Name is what logs call the process.
	Name string
	Path string
	Args []string
	// Env is the whole environment, as KEY=VALUE.
	Env []string
	// LogPath receives stdout and stderr, appended; it is set aside as LogPath+".1" once it exceeds maxLog at a start.
	LogPath string
}

// maxLog is the size in bytes above which a log is set aside when the process starts again.
const maxLog = 16 << 20

// Exit is how the process ended.
type Exit struct {
	PID int
	// Code is the exit code; -1 when a signal ended the process, which Signal then names.
	Code   int
	Signal string
	At     time.Time
}

// String says it in a few words, for logs and explain.
func (e Exit) String() string {
	if e.Signal != "" {
		return "ended by signal: " + e.Signal
	}
	return fmt.Sprintf("exited with code %d", e.Code)
}

// Process is a running child. Its methods are safe for concurrent use.
type Process struct {
	pid  int
	done chan struct{}
	exit Exit
}

// Start runs the process. exited is called once, on a goroutine of its own, when it has ended.
//
// The kernel ties a parent-death signal to the thread that forked, not to the process, so one thread stays locked from
// the fork until the child has ended.
func Start(spec Spec, exited func(Exit)) (*Process, error) {
	type started struct {
		p   *Process
		err error
	}
	ch := make(chan started)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd, err := spawn(spec)
		if err != nil {
			ch <- started{err: fmt.Errorf("start %s: %w", spec.Name, err)}
			return
		}
		p := &Process{pid: cmd.Process.Pid, done: make(chan struct{})}
		ch <- started{p: p}
		_ = cmd.Wait()
		p.exit = exitOf(p.pid, cmd.ProcessState)
		close(p.done)
		if exited != nil {
			exited(p.exit)
		}
	}()
	s := <-ch
	return s.p, s.err
}

func spawn(spec Spec) (*exec.Cmd, error) {
	out, err := openLog(spec.LogPath)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = spec.Env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return cmd, cmd.Start()
}

func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if st, err := os.Stat(path); err == nil && st.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
}

func exitOf(pid int, st *os.ProcessState) Exit {
	e := Exit{PID: pid, Code: -1, At: time.Now()}
	if st == nil {
		return e
	}
	e.Code = st.ExitCode()
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal().String()
	}
	return e
}

// PID is the process's id.
func (p *Process) PID() int { return p.pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop asks the process to end (SIGTERM), kills it after grace or when ctx ends, and returns when it has ended. It may
// be called again and after the end.
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
		return nil
	case <-t.C:
	case <-ctx.Done():
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// signal reaches the process only while it is ours: its id cannot be reused before it was waited for, and done closes
// after that.
func (p *Process) signal(s syscall.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := syscall.Kill(p.pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	return nil
}
