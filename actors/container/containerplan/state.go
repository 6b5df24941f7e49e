// Package containerplan decides the life of one container of a pod: image, create, start, hooks, restart and back-off,
// stop. It is pure: time and gates come in with the event, effects go out as actions, and the same state always
// decides the same (docs/architecture.md, "Plans").
//
// Invariants, checked by the property tests:
//   - at most one call is in flight, except that a stop may be issued again with a shorter grace;
//   - no create and no start without a grant, nor after a revoke;
//   - at most one live instance: a create happens only when the newest instance has ended or there is none;
//   - an unknown outcome is looked at before anything else is tried (Doubt);
//   - the restart count only grows.
package containerplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// State is all that a container's plan knows. The zero value is no container; start from New or Rebuild.
type State struct {
	Name string
	Kind model.ContainerKind
	Pod  *v1.Pod
	Spec *v1.Container
	// Hash is the kubelet's hash of Spec (image and name); an instance with another one is replaced.
	Hash string

	Grant *containermsg.Grant
	// Revoke is set from the first Revoke until the next Grant.
	Revoke *containermsg.Revoke
	// Retired: no instance follows the current one, although it has not been told to stop yet.
	Retired bool
	Ahead   bool // the image may be pulled before the grant

	// Cur is the newest instance, Prev the newest ended one before it.
	Cur, Prev *model.Container
	// RestartCount is Cur's, or of the instance that was lost.
	RestartCount int32
	// NextCount is the restart count that the next instance gets; it is also its CRI attempt.
	NextCount int32
	// Older is an ended instance older than Prev: it goes once a newer one runs.
	Older model.ContainerID
	// NewRound: a new instance may start whatever the end of the last one said (new sandbox, all containers restart).
	NewRound bool

	Image ImageState
	// Curve is the node's crash-loop back-off; History is where this container stands on it.
	Curve   policy.Curve
	History policy.History
	// Waited is the back-off under way, for the message.
	Waited time.Duration
	// RestartAt is when the crash-loop back-off allows the next create; zero when it does at once.
	RestartAt time.Time
	Failure   Failure

	Op      containermsg.Op
	OpID    model.ContainerID
	OpSince time.Time
	Gen     model.Generation
	// OpSandbox and OpCount are what the create in flight was for.
	OpSandbox model.SandboxID
	OpCount   int32
	Cancelled bool // the call in flight was told to end
	// Doubt: a create or start ended with an unknown outcome; Dirty: something may have changed.
	// DoubtCreate tells a create from a start.
	Doubt, DoubtCreate, Dirty bool
	// Unseen: it is not known yet what the runtime has of this container (this actor was made anew).
	Unseen  bool
	DoubtAt time.Time // next look while in doubt
	// ReadAt is when the newest read began, HintAt when the newest hint happened that came during a call.
	ReadAt, HintAt time.Time
	DoubtTries     int

	// Of Cur:
	PostStarted bool
	PreStopped  bool
	Kill        *Kill
	StopBy      time.Time // when the stop in flight sends SIGKILL
	StopRetryAt time.Time
	StopTries   int
	StopTold    bool // the Killing event is out
	Started     bool
	Ready       bool
	// Probing: the probes of Cur are on. Winding: only readiness is, because the container is being stopped.
	Probing, Winding bool

	// Resize is what the pod asked for Cur and was not begun yet. Given is what Cur was last given, OpGiven what the create
	// or update in flight gives; OpResize is that update's number, ResizeGen and ResizeErr tell of the newest one that ended.
	Resize              *containermsg.Resize
	Given, OpGiven      *v1.ResourceRequirements
	OpResize, ResizeGen uint64
	ResizeErr           string

	// Judged is the ended instance whose end has been decided upon; Settled and RestartAll are the decision.
	Judged     model.ContainerID
	Settled    bool
	RestartAll bool

	// Seq is the number of the newest word of the pod; the view hands it back.
	Seq uint64

	LastErr string
	// Timer is the moment the shell was asked to send Tick; zero when none is needed.
	Timer time.Time
}

// ImageState is where the image of the next instance stands.
type ImageState struct {
	Asked      bool // a Want is out
	AskedAhead bool
	Ref        string // ready to create from
	For        string // the image that Ref or Reason is about
	Reason     string
	Message    string
	RetryAt    time.Time
}

// Failure is a create or start that the runtime or the spec refused; the next try is due at RetryAt.
type Failure struct {
	Reason, Message string
	Count           int
	RetryAt         time.Time
}

// Kill says why a live instance has to stop although the pod goes on.
type Kill struct {
	Reason  KillReason
	Message string
	// Grace is the probe's own grace period; nil for the spec's.
	Grace *int64
	By    time.Time // when the grace has run out; zero until the stop begins
}

// KillReason sorts the kills of one container.
type KillReason int

// The reasons for which one container is stopped while its pod goes on.
const (
	KillLiveness KillReason = iota
	KillStartup
	KillPostStart
	KillChanged
	KillUnknown
	KillResize
)

// New returns the state of a container that has never run.
func New(pod *v1.Pod, name string, curve policy.Curve) State {
	s := State{Name: name, Curve: curve, Seq: 1} // to be made is the first word of the pod
	s.setPod(pod)
	return s
}

// live says whether an instance may be running or about to.
func (s *State) live() bool {
	return s.Cur != nil && s.Cur.State != model.ContainerExited
}

// mayRun says whether the pod's permission stands.
func (s *State) mayRun() bool { return s.Grant != nil && s.Revoke == nil }

// grace is the container's own grace period in seconds, before deletion overrides.
func (s *State) grace() time.Duration {
	if s.Kill != nil && s.Kill.Grace != nil {
		return time.Duration(*s.Kill.Grace) * time.Second
	}
	if g := s.Pod.Spec.TerminationGracePeriodSeconds; g != nil {
		return time.Duration(*g) * time.Second
	}
	return minStopGrace
}
