package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/troupe-dev/troupe/test/conformance/build"
	"github.com/troupe-dev/troupe/test/conformance/node"
	"github.com/troupe-dev/troupe/test/conformance/suite"
)

// options are the command line's.
type options struct {
	top, agent, binary string
	suite, focus, skip string
	procs, group       int
	fresh, keep, again bool
	cache              string
}

func parse(name string, args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("rig "+name, flag.ContinueOnError)
	f.StringVar(&o.agent, "agent", "troupe", "`agent` that serves the node: troupe or kubelet")
	f.StringVar(&o.binary, "agent-binary", "", "`file` to run as the agent instead of bin/kubelet of this repository")
	f.StringVar(&o.suite, "suite", "conformance", "`suite` to run: conformance, serial, ci")
	f.StringVar(&o.focus, "focus", "", "run the specs whose name matches this `pattern` instead of a suite")
	f.StringVar(&o.skip, "skip", "", "and of these not those that match this `pattern`")
	f.IntVar(&o.procs, "procs", 6, "specs at a time")
	f.IntVar(&o.group, "group", -1, "specs of one call of the suite; 0: all in one (default: the suite's own)")
	f.BoolVar(&o.fresh, "fresh", false, "start anew instead of going on with a run of the same build that was cut off")
	f.BoolVar(&o.again, "again", false, "run what failed once more, one at a time; the second result counts")
	f.BoolVar(&o.keep, "record", true, "keep the results and write docs/conformance.md")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if o.agent != "troupe" && o.agent != "kubelet" {
		return o, fmt.Errorf("--agent %q: want troupe or kubelet", o.agent)
	}
	var err error
	if o.top, err = repository(); err != nil {
		return o, err
	}
	o.cache, err = build.CacheDir(o.top)
	return o, err
}

// choice is the suite that the options ask for.
func (o options) choice() (suite.Suite, error) {
	s := suite.Conformance
	var err error
	switch {
	case o.focus != "":
		s, err = suite.Custom(o.focus, o.skip)
	case o.suite == "conformance":
	case o.suite == "serial":
		s = suite.Serial
	case o.suite == "ci":
		s, err = suite.FromFile("ci", filepath.Join(o.top, "test/conformance/ci.txt"))
	default:
		err = fmt.Errorf("--suite %q: want conformance, serial or ci", o.suite)
	}
	if o.group >= 0 {
		s.Group = o.group
	}
	return s, err
}

// layout says where things are. runtime is the folder of the container runtime, work that of this run.
func (o options) layout(runtime, images, work string) (node.Layout, error) {
	l := node.Layout{Cache: o.cache, Images: images, Runtime: runtime, Agent: o.binary, Work: work, Logs: filepath.Join(o.cache, "logs", o.agent)}
	if l.Agent == "" {
		l.Agent = filepath.Join(o.top, "bin/kubelet")
		if o.agent == "kubelet" {
			l.Agent = filepath.Join(o.cache, "bin/kubelet")
		}
	}
	var err error
	if l.Agent, err = filepath.Abs(l.Agent); err != nil {
		return l, err
	}
	if _, err := os.Stat(l.Agent); err != nil {
		return l, fmt.Errorf("the agent's program: %w (make build)", err)
	}
	return l, nil
}

// version is what an agent calls itself.
func version(program string) (string, error) {
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask the agent for its version: %w", err)
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "Kubernetes "), nil
}

// repository is the top of the repository around the working folder.
func repository() (string, error) {
	d, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "test/conformance/go.mod")); err == nil {
			return d, nil
		}
		if d == "/" {
			return "", errors.New("not inside the repository")
		}
	}
}
