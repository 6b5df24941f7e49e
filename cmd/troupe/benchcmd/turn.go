package benchcmd

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/bench/apiload"
	"github.com/troupe-dev/troupe/bench/dist"
	"github.com/troupe-dev/troupe/bench/load"
	"github.com/troupe-dev/troupe/bench/pipe"
	"github.com/troupe-dev/troupe/bench/proc"
	"github.com/troupe-dev/troupe/bench/report"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cmd/troupe/standalone"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/cri/callstats"
	"github.com/troupe-dev/troupe/cri/proxy"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/cri/sim"
)

// startTimeout bounds how long an agent may take until it takes pods.
const startTimeout = 60 * time.Second

// turn is one agent under the whole load, with a runtime, a folder and a cgroup of its own.
type turn struct {
	*podsOptions
	spec  agentSpec
	round int
	show  *progress

	dir      string
	socket   string           // the runtime's endpoint
	calls    *callstats.Stats // of the runtime; nil when nobody counts
	cgroup   standalone.CgroupRoot
	port     int32 // of the node API
	process  *process
	cleaning []func()
}

// clean is done at the end of the turn, last first.
func (t *turn) clean(f func()) { t.cleaning = append(t.cleaning, f) }

// measure never fails: what went wrong is in the result.
func (t *turn) measure(ctx context.Context) report.Run {
	out := report.Run{Agent: t.spec.name, Round: t.round}
	defer func() {
		for i := len(t.cleaning) - 1; i >= 0; i-- {
			t.cleaning[i]()
		}
	}()
	err := t.prepare(ctx)
	if err == nil {
		if t.kubeconfig == "" {
			err = t.embedded(ctx, &out)
		} else {
			err = t.throughAPI(ctx, &out)
		}
	}
	if err != nil {
		if t.process != nil {
			if dead := t.process.diedWithin(time.Second); dead != nil {
				err = fmt.Errorf("%w; %w", err, dead)
			}
		}
		out.Error = err.Error()
	}
	return out
}

// prepare makes the folder, the cgroup and the runtime.
func (t *turn) prepare(ctx context.Context) error {
	var err error
	if t.keep != "" {
		t.dir, err = filepath.Abs(filepath.Join(t.keep, fmt.Sprintf("%s-%d", t.spec.name, t.round+1)))
		if err == nil {
			err = os.MkdirAll(t.dir, 0o755)
		}
	} else if t.dir, err = os.MkdirTemp("", "troupe-bench-"); err == nil {
		t.clean(func() { os.RemoveAll(t.dir) })
	}
	if err != nil {
		return err
	}
	t.socket = t.endpoint
	if t.endpoint == "" {
		rt := sim.New(t.latencies.config())
		path := filepath.Join(t.dir, "sim.sock")
		s, err := rt.Serve(path)
		if err != nil {
			return err
		}
		t.clean(s.Stop)
		t.socket, t.calls = "unix://"+path, rt.CallStats()
	}
	if t.pid != 0 {
		t.calls = nil
		return nil
	}
	if t.endpoint != "" {
		if err := unused(ctx, t.endpoint); err != nil {
			return err
		}
		if t.countCalls {
			if err := t.between(); err != nil {
				return err
			}
		}
	}
	t.cgroup = standalone.CgroupRoot{Path: fmt.Sprintf("/troupe-bench-%d", os.Getpid()), Driver: cgroups.Cgroupfs}
	if err := t.cgroup.Make(ctx); err != nil {
		return err
	}
	t.clean(func() {
		if err := t.cgroup.Remove(context.WithoutCancel(ctx)); err != nil {
			fmt.Fprintln(t.show.w, err)
		}
	})
	return nil
}

// between puts a proxy between the agent and a real runtime, which counts the calls and their time by pod.
func (t *turn) between() error {
	upstream, _, err := remote.SocketPath(t.endpoint)
	if err != nil {
		return err
	}
	path := filepath.Join(t.dir, "counted.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("count the runtime's calls: %w", err)
	}
	p := proxy.New(nil)
	t.calls = callstats.New()
	p.Count(t.calls)
	srv, err := p.Serve(l, func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", upstream) })
	if err != nil {
		l.Close()
		return err
	}
	t.clean(srv.Stop)
	t.socket = "unix://" + path
	return nil
}

// unused makes sure that a runtime has no pods: a node agent ends what nobody asked it for, and here others did.
func unused(ctx context.Context, endpoint string) error {
	rt, err := remote.Dial(ctx, endpoint, remote.Options{})
	if err != nil {
		return err
	}
	defer rt.Close()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := rt.CheckVersion(ctx); err != nil {
		return err
	}
	list, err := rt.ListPodSandbox(ctx, cri.SandboxFilter{})
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return fmt.Errorf("the runtime at %s has %d pods already, such as %s/%s: a measured agent would end them; give the bench a runtime of its own", endpoint, len(list), list[0].Namespace, list[0].Name)
	}
	return nil
}

// probe measures the process and, when it is ours, the runtime.
func (t *turn) probe(pid int) load.Probe {
	p := load.Probe{Usage: proc.Open(pid).Usage}
	if t.calls != nil {
		p.Calls = func() map[string]uint64 {
			out := map[string]uint64{}
			for op, s := range t.calls.Ops() {
				out[op] = s.Calls
			}
			return out
		}
		p.PodTimes = func() map[string]time.Duration {
			out := map[string]time.Duration{}
			for uid, s := range t.calls.TakePods() {
				out[uid] = s.Wall
			}
			return out
		}
	}
	return p
}

// embedded measures Troupe without an API server.
func (t *turn) embedded(ctx context.Context, out *report.Run) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	requests, toAgent, err := os.Pipe()
	if err != nil {
		return err
	}
	answers, fromAgent, err := os.Pipe()
	if err != nil {
		return err
	}
	args := []string{self, "bench", "agent", "--container-runtime-endpoint", t.socket, "--dir", filepath.Join(t.dir, "agent"), "--cgroup-root", t.cgroup.Path,
		"--max-pods", fmt.Sprint(t.plan.Pods + 100)}
	if t.profile {
		args = append(args, "--cpuprofile", filepath.Join(t.dir, "cpu.pprof"))
	}
	start := time.Now()
	t.process, err = startProcess(filepath.Join(t.dir, "agent.log"), requests, fromAgent, args...)
	requests.Close()
	fromAgent.Close()
	if err != nil {
		return err
	}
	t.clean(func() {
		toAgent.Close() // which ends it
		select {
		case <-t.process.ended:
		case <-time.After(stopTimeout):
			t.process.stop(context.WithoutCancel(ctx))
		}
		answers.Close()
	})
	tracker := load.NewTracker()
	c := pipe.NewClient(answers, toAgent, tracker, func(name string) *v1.Pod { return t.shape.pod("bench", name, "") }, t.shape.Grace)
	waiting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.Up(waiting); err != nil {
		return err
	}
	out.NodeReadyMs = dist.Ms(time.Since(start))
	out.Phases, err = load.Run(ctx, t.plan, c, tracker, t.probe(t.process.cmd.Process.Pid), t.show.tell)
	if e := c.Err(); e != nil && err != nil {
		err = fmt.Errorf("%w (%w)", err, e)
	}
	return err
}

// throughAPI measures any agent behind an API server.
func (t *turn) throughAPI(ctx context.Context, out *report.Run) error {
	client, conf, err := apiload.Client(t.kubeconfig)
	if err != nil {
		return err
	}
	background := context.WithoutCancel(ctx)
	waiting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	pid, alive := t.pid, func() error { return nil }
	if t.pid == 0 {
		if err := apiload.RemoveNode(ctx, client, t.node); err != nil {
			return err
		}
		args, err := t.arguments(conf)
		if err != nil {
			return err
		}
		if t.process, err = startProcess(filepath.Join(t.dir, "agent.log"), nil, nil, args...); err != nil {
			return err
		}
		t.clean(func() {
			t.process.stop(background)
			// A kubelet mounts its folder on itself and leaves it so; no mount there is EINVAL.
			_ = unix.Unmount(filepath.Join(t.dir, "root"), unix.MNT_DETACH)
			if err := apiload.RemoveNode(background, client, t.node); err != nil {
				fmt.Fprintln(t.show.w, err)
			}
		})
		pid, alive = t.process.cmd.Process.Pid, t.process.alive
	}
	took, err := apiload.WaitNode(waiting, client, t.node, alive)
	if err != nil {
		return err
	}
	out.NodeReadyMs = dist.Ms(took)
	tracker := load.NewTracker()
	namespace := fmt.Sprintf("troupe-bench-%s-%d-%d", t.spec.name, os.Getpid(), t.round)
	target, err := apiload.New(waiting, client, namespace, tracker, func(name string) *v1.Pod { return t.shape.pod(namespace, name, t.node) }, t.shape.Grace)
	if err != nil {
		return err
	}
	t.clean(func() {
		if err := target.Close(background); err != nil {
			fmt.Fprintln(t.show.w, err)
		}
	})
	probe := t.probe(pid)
	probe.Events = target.Events
	if t.profile && t.spec.command == "" {
		stop := t.profileNode(conf)
		defer stop()
	}
	out.Phases, err = load.Run(ctx, t.plan, target, tracker, probe, t.show.tell)
	return err
}
