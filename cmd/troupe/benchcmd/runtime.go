package benchcmd

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-dev/troupe/cri/sim"
)

// runtimeCommand is `troupe bench runtime`.
func runtimeCommand() *cobra.Command {
	var l latencies
	var socket string
	cmd := &cobra.Command{
		Use:   "runtime --socket PATH",
		Short: "Serve a simulated container runtime on a unix socket",
		Long: `Serves CRI v1 on a unix socket: a runtime without processes, in which every image is there and every call
takes as long as it is told. Any node agent and crictl can use it. It runs until it is interrupted.`,
		Example: "  troupe bench runtime --socket /run/sim.sock --sandbox 80ms &\n  crictl -r unix:///run/sim.sock pods",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd)
			defer stop()
			rt := sim.New(l.config())
			s, err := rt.Serve(socket)
			if err != nil {
				return err
			}
			defer s.Stop()
			fmt.Fprintf(cmd.OutOrStdout(), "serving %s at unix://%s\n", &l, socket)
			// Nobody asks for the figures of single pods here; they must not pile up.
			t := time.NewTicker(time.Minute)
			defer t.Stop()
			for {
				select {
				case <-t.C:
					rt.TakePodStats()
				case <-ctx.Done():
					return nil
				}
			}
		},
	}
	cmd.Flags().StringVar(&socket, "socket", "", "`path` of the unix socket")
	_ = cmd.MarkFlagRequired("socket")
	l.flags(cmd.Flags())
	return cmd
}
