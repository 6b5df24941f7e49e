// Package benchcmd is `troupe bench`: it composes what bench/ measures with the agents that are measured. Every agent is a
// process of its own, so that what it uses is not mixed with what the measuring uses.
package benchcmd

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Command is `troupe bench`.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the agent, or any other one, under load, each figure with its limit beside it",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(podsCommand(), floorCommand(), runtimeCommand(), agentCommand())
	return cmd
}

// interruptible ends the context at the first signal; the second ends the process.
func interruptible(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
