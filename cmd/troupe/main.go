// Command troupe is a Kubernetes node agent in which every pod and every
// container is an actor, with the commands to run pods alone and to look
// inside. Called as kubelet it is a kubelet.
package main

import (
	"os"

	"github.com/troupe-dev/troupe/cmd/troupe/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr))
}
