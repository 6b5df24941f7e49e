// Package runtime is the /runtime actor: it owns the connection to the container runtime. It finds out whether the
// runtime answers, reads its version, configuration and conditions, keeps its event stream, makes the full lists, and
// tells /pods and /node what follows from them. In standalone mode it also supervises the runtime as a child process.
// What it does when is decided by runtimeplan; this package performs it.
package runtime

import (
	"context"
	"fmt"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/runtime/child"
	"github.com/troupe-dev/troupe/actors/runtime/runtimeplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/runtimemsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Connection is the part of cri.Runtime that the actor uses.
type Connection interface {
	Version(ctx context.Context) (*runtimeapi.VersionResponse, error)
	Status(ctx context.Context, verbose bool) (*runtimeapi.StatusResponse, error)
	RuntimeConfig(ctx context.Context) (*runtimeapi.RuntimeConfigResponse, error)
	UpdateRuntimeConfig(ctx context.Context, podCIDR string) error
	Lister
	streamer
}

var _ Connection = cri.Runtime(nil)

// Child is a runtime that is a process of ours; *child.Launcher is one.
type Child interface {
	// Start starts it and returns its process id. exited is called once when it has ended.
	Start(exited func(child.Exit)) (pid int, err error)
	// Stop ends it for good.
	Stop(ctx context.Context) error
	// PID is the process that runs now, 0 for none.
	PID() int
}

// Runner performs calls; *runner.Runner is one.
type Runner interface {
	Do(ctx context.Context, job runner.Job)
}

// Deps are the parties that the actor talks to.
type Deps struct {
	Runtime Connection
	Runner  Runner
	// Pods receives podsmsg.RuntimeGate, Listed and Dirty; Node receives nodemsg.RuntimeState.
	Pods, Node messages.Sink
	// Child is set in standalone mode only.
	Child Child
	Log   klog.Logger
}

// Config of the actor.
type Config struct {
	// Plan holds the durations; the zero value stands for runtimeplan.Defaults. Plan.Child is set by the actor.
	Plan runtimeplan.Config
	// CheckTimeout bounds Version, Status, RuntimeConfig and UpdateRuntimeConfig, ListTimeout the lists. Zero: 10 s, 60 s.
	CheckTimeout, ListTimeout time.Duration
}

// Kind is the actor's kind in the registry.
const Kind = "runtime"

// New returns the producer of the actor, for spawn. What has to outlive an incarnation is kept in it: the epoch never
// goes back, and a running child is not started twice.
func New(deps Deps, cfg Config) func(*spawn.Cell) spawn.Receiver {
	if cfg.Plan == (runtimeplan.Config{}) {
		cfg.Plan = runtimeplan.Defaults()
	}
	cfg.Plan.Child = deps.Child != nil
	if cfg.CheckTimeout == 0 {
		cfg.CheckTimeout = 10 * time.Second
	}
	if cfg.ListTimeout == 0 {
		cfg.ListTimeout = time.Minute
	}
	mem := &memory{}
	return func(*spawn.Cell) spawn.Receiver { return &receiver{deps: deps, cfg: cfg, mem: mem} }
}

// memory is what one incarnation leaves to the next. Only the actor touches it, one incarnation at a time.
type memory struct {
	epoch uint64
	cidr  string
}

type receiver struct {
	deps  Deps
	cfg   Config
	mem   *memory
	state runtimeplan.State

	streamCancel context.CancelFunc
	wakeCancel   func()
}

// Started implements spawn.Starter.
func (r *receiver) Started(c *spawn.Cell) {
	r.state = runtimeplan.State{Epoch: r.mem.epoch, CIDRWanted: r.mem.cidr}
	if r.deps.Child != nil {
		if pid := r.deps.Child.PID(); pid != 0 {
			r.state.Child, r.state.ChildPID, r.state.ChildSince = runtimeplan.ChildRunning, pid, time.Now()
		}
	}
	r.feed(c, runtimeplan.Started{})
}

// Receive implements spawn.Receiver.
func (r *receiver) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case runtimeplan.Event:
		r.feed(c, m)
	case runtimemsg.Message:
		r.feed(c, translate(m))
	}
}

func translate(m runtimemsg.Message) runtimeplan.Event {
	switch m := m.(type) {
	case runtimemsg.Suspect:
		return runtimeplan.Suspected{Why: text(m.Err), Network: cri.NetworkNotReady(m.Err)}
	case runtimemsg.Relist:
		return runtimeplan.RelistAsked{Why: m.Why}
	case runtimemsg.TellAgain:
		return runtimeplan.TellAgain{}
	case runtimemsg.PodCIDR:
		return runtimeplan.CIDRAsked{CIDR: m.CIDR}
	case runtimemsg.End:
		return runtimeplan.StopAsked{}
	}
	return runtimeplan.Tick{}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// feed is the whole cycle: decide, then do, then publish.
func (r *receiver) feed(c *spawn.Cell, ev runtimeplan.Event) {
	r.log(c, ev)
	old := r.state
	var acts []runtimeplan.Action
	r.state, acts = runtimeplan.Next(r.cfg.Plan, r.state, time.Now(), ev)
	r.mem.epoch, r.mem.cidr = r.state.Epoch, r.state.CIDRWanted
	for _, a := range acts {
		r.perform(c, a)
	}
	if old.Conn != r.state.Conn {
		r.deps.Log.Info("Container runtime", "connection", r.state.Conn.String(), "epoch", r.state.Epoch, "lastError", r.state.LastError)
	}
	c.Entry().SetState(r.state.Conn.String())
	c.Entry().SetDetail(detailOf(r.state))
}

// log names what happened in the flight recorder, and failures of the child in the log.
func (r *receiver) log(c *spawn.Cell, ev runtimeplan.Event) {
	switch e := ev.(type) {
	case runtimeplan.StreamUp:
		c.Entry().Event("event stream stands")
	case runtimeplan.StreamEnded:
		c.Entry().Event("event stream ended")
	case runtimeplan.Suspected:
		c.Entry().Event("outage suspected")
	case runtimeplan.ChildUp:
		c.Entry().Event("child started")
		if e.Err != "" {
			r.deps.Log.Error(nil, "Container runtime did not start", "err", e.Err)
		} else {
			r.deps.Log.Info("Container runtime started as a child", "pid", e.PID)
		}
	case runtimeplan.ChildDown:
		c.Entry().Event("child ended")
		if r.state.Child != runtimeplan.ChildEnding {
			r.deps.Log.Error(nil, "Container runtime ended", "pid", e.PID, "how", e.Exit)
		}
	case runtimeplan.Started, runtimeplan.Tick, runtimeplan.Checked, runtimeplan.StatusRead, runtimeplan.Listed,
		runtimeplan.RelistAsked, runtimeplan.TellAgain, runtimeplan.CIDRAsked, runtimeplan.CIDRDone, runtimeplan.StopAsked:
	}
}

// Stopping implements spawn.Stopper. The child, if any, runs on: a rebuilt actor takes it over, and the end of the agent
// stops it by its launcher.
func (r *receiver) Stopping(*spawn.Cell) {
	if r.streamCancel != nil {
		r.streamCancel()
	}
}

// Detail is what the inspection shows of the actor.
type Detail struct {
	Connection  string    `json:"connection"`
	Epoch       uint64    `json:"epoch"`
	Name        string    `json:"name,omitempty"`
	Version     string    `json:"version,omitempty"`
	Ready       bool      `json:"runtimeReady"`
	Network     bool      `json:"networkReady"`
	Reason      string    `json:"reason,omitempty"`
	DownSince   time.Time `json:"downSince,omitzero"`
	LastError   string    `json:"lastError,omitempty"`
	EventStream string    `json:"eventStream"`
	Child       string    `json:"child,omitempty"`
	ChildPID    int       `json:"childPid,omitempty"`
	Restarts    int       `json:"childRestarts,omitempty"`
	RetryAt     time.Time `json:"childRetryAt,omitzero"`
}

func detailOf(s runtimeplan.State) Detail {
	d := Detail{
		Connection: s.Conn.String(), Epoch: s.Epoch, Name: s.Seen.Name, Version: s.Seen.Version,
		Ready: s.ToldGate.RuntimeReady, Network: s.ToldGate.NetworkReady, Reason: s.Seen.Reason,
		DownSince: s.DownSince, LastError: s.LastError, EventStream: s.Stream.String(),
	}
	if s.Child != runtimeplan.ChildNone {
		d.Child, d.ChildPID, d.Restarts = s.Child.String(), s.ChildPID, s.Restarts
		if s.Child == runtimeplan.ChildWaiting {
			d.RetryAt = s.ChildRetryAt
		}
	}
	return d
}

func panicText(v any) string { return fmt.Sprintf("panic: %v", v) }

var _ interface {
	spawn.Receiver
	spawn.Starter
	spawn.Stopper
} = (*receiver)(nil)
