package benchcmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-dev/troupe/bench/apiload"
	"github.com/troupe-dev/troupe/bench/floor"
	"github.com/troupe-dev/troupe/bench/report"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/cmd/troupe/standalone"
	"github.com/troupe-dev/troupe/cmd/troupe/version"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/cri/sim"
)

// floorOptions are the flags of `troupe bench floor`.
type floorOptions struct {
	pods, rounds int
	widths       []int
	endpoint     string
	shape        podShape
	json         string
	latencies    latencies
	kubeconfig   string
	node         string
}

func floorCommand() *cobra.Command {
	var o floorOptions
	cmd := &cobra.Command{
		Use:   "floor",
		Short: "Measure what no agent can be faster than",
		Long: `Without --kubeconfig: brings pods up and down with the bare CRI calls that this needs, for some pods at a
time, and says which width is best.

With --kubeconfig: serves a node as an agent that only waits as long as the runtime would, writes each pod's
status once and deletes each pod once, until it is interrupted. ` + "`bench pods --floor`" + ` measures it.`,
		Example: `  troupe bench floor --pods 50 --container-runtime-endpoint unix:///run/containerd/containerd.sock
  troupe bench floor --kubeconfig admin.kubeconfig --node bench`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd)
			defer stop()
			if o.kubeconfig != "" {
				return o.serve(ctx, cmd.ErrOrStderr())
			}
			return o.bare(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.pods, "pods", 50, "how many pods")
	f.IntVar(&o.rounds, "rounds", 1, "measure every width so often; the best counts")
	f.IntSliceVar(&o.widths, "widths", []int{2, 4, 8, 16, 32}, "pods at a time")
	f.StringVar(&o.endpoint, "container-runtime-endpoint", "", "use this runtime instead of a simulated one")
	f.StringVar(&o.shape.Image, "image", "registry.k8s.io/pause:3.10", "the pods' image; it must be there already")
	f.StringVar(&o.json, "json", "", "write everything that was measured to this `file`")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "be the floor agent under the API server of this `file`")
	f.StringVar(&o.node, "node", "bench", "name of the node (with --kubeconfig)")
	o.latencies.flags(f)
	return cmd
}

// serve is the floor agent.
func (o *floorOptions) serve(ctx context.Context, errOut io.Writer) error {
	client, _, err := apiload.Client(o.kubeconfig)
	if err != nil {
		return err
	}
	if err := apiload.RegisterNode(ctx, client, o.node); err != nil {
		return err
	}
	a := &floor.Agent{
		Client: client, Node: o.node, Start: o.latencies.up(), Stop: o.latencies.down(),
		Log: func(err error) { fmt.Fprintln(errOut, err) },
	}
	return a.Run(ctx)
}

// bare measures the calls alone.
func (o *floorOptions) bare(ctx context.Context, out, errOut io.Writer) error {
	dir, err := os.MkdirTemp("", "troupe-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	endpoint, setup := o.endpoint, o.endpoint
	if endpoint == "" {
		s, err := sim.New(o.latencies.config()).Serve(filepath.Join(dir, "sim.sock"))
		if err != nil {
			return err
		}
		defer s.Stop()
		endpoint, setup = "unix://"+filepath.Join(dir, "sim.sock"), o.latencies.String()
	}
	rt, err := remote.Dial(ctx, endpoint, remote.Options{})
	if err != nil {
		return err
	}
	defer rt.Close()
	if _, err := rt.CheckVersion(ctx); err != nil {
		return err
	}
	tree := standalone.CgroupRoot{Path: fmt.Sprintf("/troupe-bench-%d", os.Getpid()), Driver: cgroups.Cgroupfs}
	if err := tree.Make(ctx); err != nil {
		return err
	}
	defer func() {
		if err := tree.Remove(context.WithoutCancel(ctx)); err != nil {
			fmt.Fprintln(errOut, err)
		}
	}()
	host, err := cgroupfs.Detect(cgroupfs.DefaultRoot)
	if err != nil {
		return err
	}
	applier := cgroupfs.New(host)
	layout := cgroups.Layout{Root: cgroups.ParseName(cgroups.Cgroupfs, tree.Path), PerQOS: true}
	for _, n := range append([]cgroups.Name{layout.Kubepods()}, layout.Tiers()...) {
		if err := applier.Apply(ctx, cgroups.Desired{Name: n}); err != nil {
			return err
		}
	}
	r := &report.Report{When: time.Now(), Version: "Troupe " + version.Get().Kubelet, Machine: report.ThisMachine(), Setup: map[string]string{"runtime": setup, "pods": fmt.Sprint(o.pods)}}
	best := map[int]floor.Result{}
	for round := range o.rounds {
		for _, width := range o.widths {
			pods, err := floorPods(o.shape, o.pods, fmt.Sprintf("floor-%d-%d-", round, width), "bench", filepath.Join(dir, "logs"), layout, applier)
			if err != nil {
				return err
			}
			b := &floor.Bare{Runtime: rt, Grace: time.Second}
			res, err := b.Measure(ctx, pods, max(1, width))
			if err != nil {
				return fmt.Errorf("width %d: %w", width, err)
			}
			fmt.Fprintf(errOut, "width %d: up %.2f s, down %.2f s\n", width, res.UpMs/1000, res.DownMs/1000)
			if old, ok := best[width]; !ok || res.UpMs < old.UpMs {
				best[width] = res
			}
		}
	}
	for _, width := range o.widths {
		r.Bare = append(r.Bare, best[width])
	}
	if err := r.Text(out); err != nil {
		return err
	}
	if o.json != "" {
		return r.Write(o.json)
	}
	return nil
}
