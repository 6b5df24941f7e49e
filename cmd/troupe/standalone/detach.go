package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// detachedEnv marks the process that runs in the background.
const detachedEnv = "TROUPE_DETACHED"

// Detach starts this program once more in a session of its own, shows its progress until the pods are ready, and leaves
// it. Faults of the start are reported here.
func Detach(ctx context.Context, o Options) error {
	if _, err := LoadManifests(o.Manifests, nil); err != nil {
		if hasStdin(o.Manifests) {
			return errors.New("--detach needs files: stdin ends with this command")
		}
		return err
	}
	l, err := NewLayout(o.StateDir)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(l.RunLog(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, os.Args[1:]...) // the same command line: it means the same in the same folder
	cmd.Env = append(os.Environ(), detachedEnv+"=1")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	return follow(ctx, l, cmd.Process.Pid, done, o.Out)
}

// follow copies the background run's output until its pods are ready or it has ended.
func follow(ctx context.Context, l Layout, pid int, done <-chan error, out io.Writer) error {
	f, err := os.Open(l.RunLog())
	if err != nil {
		return err
	}
	defer f.Close()
	client := NewClient(l)
	for {
		var ended bool
		var endErr error
		select {
		case endErr = <-done:
			ended = true
		default:
		}
		rep, err := client.Report(ctx)
		ready := err == nil && rep.Record.PID == pid && rep.Phase == "running"
		if _, err := io.Copy(out, f); err != nil {
			return err
		}
		switch {
		case ended && endErr != nil:
			return fmt.Errorf("the run in the background ended: %w", endErr)
		case ended, ready:
			return nil
		}
		if err := pause(ctx, followEvery); err != nil {
			return fmt.Errorf("%w: the run goes on starting in the background, see %s", err, filepath.Base(l.RunLog()))
		}
	}
}

func hasStdin(paths []string) bool {
	for _, p := range paths {
		if p == "-" {
			return true
		}
	}
	return false
}
