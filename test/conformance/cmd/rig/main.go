// Command rig runs Kubernetes' end-to-end suite on a node whose agent is Troupe, or the stock kubelet for comparison.
//
//	rig run   [--suite conformance|serial|ci] [--focus RE] [--agent troupe|kubelet] …
//	rig up    [--agent …]        the node alone, until Ctrl-C; `rig exec` looks into it
//	rig exec  COMMAND…           a command inside the running node, for example: rig exec kubectl get pods -A
//	rig build                    builds what a run needs, and nothing else
//	rig page                     writes docs/conformance.md from the results that are kept
//
// Everything that a run starts lives in namespaces of its own and ends with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	// The namespaces' first process dies with the thread that started it.
	runtime.LockOSThread()
	if len(os.Args) < 2 {
		usage()
	}
	var err error
	switch os.Args[1] {
	case "run", "up":
		err = outside(os.Args[1], os.Args[2:])
	case "exec":
		err = execInside(os.Args[2:])
	case "build", "page":
		err = prepare(os.Args[1], os.Args[2:])
	case "init":
		var code int
		if code, err = firstProcess(os.Args[2]); err == nil {
			os.Exit(code)
		}
	case "inside":
		err = inside(os.Args[2])
	default:
		usage()
	}
	var exit exitCode
	switch {
	case errors.As(err, &exit):
		os.Exit(int(exit))
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: rig run|up|exec|build|page [flags]; rig run --help has the flags")
	os.Exit(2)
}

// exitCode ends the program without a word: what went wrong has been said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// say is progress, for people.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// interruptible ends with the first Ctrl-C or request to end.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}
