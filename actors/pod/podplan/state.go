// Package podplan decides the life of one pod: admission, cgroup, volumes, sandbox, the order of its containers, its
// end. It is pure: time and gates come in with the event, effects go out as actions. Next folds the event into the
// state and then decides from the whole state, minus what is in flight; so order and repetition of events do not
// matter, and Rebuild only fills the state (docs/architecture.md, "Plans").
//
// Invariants, checked by the property tests:
//   - nothing starts before admission, nor after the ending began;
//   - at most one sandbox is being made, and none while another one is ready;
//   - StopPodSandbox only when no container may run (it kills without grace);
//   - the ending never turns back, and its grace only shrinks;
//   - the final delete goes out only when nothing of the pod is left on the node and the API holds the final status.
package podplan

import (
	"iter"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/resizeplan"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// Stage is where a pod stands; see the table of pod stages in docs/architecture.md.
type Stage int

// The stages of a pod.
const (
	Queued Stage = iota
	Starting
	Initializing
	Running
	Ending
	Ended
	Finished
)

var stageNames = [...]string{"Queued", "Starting", "Initializing", "Running", "Ending", "Ended", "Finished"}

// String returns the stage's name as the inspection shows it.
func (s Stage) String() string { return stageNames[s] }

// Grip is how far something that another actor owns has been asked for or given back.
type Grip int

// The grips: None → Asked → Held → Dropping → Gone.
const (
	None Grip = iota
	Asked
	Held
	Dropping
	Gone
)

// Admission is the node's answer.
type Admission int

// The answers.
const (
	NotAsked Admission = iota
	AdmissionAsked
	AdmissionGranted
	AdmissionRefused
)

// EndReason says why a pod ends.
type EndReason int

// The reasons, in order of precedence of what the API shows.
const (
	EndDeleted   EndReason = iota // deletion was asked, or the source dropped it
	EndTerminal                   // the API says that it is terminal already
	EndRefused                    // admission said no
	EndCompleted                  // all containers have ended for good, or an init container failed for good
	EndNode                       // the node ends it: deadline, eviction, preemption
)

// End is the ending of a pod.
type End struct {
	Why             EndReason
	Reason, Message string // for the status, when the node ends the pod
	Condition       *v1.PodCondition
	Since           time.Time
	Deadline        time.Time // when the grace has run out
	Grace           time.Duration
	// Looked: after the sandboxes were stopped, a look found nothing running (needed when an outcome was unknown).
	Looked bool
	// Forced: the grace is long over and a container has still not been seen to end, so the sandboxes were stopped under it.
	Forced bool
	// Retired: the sidecars know that the pod ends and that they are not started again.
	Retired bool
	// Over: the containers and sandboxes were seen to have ended; from here on only what is left is taken away.
	Over bool
}

// Round starts the containers again in place: with a new sandbox when the old one died, else in the same one.
type Round struct {
	NewSandbox bool
	Deadline   time.Time
}

// Failure is a refused sandbox call; the next try is due at RetryAt.
type Failure struct {
	Count   int
	Err     string
	RetryAt time.Time
}

// State is all that a pod's plan knows.
type State struct {
	Pod *v1.Pod
	// Run is Pod with the resources that the node has promised, Shown the one that the containers know. Resize is what lies
	// between promise and spec.
	Run, Shown *v1.Pod
	Resize     resizeplan.State
	// Static: the pod comes from a file, a URL or is embedded; no API object decides its end.
	Static bool
	// Orphan: no source knows it, only the runtime.
	Orphan bool
	Gone   bool // the source no longer has it
	Gate   podmsg.Gate
	Listed bool // the runtime's view of this pod is known

	Admission Admission
	Adopted   bool
	StartTime time.Time

	Cgroup       Grip
	CgroupParent string
	CgroupErr    string
	// CgroupSeq numbers the Wants, CgroupSeen is the newest that was answered; CgroupOf is what the newest asked for.
	CgroupSeq, CgroupSeen uint64
	CgroupOf              cgroupOf
	// CgroupHas is what the cgroup was made from; no pod before it was.
	CgroupHas, cgroupWanted CgroupValues
	// promised: what the containers know is no more than what was promised.
	promised   bool
	Volumes    Grip
	Mounts     map[string]model.VolumeMount
	VolumesErr string
	// WantedPod is the object that cgroup and volumes were last asked for.
	WantedPod *v1.Pod
	Placed    bool // the ledger holds our place

	Sandbox *model.Sandbox
	Old     []model.Sandbox // earlier sandboxes that the runtime still has
	Stopped map[model.SandboxID]bool
	Attempt uint32 // of the next sandbox
	Failure Failure

	Op      podmsg.Op
	OpID    model.SandboxID
	OpSince time.Time
	Gen     model.Generation
	// Doubt: a sandbox call ended with an unknown outcome; nothing is tried before a look.
	Doubt      bool
	DoubtAt    time.Time
	DoubtTries int
	DoubtEver  bool
	Cancelled  bool
	ReadAt     time.Time
	Dirty      bool // the sandbox may have changed

	Views map[string]model.ContainerView
	// Told numbers what each container was told last, Floor what it must have heard before its view counts at all.
	Told, Floor map[string]uint64
	Granted     map[string]model.SandboxID
	Targets     map[string]model.ContainerID // told with the newest Grant of an ephemeral container
	Revoked     map[string]time.Time         // deadline told with the newest Revoke
	Round       *Round
	// Past are the instances of earlier rounds: that they ran says nothing about this one.
	Past map[string]model.ContainerID
	// Unseen are containers whose actors were rebuilt and have not been shown yet what runs; they get no grant before.
	Unseen map[string]bool
	// Prefetched and NetworkTold: said once.
	Prefetched, NetworkTold bool

	End       *End
	Removed   map[model.SandboxID]bool
	DirsGone  bool
	Deleted   bool // the final delete is out
	PubGen    uint64
	AckedGen  uint64
	Done      bool // Finish is out
	LastErr   string
	LastClass model.OutcomeClass

	Timer time.Time
}

// StageOf computes the stage from the state.
func StageOf(s *State) Stage {
	switch {
	case s.End != nil && s.clean():
		if s.cleanAll() && s.acked() {
			return Finished
		}
		return Ended
	case s.End != nil && s.quiet():
		return Ended
	case s.End != nil:
		return Ending
	case s.Admission != AdmissionGranted:
		return Queued
	case !s.sandboxReady() || s.Volumes != Held || s.Round != nil:
		return Starting
	case !s.initialized():
		return Initializing
	}
	return Running
}

// deleting says whether the pod's end is final: deletion was asked for or the source dropped it.
func (s *State) deleting() bool { return s.Gone || s.Pod.DeletionTimestamp != nil }

func (s *State) sandboxReady() bool {
	return s.Sandbox != nil && s.Sandbox.State == model.SandboxReady && s.Sandbox.Detailed && !s.Stopped[s.Sandbox.ID]
}

// live says whether any container may be running or about to.
func (s *State) live() bool {
	for name := range s.Views {
		if s.liveOne(name) {
			return true
		}
	}
	return false
}

// liveOne says whether this container may be running or about to: also when its view is older than what it was told.
func (s *State) liveOne(name string) bool {
	v := s.Views[name]
	return v.Live() || v.Seq < s.Told[name] || s.Unseen[name]
}

// unread: a container has ended and how is not known yet. The last status has to wait for it.
func (s *State) unread() bool {
	for _, v := range s.Views {
		if v.Current != nil && v.Current.State == model.ContainerExited && !v.Current.Detailed {
			return true
		}
	}
	return false
}

// met: every container has said what it was found to be. Before that, their order cannot be judged.
func (s *State) met() bool {
	for _, v := range s.Views {
		if v.Seq == 0 {
			return false
		}
	}
	return true
}

// sandboxes are all that the runtime still has of this pod, newest first. They are the state's own, to be read only.
func (s *State) sandboxes() iter.Seq[*model.Sandbox] {
	return func(yield func(*model.Sandbox) bool) {
		if s.Sandbox != nil && !yield(s.Sandbox) {
			return
		}
		for i := range s.Old {
			if !yield(&s.Old[i]) {
				return
			}
		}
	}
}

// quiet: nothing of the pod runs any more and every sandbox was stopped.
func (s *State) quiet() bool {
	if s.End.Over {
		return true
	}
	if s.Doubt || s.Op == podmsg.OpRunSandbox || ((s.live() || s.unread()) && !(s.End.Forced && s.End.Looked)) {
		return false
	}
	for b := range s.sandboxes() {
		if !s.Stopped[b.ID] && !s.Removed[b.ID] {
			return false
		}
	}
	return !(s.DoubtEver || s.End.Forced) || s.End.Looked
}

// clean: quiet, and nothing is left that other actors hold for the pod.
func (s *State) clean() bool {
	return s.quiet() && s.Volumes == Gone && s.Cgroup == Gone
}

// cleanAll: clean, and the sandboxes, containers and logs are gone too, if the pod is being deleted.
func (s *State) cleanAll() bool {
	if !s.clean() || !s.deleting() {
		return false
	}
	for b := range s.sandboxes() {
		if !s.Removed[b.ID] {
			return false
		}
	}
	return s.DirsGone
}

// acked: the API holds what we last said. A static pod that was withdrawn does not wait for that: it may be the API server
// itself that ends, and its next version that waits for its place.
func (s *State) acked() bool {
	return s.Static && s.Gone || s.PubGen > 0 && s.AckedGen >= s.PubGen
}

// terminalInAPI says whether the API's phase cannot change any more.
func (s *State) terminalInAPI() bool {
	return s.Pod.Status.Phase == v1.PodSucceeded || s.Pod.Status.Phase == v1.PodFailed
}
