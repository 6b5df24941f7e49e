package benchcmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/troupe-dev/troupe/actors/root"
	"github.com/troupe-dev/troupe/bench/pipe"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cmd/troupe/compose"
	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
	"github.com/troupe-dev/troupe/cmd/troupe/version"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/server"
)

// stopTimeout bounds the stop of an agent.
const stopTimeout = 10 * time.Second

// embedded is an agent without an API server that is given its pods through a pipe.
type embedded struct {
	Endpoint string
	// Dir holds everything that the agent writes.
	Dir        string
	CgroupRoot string
	MaxPods    int32
	// Applier replaces the real cgroups; nil in production.
	Applier cgroups.Applier
	Dialer  remote.Options
	Log     klog.Logger
}

// serve runs the agent until in ends.
func (e embedded) serve(ctx context.Context, in io.Reader, out io.Writer) error {
	for _, dir := range []string{"root", "logs"} {
		if err := os.MkdirAll(filepath.Join(e.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	conn, err := remote.Dial(ctx, e.Endpoint, e.Dialer)
	if err != nil {
		return err
	}
	defer conn.Close()
	answers := pipe.NewServer(out)
	defer answers.Close()
	k := kubeletconfig.NewDefault()
	no := false
	k.CgroupDriver, k.CgroupRoot, k.PodLogsDir = string(cgroups.Cgroupfs), e.CgroupRoot, filepath.Join(e.Dir, "logs")
	k.FailSwapOn, k.FailCgroupV1, k.SerializeImagePulls, k.MaxPods = &no, &no, &no, e.MaxPods
	a, err := compose.Start(ctx, compose.Options{
		Root: root.Config{
			NodeName: "bench", Kubelet: k, Version: version.Get().Kubelet, Major: "1.36", RootDir: filepath.Join(e.Dir, "root"), Embedded: true, WaitRuntime: 30 * time.Second,
		},
		Deps:    root.Deps{Applier: e.Applier, Changed: func(pod *v1.Pod, gone bool) { answers.Changed(pod, gone) }},
		Server:  server.Config{Socket: filepath.Join(e.Dir, "socket", "troupe.sock"), EnableDebuggingHandlers: true, CallTimeout: k.RuntimeRequestTimeout.Duration},
		Runtime: conn, Configz: func() any { return k }, Logger: e.Log,
	})
	if err != nil {
		return err
	}
	a.Source.Synced()
	select {
	case <-a.Synced():
		err = answers.Serve(in, a.Source)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if e := a.Stop(stop); err == nil {
		err = e
	}
	return err
}

// agentCommand is the agent that `bench pods` starts for itself.
func agentCommand() *cobra.Command {
	var e embedded
	var profile string
	var verbosity int
	cmd := &cobra.Command{
		Use: "agent", Hidden: true, Args: cobra.NoArgs,
		Short: "The agent that bench pods starts without an API server; it is given pods on its standard input",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if profile != "" {
				f, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer f.Close()
				if err := pprof.StartCPUProfile(f); err != nil {
					return fmt.Errorf("--cpuprofile: %w", err)
				}
				defer pprof.StopCPUProfile()
			}
			e.Log = textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(cmd.ErrOrStderr()), textlogger.Verbosity(verbosity)))
			klog.SetLogger(e.Log)
			return e.serve(context.Background(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&e.Endpoint, "container-runtime-endpoint", "", "CRI `socket` of the runtime")
	f.StringVar(&e.Dir, "dir", "", "`folder` for everything that is written")
	f.StringVar(&e.CgroupRoot, "cgroup-root", "", "cgroup below which the pods' are made")
	f.Int32Var(&e.MaxPods, "max-pods", 110, "pods that the node takes")
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile to this `file`")
	f.IntVarP(&verbosity, "v", "v", 0, "`level` of detail of the log")
	return cmd
}
