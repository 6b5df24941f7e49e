package standalone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
)

// RunCommand is `troupe run`.
func RunCommand() *cobra.Command {
	o := Options{}
	detach, verbosity := false, 0
	cmd := &cobra.Command{
		Use:   "run -f FILE…",
		Short: "Run pods from files on this machine, without a cluster",
		Long: `Runs the Pods of manifest files on this machine and waits until they are ready. ConfigMaps and
Secrets in the same files are there for the Pods to use. Without --container-runtime-endpoint a
private containerd is started for the run and ended with it. Ctrl-C ends the pods, each within its
grace period, and everything else that the run started; a second Ctrl-C hurries them.`,
		Example: "  troupe run -f examples/hello.yaml\n  troupe run -f pods/ --detach && troupe ps && troupe logs -f web && troupe stop",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.In, o.Out, o.Terminal = cmd.InOrStdin(), cmd.OutOrStdout(), columns(cmd.OutOrStdout())
			o.Start = startAgent
			o.Detached = os.Getenv(detachedEnv) != ""
			if detach && !o.Detached {
				return Detach(cmd.Context(), o)
			}
			done, err := logTo(&o, verbosity)
			if err != nil {
				return err
			}
			defer done()
			ctx, interrupts, stop := signals(contextOf(cmd))
			defer stop()
			return Run(ctx, o, interrupts)
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&o.Manifests, "filename", "f", nil, "`file` with manifests, folder of such files, or - for stdin; repeat for more")
	f.BoolVarP(&detach, "detach", "d", false, "return when the pods are ready and let them run in the background")
	f.StringVar(&o.Endpoint, "container-runtime-endpoint", "", "use this runtime (unix:///run/containerd/containerd.sock) instead of a private containerd")
	f.StringVar(&o.RuntimeDir, "runtime-dir", "", "`folder` with bin/ (containerd, runc) and cni/ for the private containerd (default: what test/rig/runtime.sh built, else what is installed)")
	f.StringSliceVar(&o.Images, "image", nil, "image `archive` (docker or OCI), or folder of *.tar, to load into the private containerd first; repeat for more")
	f.StringVar(&o.Subnet, "pod-subnet", DefaultSubnet, "addresses of the pods (private containerd)")
	f.StringVar(&o.CgroupRoot, "cgroup-root", "/troupe", "cgroup below which the pods' cgroups are made")
	f.DurationVar(&o.Timeout, "timeout", 0, "give up when the pods are not ready in time (0: wait)")
	f.IntVarP(&verbosity, "v", "v", 2, "`level` of detail of the agent's log, which is agent.log in the state folder")
	stateFlag(cmd, &o.StateDir)
	_ = cmd.MarkFlagRequired("filename")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json")
	return cmd
}

// PsCommand is `troupe ps`.
func PsCommand() *cobra.Command {
	var state, output string
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List the pods that `troupe run` runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := existing(state)
			if err != nil {
				return err
			}
			rep, err := reportOf(contextOf(cmd), l)
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(rep)
			}
			return writePods(cmd.OutOrStdout(), rep, time.Now())
		},
	}
	stateFlag(cmd, &state)
	cmd.Flags().StringVarP(&output, "output", "o", "", "`format`: json for everything")
	return cmd
}

// reportOf asks the run; one that was killed is told from none.
func reportOf(ctx context.Context, l Layout) (Report, error) {
	rep, err := NewClient(l).Report(ctx)
	if !errors.Is(err, ErrNoRun) {
		return rep, err
	}
	if _, recErr := ReadRecord(l); recErr == nil {
		lock, free, lockErr := TryLock(l)
		if lockErr != nil {
			return rep, lockErr
		}
		if !free {
			return rep, errors.New("a run is starting or ending: try again in a moment")
		}
		lock.Release()
		return rep, fmt.Errorf("the run in %s was killed and left something: `troupe stop` removes it, `troupe run` with the same files takes it over", l.Dir)
	}
	return rep, fmt.Errorf("%w: start something with `troupe run -f FILE`", ErrNoRun)
}

func writePods(out io.Writer, rep Report, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 4, 3, ' ', 0)
	fmt.Fprintln(w, "NAMESPACE\tPOD\tSTATUS\tREADY\tRESTARTS\tAGE\tWHERE")
	for _, p := range rep.Pods {
		_, doing := Judge(p)
		ready, restarts := 0, int32(0)
		for _, c := range p.Status.ContainerStatuses {
			restarts += c.RestartCount
			if c.Ready {
				ready++
			}
		}
		where := strings.Join(URLs(p), " ")
		if where == "" {
			where = p.Status.PodIP
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d/%d\t%d\t%s\t%s\n", p.Namespace, p.Name, doing, ready, len(p.Spec.Containers), restarts,
			duration.HumanDuration(now.Sub(p.CreationTimestamp.Time)), where)
	}
	return w.Flush()
}

// LogsCommand is `troupe logs`.
func LogsCommand() *cobra.Command {
	var (
		state, namespace, lines string
		o                       LogOptions
	)
	cmd := &cobra.Command{
		Use:   "logs [-f] [POD]",
		Short: "Show the logs of a pod that `troupe run` runs",
		Long:  "Shows a pod's logs; POD may be left out when there is only one. The containers' lines carry their names when there are several.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := existing(state)
			if err != nil {
				return err
			}
			if o.Tail, err = linesOf(lines); err != nil {
				return err
			}
			ctx, _, stop := signals(contextOf(cmd))
			defer stop()
			rep, err := reportOf(ctx, l)
			if err != nil {
				return err
			}
			pod, err := choose(rep.Pods, namespace, args)
			if err != nil {
				return err
			}
			return Logs(ctx, l.PodLogs(), pod, o, func() bool { return writes(ctx, l, pod) }, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on with what is written from now on")
	f.BoolVarP(&o.Previous, "previous", "p", false, "show the instance before the last restart")
	f.BoolVar(&o.Timestamps, "timestamps", false, "show when each line was written")
	f.StringVar(&lines, "tail", "all", "begin with this many of the last `lines`")
	f.StringVarP(&o.Container, "container", "c", "", "only this container")
	f.StringVarP(&namespace, "namespace", "n", v1.NamespaceDefault, "namespace of the pod")
	stateFlag(cmd, &state)
	return cmd
}

func linesOf(s string) (int, error) {
	if s == "all" {
		return -1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("--tail: %q is not a number of lines", s)
	}
	return n, nil
}

// writes says whether the pod may still write logs.
func writes(ctx context.Context, l Layout, pod *v1.Pod) bool {
	rep, err := NewClient(l).Report(ctx)
	if err != nil {
		return false
	}
	for _, p := range rep.Pods {
		if p.UID == pod.UID {
			o, _ := Judge(p)
			return o != Succeeded && o != Failed
		}
	}
	return false
}

func choose(pods []*v1.Pod, namespace string, args []string) (*v1.Pod, error) {
	var names []string
	for _, p := range pods {
		names = append(names, podKey(p))
		if len(args) == 1 && (p.Name == args[0] && p.Namespace == namespace || p.Namespace+"/"+p.Name == args[0]) {
			return p, nil
		}
	}
	switch {
	case len(pods) == 0:
		return nil, errors.New("there is no pod")
	case len(args) == 0 && len(pods) == 1:
		return pods[0], nil
	case len(args) == 0:
		return nil, fmt.Errorf("which pod? There are %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("there is no pod %s/%s; there are %s", namespace, args[0], strings.Join(names, ", "))
}

// StopCommand is `troupe stop`.
func StopCommand() *cobra.Command {
	var (
		state string
		grace int64
	)
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "End the pods that `troupe run` runs, and everything that it started",
		Long:  "Ends the run and waits until nothing of it is left. A run that was killed is cleaned up.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := existing(state)
			if err != nil {
				return err
			}
			var g *int64
			if cmd.Flags().Changed("grace") {
				g = &grace
			}
			ctx, _, stop := signals(contextOf(cmd))
			defer stop()
			return Stop(ctx, l, g, NewView(cmd.OutOrStdout(), columns(cmd.OutOrStdout())))
		},
	}
	cmd.Flags().Int64Var(&grace, "grace", 0, "`seconds` that the pods get instead of their own grace period")
	stateFlag(cmd, &state)
	return cmd
}

func stateFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "state-dir", DefaultStateDir, "`folder` for everything that a run keeps; one run at a time in each")
}

// existing is the layout of a state folder that must be there.
func existing(dir string) (Layout, error) {
	if _, err := os.Stat(dir); err != nil {
		return Layout{}, fmt.Errorf("%w: there is no state folder %s", ErrNoRun, dir)
	}
	return NewLayout(dir)
}

func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// signals gives a context that the first SIGINT or SIGTERM ends, and the further ones.
func signals(parent context.Context) (context.Context, <-chan os.Signal, func()) {
	ctx, cancel := context.WithCancel(parent)
	got, further := make(chan os.Signal, 4), make(chan os.Signal, 4)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for s := range got {
			if ctx.Err() == nil {
				cancel()
				continue
			}
			select {
			case further <- s:
			default:
			}
		}
	}()
	return ctx, further, func() {
		signal.Stop(got)
		close(got)
		cancel()
	}
}

// columns is the width of the terminal behind out; 0 when there is none.
func columns(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return 0
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return w
}

// logTo sends the agent's log, and what libraries write through klog, to a file: the terminal is for the pods.
func logTo(o *Options, verbosity int) (func(), error) {
	l, err := NewLayout(o.StateDir)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(l.AgentLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	o.Log = textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(f), textlogger.Verbosity(verbosity)))
	klog.SetLogger(o.Log)
	return func() { _ = f.Close() }, nil
}
