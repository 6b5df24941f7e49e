package benchcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/troupe-dev/troupe/bench/load"
	"github.com/troupe-dev/troupe/bench/report"
	"github.com/troupe-dev/troupe/cmd/troupe/version"
)

// podsOptions are the flags of `troupe bench pods`.
type podsOptions struct {
	plan      load.Plan
	phases    string
	churn     int
	shape     podShape
	latencies latencies
	endpoint  string
	// countCalls puts a proxy before a real runtime.
	countCalls bool
	rounds     int
	json       string
	keep       string
	profile    bool

	kubeconfig, nodeKubeconfig string
	node, nodeIP               string
	agents                     []string
	kubelet                    string
	floor                      bool
	pid                        int
}

func podsCommand() *cobra.Command {
	var o podsOptions
	cmd := &cobra.Command{
		Use:   "pods",
		Short: "Fill a node with pods, replace some, delete them, idle; measure what each costs",
		Long: `Puts pods on a node in phases and measures, as a client sees it, how long each takes to be Ready and to be
gone, and what the agent uses for it. Without --kubeconfig the agent runs without an API server, against a
simulated runtime. With --kubeconfig the pods go through that API server; several agents can be measured one
after the other under the same load: Troupe, the floor agent (--floor), a kubelet (--kubelet), any command.

In an --agent command {config} is a KubeletConfiguration, {kubeconfig} the node's kubeconfig, {node} the node's
name, {endpoint} the runtime's, {dir} a folder of its own.`,
		Example: `  troupe bench pods --pods 500
  troupe bench pods --kubeconfig admin.kubeconfig --node-ip 10.0.0.7 --floor --kubelet /usr/bin/kubelet --rounds 5 --json out.json
  troupe bench pods --kubeconfig admin.kubeconfig --node worker-1 --agent-pid $(pidof kubelet)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd)
			defer stop()
			return o.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.plan.Pods, "pods", 500, "how many pods")
	f.StringVar(&o.phases, "phases", "fill,idle,churn,delete,idle", "what is done, in this order")
	f.IntVar(&o.plan.Workers, "workers", 32, "creates and deletes asked for at the same time")
	f.IntVar(&o.churn, "churn", 10, "churn replaces this `percentage` of the pods")
	f.IntVar(&o.plan.ChurnWidth, "churn-width", 4, "pods that churn replaces at the same time")
	f.DurationVar(&o.plan.Idle, "idle", 30*time.Second, "how long an idle phase lasts")
	f.DurationVar(&o.plan.Settle, "settle", 3*time.Second, "go on measuring the agent after a phase's last pod until nothing was written for so long")
	f.DurationVar(&o.plan.Timeout, "timeout", 5*time.Minute, "give up a phase after this time")
	f.Int64Var(&o.shape.Grace, "grace", 1, "grace period of deletes in `seconds`")
	f.BoolVar(&o.shape.Tokens, "tokens", false, "mount a service account token, as pods have by default (with --kubeconfig)")
	f.StringVar(&o.shape.Image, "image", "registry.k8s.io/pause:3.10", "the pods' image; it should be on the node already")
	f.StringVar(&o.endpoint, "container-runtime-endpoint", "", "use this runtime, which must serve nobody else, instead of a simulated one")
	f.BoolVar(&o.countCalls, "count-calls", true, "with --container-runtime-endpoint: forward the runtime's socket through the bench, which counts the calls and their time")
	f.IntVar(&o.rounds, "rounds", 1, "measure every agent so often, in turns")
	f.StringVar(&o.json, "json", "", "write everything that was measured to this `file`")
	f.StringVar(&o.keep, "keep", "", "keep the agents' logs and profiles in this `folder`")
	f.BoolVar(&o.profile, "cpuprofile", false, "profile Troupe (with --keep)")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "drive the API server of this `file`, as an administrator")
	f.StringVar(&o.nodeKubeconfig, "node-kubeconfig", "", "credentials of the agents (default: those of --kubeconfig)")
	f.StringVar(&o.node, "node", "bench", "name of the node; it is removed at the end unless --agent-pid is given")
	f.StringVar(&o.nodeIP, "node-ip", "", "address of the node")
	f.StringArrayVar(&o.agents, "agent", nil, "measure this agent: `name=command`; repeat for more (default: Troupe)")
	f.StringVar(&o.kubelet, "kubelet", "", "measure Troupe and the kubelet of this `file`")
	f.BoolVar(&o.floor, "floor", false, "measure the floor agent too, first (with --kubeconfig)")
	f.IntVar(&o.pid, "agent-pid", 0, "measure the agent that runs already as this `process`")
	o.latencies.flags(f)
	return cmd
}

// agentSpec is an agent to measure. An empty command is Troupe itself.
type agentSpec struct{ name, command string }

func (o *podsOptions) specs() ([]agentSpec, error) {
	const troupe = "troupe"
	var out []agentSpec
	if o.floor {
		out = append(out, agentSpec{report.FloorName, floorAgent(o)})
	}
	for _, a := range o.agents {
		name, command, ok := strings.Cut(a, "=")
		if !ok || name == "" || strings.ContainsAny(name, " /") {
			return nil, fmt.Errorf("--agent %q: give it a name, as in kubelet='/usr/bin/kubelet --config {config}'", a)
		}
		out = append(out, agentSpec{name, command})
	}
	if len(o.agents) == 0 && o.pid == 0 {
		out = append(out, agentSpec{name: troupe})
	}
	if o.kubelet != "" {
		out = append(out, agentSpec{"kubelet", kubeletCommand(o.kubelet, o.nodeIP)})
	}
	if o.pid != 0 {
		out = append(out, agentSpec{name: fmt.Sprintf("pid-%d", o.pid)})
	}
	switch {
	case o.kubeconfig == "" && (len(out) != 1 || out[0].command != "" || o.pid != 0):
		return nil, errors.New("other agents than Troupe need an API server: give --kubeconfig")
	case o.pid != 0 && len(out) > 1:
		return nil, errors.New("--agent-pid: one agent serves the node already, others cannot take turns with it")
	}
	return out, nil
}

func (o *podsOptions) run(ctx context.Context, out, errOut io.Writer) error {
	specs, err := o.specs()
	if err != nil {
		return err
	}
	if o.plan.Phases, err = load.ParsePhases(o.phases); err != nil {
		return err
	}
	o.plan.Prefix, o.plan.ChurnPods = "bench-", max(1, o.plan.Pods*o.churn/100)
	r := &report.Report{When: time.Now(), Version: "Troupe " + version.Get().Kubelet, Machine: report.ThisMachine(), Setup: o.setup()}
	show := newProgress(errOut)
	var failed error
	for round := range o.rounds {
		order := slices.Clone(specs)
		if round%2 == 1 {
			slices.Reverse(order) // what a turn leaves behind does not always meet the same agent
		}
		for _, s := range order {
			if ctx.Err() != nil {
				break
			}
			show.turn(fmt.Sprintf("%s, round %d of %d", s.name, round+1, o.rounds))
			t := &turn{podsOptions: o, spec: s, round: round, show: show}
			run := t.measure(ctx)
			show.end()
			if run.Error != "" {
				failed = errors.Join(failed, fmt.Errorf("%s: %s", s.name, run.Error))
			}
			r.Runs = append(r.Runs, run)
		}
	}
	if err := r.Text(out); err != nil {
		return err
	}
	if o.json != "" {
		failed = errors.Join(failed, r.Write(o.json))
	}
	return failed
}

func (o *podsOptions) setup() map[string]string {
	s := map[string]string{
		"pods":    fmt.Sprintf("%d, grace %d s, tokens %t, %s", o.plan.Pods, o.shape.Grace, o.shape.Tokens, o.shape.Image),
		"runtime": o.latencies.String(), "API server": "none, pods through a pipe",
		"client": fmt.Sprintf("%d workers, settle %s", o.plan.Workers, o.plan.Settle),
	}
	if o.endpoint != "" {
		s["runtime"] = o.endpoint
	}
	if o.kubeconfig != "" {
		s["API server"] = "real, node " + o.node
	}
	return s
}

// progress shows how far the load is: one line that changes on a terminal, else a line for each phase's end.
type progress struct {
	w        io.Writer
	terminal bool
	title    string
	last     load.Progress
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (p *progress) turn(title string) { p.title = title }

// tell is called by one goroutine at a time.
func (p *progress) tell(n load.Progress) {
	line := fmt.Sprintf("%s: %s %d/%d, %.1f s", p.title, n.Phase, n.Done, n.Of, n.Elapsed.Seconds())
	if n.Of == 0 {
		line = fmt.Sprintf("%s: %s, %.0f s", p.title, n.Phase, n.Elapsed.Seconds())
	}
	switch {
	case p.terminal:
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	case n.Phase != p.last.Phase || n.Elapsed < p.last.Elapsed || n.Done == n.Of && n.Of > 0:
		fmt.Fprintln(p.w, line)
	}
	p.last = n
}

// end leaves the line.
func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
