// Package node is the /node actor: it registers the node and keeps its lease and its status, and it decides which pods
// have a place here. Admission is decided in admission, the status is composed in nodestatus.
package node

import (
	"hash/fnv"
	"net"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/node/admission"
	"github.com/troupe-dev/troupe/actors/node/nodestatus"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"

	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Kind is the actor's kind in the inspection.
const Kind = "node"

// Deps are the parties that the actor talks to.
type Deps struct {
	// Client writes the node and its lease; nil means that there is no API server.
	Client kubernetes.Interface
	Runner *runner.Runner
	// Runtime receives runtimemsg.PodCIDR (nil: nobody).
	Runtime messages.Sink
	// Pods receives podsmsg.ToPod for pods that have to make room (nil: nobody).
	Pods messages.Sink
	// Ticks receive nodemsg.Tick every UpdateFrequency.
	Ticks []messages.Sink
	// Images lists what the runtime stores, for the status (nil: not told).
	Images cri.Images
	// Recorder records events about the node and about refused pods (nil: none); Ref is the node's object in them.
	Recorder record.EventRecorder
	Ref      *v1.ObjectReference
	// Machine is what the machine is made of, read once by the caller.
	Machine nodestatus.Machine
	// Gates are asked, in order, before a pod gets its place: node pressure, shutdown, device allocation. They must not
	// block. Adopted pods are not asked.
	Gates  []func(*v1.Pod) *admission.Refusal
	Logger klog.Logger
}

// Config of the actor.
type Config struct {
	NodeName string
	// Hostname is the node's own name or --hostname-override; NodeIPs are --node-ip.
	Hostname string
	NodeIPs  []net.IP
	// Register: create the node object (--register-node). Labels and Taints are given to a new one; Unschedulable
	// makes it refuse pods (--register-schedulable=false).
	Register      bool
	Labels        map[string]string
	Taints        []v1.Taint
	Unschedulable bool
	ProviderID    string
	// ExternalCloudProvider: a controller outside sets addresses and lifts the taint of an uninitialized node.
	ExternalCloudProvider bool
	// ControllerAttachDetach annotates the node so that volumes are attached by the controller.
	ControllerAttachDetach bool
	Status                 nodestatus.Config
	// MaxImages bounds the list of images in the status; negative for no bound.
	MaxImages int
	// UpdateFrequency is the tick (0: 10 s), ReportFrequency how often an unchanged status is written (0: 5 min),
	// LeaseDuration how long the lease lasts (0: 40 s).
	UpdateFrequency, ReportFrequency, LeaseDuration time.Duration
	// AllowedUnsafeSysctls are names and patterns.
	AllowedUnsafeSysctls []string
	// StateDir holds the records of promised and carried out resources; "" keeps none.
	StateDir string
	// Resize says which resizes are never possible here.
	Resize admission.ResizeRules
	// Features are what the node declares; Status has their names.
	Features admission.Features
}

// Actor is the actor's lasting part: places that were given survive a panic of the shell.
type Actor struct {
	deps    Deps
	config  Config
	sysctls admission.Sysctls

	ledger admission.Ledger
	promises
	runtime *nodemsg.RuntimeInfo
	// object is the newest node object of the API server, nil before it was seen. Only read.
	object     *v1.Node
	registered bool
	podCIDR    string
	facts      nodestatus.Facts
	making     *making
	held       []nodemsg.Admit // they wait for making
}

// New makes the actor; Producer is what spawn is given. Its errors are about Config.
func New(deps Deps, config Config) (*Actor, error) {
	if deps.Runtime == nil {
		deps.Runtime = messages.Nowhere
	}
	if deps.Pods == nil {
		deps.Pods = messages.Nowhere
	}
	orDefault(&config.UpdateFrequency, 10*time.Second)
	orDefault(&config.ReportFrequency, 5*time.Minute)
	orDefault(&config.LeaseDuration, 40*time.Second)
	if config.Hostname == "" {
		config.Hostname = config.NodeName
	}
	sysctls, err := admission.NewSysctls(deps.Machine.Kernel, config.AllowedUnsafeSysctls)
	if err != nil {
		return nil, err
	}
	a := &Actor{deps: deps, config: config, sysctls: sysctls}
	a.facts.Machine = deps.Machine
	a.restore(config.StateDir, deps.Logger)
	return a, nil
}

func orDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Producer makes an incarnation.
func (a *Actor) Producer(*spawn.Cell) spawn.Receiver { return &shell{Actor: a} }

// shell is one incarnation.
type shell struct {
	*Actor
	lease      lease
	report     report
	attempts   int // of registration that failed
	joining    bool
	resolving  bool
	resolvedAt time.Time
	// addressFault is the error that was last logged, "" when the addresses are known.
	addressFault string
	listing      bool
	images       uint64 // count of changes that the list in facts reflects
	listedAt     time.Time
	place        place
	saving       saving
}

// Messages of the shell to itself.
type (
	tick     struct{}
	register struct{}
	// impatient is the end of the wait for the addresses.
	impatient struct{}
)

// patience is how long registration waits for the node's addresses: a slow resolver must not keep the node from being
// ready. They follow with the next status.
const patience = 300 * time.Millisecond

// Started begins to register and to watch the node's own object.
func (s *shell) Started(c *spawn.Cell) {
	c.After(s.untilTick(time.Now()), tick{})
	s.resolve(c)
	if s.deps.Client == nil {
		return
	}
	c.After(patience, impatient{})
	go watch(c.Context(), s.deps.Client, s.config.NodeName, s.deps.Logger, c.Self())
	if s.deps.Recorder != nil && c.Incarnation() == 1 {
		s.deps.Recorder.Event(s.deps.Ref, v1.EventTypeNormal, "Starting", "Starting kubelet.")
		if s.deps.Machine.VolumesMaySwap() {
			s.deps.Recorder.Event(s.deps.Ref, v1.EventTypeWarning, "PossibleMemoryBackedVolumesOnDisk",
				"The tmpfs noswap option is not supported. Memory-backed volumes (e.g. secrets, emptyDirs, etc.) might be swapped to disk and should no longer be considered secure.")
		}
	}
}

// Receive takes nodemsg messages.
func (s *shell) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case nodemsg.Message:
		s.receive(c, m)
	case tick:
		s.tick(c)
	case register:
		s.register(c)
	case impatient:
		if s.attempts == 0 { // else an attempt was made, and has set the time of the next
			s.register(c)
		}
	case registration:
		s.registrationDone(c, m)
	case resolved:
		s.resolveDone(c, m)
	case listed:
		s.listDone(c, m)
	case leased:
		s.leaseDone(c, m)
	case renew:
		s.renew(c)
	case reported:
		s.reportDone(c, m)
	case again:
		s.report.retrying = false
		s.write(c)
	case fetched:
		s.admitFetched(c, m)
	case saveDue:
		if s.saving.due = false; !s.saving.busy && (s.dirtyAllocated || s.dirtyActuated) {
			s.persist(c)
		}
	case saved:
		s.saveDone(c, m)
	case rejoined:
		s.retry(c)
	}
}

func (s *shell) receive(c *spawn.Cell, msg nodemsg.Message) {
	switch m := msg.(type) {
	case nodemsg.Admit:
		s.admit(c, m)
	case nodemsg.Release:
		s.release(c, m.UID)
		s.left(c, m.UID)
	case nodemsg.Resize:
		s.resize(c, m)
	case nodemsg.Actuated:
		s.carried(c, m)
	case nodemsg.Sweep:
		s.sweep(c, m.Owned)
	case nodemsg.RuntimeState:
		first := s.runtime == nil || !s.runtime.Up
		s.runtime = &m.State
		s.facts.Runtime = s.runtime
		if first && m.State.Up {
			s.list(c)
		}
		s.write(c)
	case nodemsg.NodeSeen:
		s.seen(c, m.Node)
	case nodemsg.Pressure:
		s.facts.Pressure = nodestatus.Pressure{Memory: m.Memory, Disk: m.Disk, PID: m.PID}
		s.write(c)
	case nodemsg.NotReady:
		s.facts.NotReady = m.Reasons
		s.write(c)
	case nodemsg.PodCIDR:
		s.handCIDR(m.CIDR)
	case nodemsg.Tick:
	}
}

// tick is the one timer of the node: heartbeat, lease, slow checks, and the ticks of others.
func (s *shell) tick(c *spawn.Cell) {
	now := time.Now()
	c.After(s.untilTick(now), tick{})
	s.settleRoom(c, now)
	if s.deps.Client != nil && s.registered {
		s.renew(c)
		s.write(c)
	}
	if now.Sub(s.resolvedAt) >= time.Minute {
		s.resolve(c)
	}
	if s.runtime != nil && s.runtime.Up && (s.images != s.runtime.ImagesChanged || now.Sub(s.listedAt) >= s.config.ReportFrequency) {
		s.list(c)
	}
	if len(s.pending) > 0 && now.Sub(s.triedAt) >= resizeRetry {
		s.retry(c)
	}
	for _, sink := range s.deps.Ticks {
		sink.Tell(nodemsg.Tick{At: now})
	}
}

// untilTick aligns the ticks of a node to the clock, each node at a moment of its own: wake-ups of one machine fall
// together, heartbeats of many do not.
func (s *shell) untilTick(now time.Time) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(s.config.NodeName))
	period := s.config.UpdateFrequency
	phase := time.Duration(h.Sum64() % uint64(period))
	wait := period - (time.Duration(now.UnixNano())-phase)%period
	if wait > period {
		wait -= period
	}
	return wait
}
