package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/troupe-dev/troupe/test/conformance/images"
	"github.com/troupe-dev/troupe/test/conformance/node"
	"github.com/troupe-dev/troupe/test/conformance/suite"
)

func readOrder(file string) (order, error) {
	var o order
	b, err := os.ReadFile(file)
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(b, &o)
}

// firstProcess is that of the namespaces.
func firstProcess(file string) (int, error) {
	o, err := readOrder(file)
	if err != nil {
		return 0, err
	}
	return node.Init(o.Layout, []string{"rig", "inside", file})
}

// inside brings the node up and runs the specs. The namespaces end with it.
func inside(file string) error {
	o, err := readOrder(file)
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	mirror, err := images.NewMirror(o.Layout.Images)
	if err != nil {
		return err
	}
	n, err := node.Up(o.Layout, node.Images{Sandbox: images.PauseImage, Hosts: images.Hosts, Mirror: mirror}, say)
	if err != nil {
		return err
	}
	defer n.StopAgent()
	if len(o.Specs) == 0 {
		say("the node is up; in another terminal: test/rig/conformance.sh exec kubectl get nodes. Ctrl-C ends it.")
		<-ctx.Done()
		return nil
	}
	j, continued, err := suite.OpenJournal(o.Journal, o.Begin, o.Fresh)
	if err != nil {
		return err
	}
	defer j.Close()
	if continued {
		say("going on with a run that was cut off: %d of %d specs have a result", len(j.Results), o.Begin.Specs)
	}
	r := &suite.Runner{Bin: filepath.Join(o.Layout.Cache, "bin"), Kubeconfig: node.AdminConfig, Env: n.Environment(),
		Logs: filepath.Join(node.Home, "logs"), Procs: o.Begin.Procs, Group: o.Group, Again: o.Again, Journal: j, Say: say}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan error, 1)
	go func() { watched <- watchAgent(ctx, n, r, cancel) }()
	say("the node is Ready; running %d specs, %d at a time", o.Begin.Specs-len(j.Results), o.Begin.Procs)
	err = r.Run(ctx, o.Specs)
	cancel()
	if werr := <-watched; werr != nil {
		return werr
	}
	if errors.Is(err, context.Canceled) {
		return exitCode(130)
	}
	return err
}

// watchAgent starts the agent again when it ends by itself, as a service supervisor does, and gives up when it will not stay.
func watchAgent(ctx context.Context, n *node.Node, r *suite.Runner, giveUp func()) error {
	for crashes := 0; ; crashes++ {
		select {
		case <-ctx.Done():
			return nil
		case <-n.Agent().Done():
		}
		if crashes == 5 {
			giveUp()
			return fmt.Errorf("the agent does not stay up; see agent.log")
		}
		r.Crashed(n.Agent().End())
		if err := n.RestartAgent(); err != nil {
			giveUp()
			return err
		}
	}
}
