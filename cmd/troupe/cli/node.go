package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	nodeutil "k8s.io/component-helpers/node/util"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
	"github.com/troupe-dev/troupe/cmd/troupe/kubeletflags"
	"github.com/troupe-dev/troupe/cmd/troupe/version"
)

// NodeOptions is what the agent is started with. It is built once and not
// changed afterwards.
type NodeOptions struct {
	kubeletconfig.Options
	// NodeName is the lower-case host name, or --hostname-override.
	NodeName string
	// NodeIPs are from --node-ip: none, one, or one of each family, the first
	// being the primary one. An unspecified address only says which family to prefer.
	NodeIPs []net.IP
	Version version.Info
	// Clients is nil without an API server.
	Clients *Clients
	// CgroupV1 is true unless the machine has the unified hierarchy.
	CgroupV1 bool
	// Started tells the service manager that the agent works. The agent calls
	// it once.
	Started func()
}

func newNode() *cobra.Command {
	cmd := &cobra.Command{
		Use:                "node [flags]",
		Short:              "Run the node agent, in place of a kubelet and with its flags",
		DisableFlagParsing: true, // they are parsed twice, around the configuration file
		RunE: func(cmd *cobra.Command, args []string) error {
			return runNodeCommand("troupe node", args, cmd.OutOrStdout())
		},
	}
	cmd.ValidArgsFunction = completeNodeFlags
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		_ = writeNodeHelp(cmd.OutOrStdout(), "troupe node", false)
	})
	return cmd
}

// completeNodeFlags completes flag names; the command itself parses none.
func completeNodeFlags(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if !strings.HasPrefix(word, "-") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var out []cobra.Completion
	kubeletflags.FlagSet().VisitAll(func(f *pflag.Flag) {
		if name := "--" + f.Name; !f.Hidden && strings.HasPrefix(name, word) {
			out = append(out, cobra.CompletionWithDesc(name, f.Usage))
		}
	})
	return out, cobra.ShellCompDirectiveNoFileComp
}

// runNodeCommand is `troupe node` and `kubelet`; they differ in the name alone.
func runNodeCommand(name string, args []string, stdout io.Writer) error {
	cgroupV1 := onCgroupV1()
	parsed, err := kubeletflags.Parse(args, kubeletconfig.Host{CgroupV1: cgroupV1})
	switch {
	case err != nil:
		return err
	case parsed.Help || parsed.HelpAll:
		return writeNodeHelp(stdout, name, parsed.HelpAll)
	case parsed.Version != "":
		return writeVersion(stdout, parsed.Version)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return runNode(ctx, NodeOptions{Options: parsed.Options, CgroupV1: cgroupV1})
}

func writeNodeHelp(w io.Writer, name string, all bool) error {
	_, err := fmt.Fprintf(w, `Runs the node agent: registers this machine as a node, runs the pods that are bound to
it, and reports their status. Flags and the configuration file are those of the kubelet 1.36.

Usage:
  %s [flags]
`, name)
	if err != nil {
		return err
	}
	return kubeletflags.WriteHelp(w, all, columns(w))
}

// runNode prepares the process and runs the agent until ctx ends. NodeName,
// NodeIPs, Version, Clients and Started are filled in here.
func runNode(ctx context.Context, o NodeOptions) error {
	logs.InitLogs()
	defer logs.FlushLogs()
	if err := logsapi.ValidateAndApply(&o.Config.Logging, o.Gates.Component()); err != nil {
		return fmt.Errorf("set up logging: %w", err)
	}
	logger := klog.Background()
	ctx = klog.NewContext(ctx, logger)

	o.Version = version.Get()
	logger.Info("Starting", "version", o.Version.Kubelet, "go", o.Version.Go, "cpus", runtime.NumCPU(), "GOMAXPROCS", runtime.GOMAXPROCS(0))
	for _, w := range o.Warnings {
		logger.Info("Warning: " + w)
	}
	for _, path := range o.SkippedDropIns {
		logger.V(4).Info("Skipped a file in --config-dir, its name does not end in .conf", "path", path)
	}
	logger.V(5).Info("Configuration", "config", klog.Format(shown(o.Config)))

	if err := prepareProcess(logger, o); err != nil {
		return err
	}
	ctx, release, err := holdLock(ctx, o.Flags.LockFile, o.Flags.ExitOnLockContention)
	if err != nil {
		return err
	}
	defer release()
	if err := identify(logger, &o); err != nil {
		return err
	}
	if o.Clients, err = newClients(o); err != nil {
		return err
	}
	if o.Clients == nil {
		logger.Info("No --kubeconfig: only static pods run, no API server is told")
	}
	o.Started = func() {
		if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
			logger.Error(err, "The service manager could not be told that the agent is ready")
		}
	}
	err = startAgent(ctx, o)
	if _, notifyErr := daemon.SdNotify(false, daemon.SdNotifyStopping); notifyErr != nil {
		logger.V(4).Info("The service manager could not be told that the agent stops", "err", notifyErr)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = nil
	}
	logger.Info("Stopped", "err", err)
	return err
}

// identify settles the node's name and addresses.
func identify(logger klog.Logger, o *NodeOptions) error {
	name, err := nodeutil.GetHostname(o.Flags.HostnameOverride)
	if err != nil {
		return fmt.Errorf("node name: %w; set --hostname-override", err)
	}
	o.NodeName = name
	ips, unparsed, err := nodeutil.ParseNodeIPArgument(o.Flags.NodeIP, o.Flags.CloudProvider)
	if err != nil {
		return fmt.Errorf("--node-ip %q: %w", o.Flags.NodeIP, err)
	}
	if len(unparsed) > 0 {
		logger.Info("Warning: parts of --node-ip are no IP addresses and are left out", "parts", unparsed)
	}
	o.NodeIPs = slices.Clone(ips)
	return nil
}

// shown is a copy for the log, without the values of HTTP headers, which may
// be credentials.
func shown(c *kubeletconfig.Configuration) *kubeletconfig.Configuration {
	c = c.DeepCopy()
	for name := range c.StaticPodURLHeader {
		c.StaticPodURLHeader[name] = []string{"<masked>"}
	}
	return c
}

// columns is the width of the terminal that w is, or 0.
func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		return terminalWidth(f)
	}
	return 0
}
