// Package cli is the command line: it reads flags and files, prepares the
// process, and hands a complete set of options to the agent. Decisions about
// pods are made elsewhere.
package cli

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/troupe-dev/troupe/cmd/troupe/version"
)

// kubeletName is the name that makes the binary behave as a kubelet.
const kubeletName = "kubelet"

// Main runs the command line and returns the exit code. args[0] is the name
// that the binary was called by.
func Main(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		args = []string{"troupe"}
	}
	var err error
	name := filepath.Base(args[0])
	if name == kubeletName {
		err = runNodeCommand(kubeletName, args[1:], stdout)
	} else {
		root := newRoot()
		root.SetArgs(args[1:])
		root.SetOut(stdout)
		root.SetErr(stderr)
		err = root.Execute()
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

// newRoot builds the tree of commands.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "troupe",
		Short: "A Kubernetes node agent in which every pod and container is an actor",
		Long: `Troupe runs pods on this machine: alone from a file (run), or as the node agent of
a Kubernetes cluster in place of the kubelet (node). Both can be looked into (tree, explain).`,
		Version:       version.Get().Kubelet,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetVersionTemplate("Kubernetes {{.Version}}\n") // as a kubelet says it
	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"alone", "Pods on this machine alone:", standaloneCommands()},
		{"cluster", "In a cluster:", []*cobra.Command{newNode()}},
		{"look", "Looking inside:", []*cobra.Command{newTree(), newExplain()}},
		{"measure", "Measuring:", benchCommands()},
	} {
		if len(g.commands) == 0 {
			continue
		}
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.AddCommand(newVersion())
	return root
}
