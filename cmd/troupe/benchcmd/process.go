package benchcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is an agent that was started for a measurement.
type process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
	err   error // set before ended is closed
}

// startProcess starts an agent. What it prints goes to the log file. It gets a SIGTERM when the bench dies.
func startProcess(log string, stdin io.Reader, stdout io.Writer, args ...string) (*process, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, f, f
	if stdout != nil {
		cmd.Stdout = stdout
	}
	// Interrupts of the terminal are for the bench, which then ends the agent in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	p := &process{cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// alive is nil while the process runs; otherwise it says how it ended, with the end of its log.
func (p *process) alive() error {
	select {
	case <-p.ended:
	default:
		return nil
	}
	return p.howItEnded()
}

// diedWithin is alive for somebody who has reason to think that the process is about to end.
func (p *process) diedWithin(d time.Duration) error {
	select {
	case <-p.ended:
		return p.howItEnded()
	case <-time.After(d):
		return nil
	}
}

func (p *process) howItEnded() error {
	err := p.err
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return fmt.Errorf("the agent: %w\n%s", err, tail(p.log, 5))
}

// stop ends the process: SIGTERM, and SIGKILL when that is not heeded.
func (p *process) stop(ctx context.Context) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return
	case <-time.After(stopTimeout):
	case <-ctx.Done():
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// tail are the last lines of a file.
func tail(file string, n int) string {
	raw, _ := os.ReadFile(file) // a log that cannot be read has no lines to show
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	var out []string
	for _, l := range lines[max(0, len(lines)-n):] {
		out = append(out, "  "+string(l))
	}
	return strings.Join(out, "\n")
}
