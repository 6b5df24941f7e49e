package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/troupe-dev/troupe/test/conformance/node"
	"github.com/troupe-dev/troupe/test/conformance/report"
	"github.com/troupe-dev/troupe/test/conformance/suite"
)

// order is what the outer program tells the one inside the namespaces.
type order struct {
	Layout  node.Layout
	Specs   []string // none: only bring the node up, and hold it
	Group   int
	Again   bool
	Begin   suite.Begin
	Journal string
	Fresh   bool
}

// outside builds, starts a run in its namespaces, waits for it, removes what it left and keeps its results.
func outside(what string, args []string) error {
	o, err := parse(what, args)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("missing: root (it makes namespaces, mounts and cgroups)")
	}
	choice, err := o.choice()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	runtime, archives, err := o.build(ctx)
	if err != nil {
		return err
	}
	lock, err := onlyRun()
	if err != nil {
		return err
	}
	defer lock.Close()
	work, err := os.MkdirTemp(o.cache, "run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	l, err := o.layout(runtime, archives, work)
	if err != nil {
		return err
	}
	ord := order{Layout: l, Group: choice.Group, Again: o.again, Fresh: o.fresh, Journal: filepath.Join(o.cache, "journal", choice.Name+"-"+o.agent+".jsonl")}
	if what == "run" {
		all, err := o.specs(ctx, runtime)
		if err != nil {
			return err
		}
		if ord.Specs = choice.Select(all); len(ord.Specs) == 0 {
			return errors.New("no spec matches")
		}
	}
	build, err := version(l.Agent)
	if err != nil {
		return err
	}
	ord.Begin = suite.Begin{Suite: choice.Name, Agent: o.agent, Build: build, Procs: o.procs, Started: time.Now().Format(time.RFC3339), Specs: len(ord.Specs)}
	if ord.Begin.Digest, err = digest(l.Agent, ord.Specs); err != nil {
		return err
	}
	code, err := o.enter(ctx, ord)
	if err != nil {
		return err
	}
	if what == "up" {
		return nil
	}
	return o.finish(ord, code)
}

// digest tells runs apart: another build under the same version is another program.
func digest(program string, specs []string) (string, error) {
	h := sha256.New()
	f, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	for _, s := range specs {
		fmt.Fprintln(h, s)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

// enter runs the order in new namespaces to its end, or kills it when ctx ends, and removes what it left.
func (o options) enter(ctx context.Context, ord order) (code int, err error) {
	if err := o.stale(ord.Layout); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, node.Sweep(ord.Layout)) }()
	if err := node.Remember(ord.Layout); err != nil {
		return 0, err
	}
	if err := node.MountPoint(ord.Layout); err != nil {
		return 0, err
	}
	b, err := json.Marshal(ord)
	if err != nil {
		return 0, err
	}
	file := filepath.Join(ord.Layout.Work, "order.json")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return 0, err
	}
	p, err := node.Enter([]string{"rig", "init", file})
	if err != nil {
		return 0, fmt.Errorf("make the namespaces: %w", err)
	}
	if err := os.WriteFile(lockFile, fmt.Appendln(nil, p.Pid), 0o644); err != nil {
		say("%v", err)
	}
	ended := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			say("ending")
			_ = p.Signal(unix.SIGTERM)
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				_ = p.Kill()
			}
		case <-ended:
		}
	}()
	state, err := p.Wait()
	close(ended)
	if err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 130, nil
	}
	return state.ExitCode(), nil
}

// stale removes what a run that was killed left behind, and keeps its logs. The lock is ours: none of it is in use.
func (o options) stale(l node.Layout) error {
	old, err := filepath.Glob(filepath.Join(o.cache, "run-*"))
	if err != nil {
		return err
	}
	for _, d := range old {
		if d == l.Work {
			continue
		}
		say("removing what a run that was killed has left")
		if err := node.Sweep(node.Layout{Cache: l.Cache, Work: d, Logs: filepath.Join(o.cache, "logs", "killed")}); err != nil {
			return err
		}
	}
	return nil
}

// finish keeps the results of a run, also of one that was cut off.
func (o options) finish(ord order, code int) error {
	j, err := suite.ReadJournal(ord.Journal)
	if err != nil {
		return err
	}
	if j == nil || len(j.Results) == 0 {
		return exitCode(max(code, 1))
	}
	var run report.Run
	r, err := report.Load(o.results(), o.agent)
	if err != nil {
		return err
	}
	run = r.Merge(j, strings.Split(j.Begin.Started, "T")[0], machine(node.Unified()))
	if o.keep {
		if err := r.Save(o.results()); err != nil {
			return err
		}
		if err := report.WritePage(o.results(), o.page()); err != nil {
			return err
		}
	}
	for _, s := range j.Results {
		if s.Failed() {
			say("failed: %s", s.Name)
		}
	}
	say("%s with %s: %d of %d specs ran in %.0f s; logs are in %s", run.Suite, o.agent, run.Passed+run.Failed+run.Skipped, run.Specs, run.Seconds, ord.Layout.Logs)
	fmt.Printf("%d passed, %d failed, %d skipped\n", run.Passed, run.Failed, run.Skipped)
	switch {
	case !j.Complete():
		say("not complete: the same command goes on where it ended")
		return exitCode(max(code, 1))
	case run.Failed > 0 || run.Crashes > 0:
		return exitCode(1)
	case code != 0:
		return exitCode(code)
	}
	return nil
}

// execInside runs a command in the namespaces of the run that goes on.
func execInside(args []string) error {
	o, err := parse("exec", nil)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(lockFile)
	if err != nil || len(args) == 0 {
		return fmt.Errorf("no run goes on, or no command (%v)", err)
	}
	c := exec.Command("nsenter", append([]string{"--target", strings.TrimSpace(string(b)), "--all", "env",
		"KUBECONFIG=" + node.AdminConfig, "PATH=" + filepath.Join(o.cache, "bin") + ":" + os.Getenv("PATH")}, args...)...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return c.Run()
}
