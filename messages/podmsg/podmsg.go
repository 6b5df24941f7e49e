// Package podmsg is what a pod actor receives: a sealed family, folded by podplan.
package podmsg

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Event is a message to a pod actor. The family is sealed.
type Event interface{ podEvent() }

type (
	// Desired is the newest object of the pod as its source gives it (spec, metadata, and the API's status).
	Desired struct{ Pod *v1.Pod }
	// StatusSeen is a change of nothing but the status or of metadata that others wrote (readiness gates).
	StatusSeen struct{ Pod *v1.Pod }
	// SourceGone says that the source no longer has the object: force deletion, or the end after our own delete.
	SourceGone struct{}
	// Gate opens or closes node-wide conditions that a start needs. Listed: the runtime was listed in this epoch.
	Gate struct{ RuntimeReady, NetworkReady, SourcesReady, Listed bool }
	// Admitted is the node actor's yes. Allocated is what the pod was promised, which is not what its spec asks when a
	// resize was pending while the agent restarted; Actuated is what its containers were last given, nil for a pod that
	// has none. Nil Allocated means what the spec asks.
	Admitted struct{ Allocated, Actuated *model.Allocation }
	// Resized is the node actor's yes to a resize: Allocated is promised now. Generation is the object's that asked.
	Resized struct {
		Allocated  *model.Allocation
		Generation int64
	}
	// ResizePending is its no: Reason is Deferred (it is tried again when there is room) or Infeasible.
	ResizePending struct {
		Reason, Message string
		Generation      int64
	}
	// MemoryUsage answers a look at what the pod and its containers use, in bytes; a container whose cgroup is gone is
	// missing. Gen is the question's.
	MemoryUsage struct {
		Gen        uint64
		Pod        model.Bytes
		Containers map[model.ContainerID]model.Bytes
		Err        error
	}
	// Refused is the node actor's no: the pod becomes Failed with this reason and message.
	Refused struct{ Reason, Message string }
	// CgroupReady says that the pod's cgroup exists with the limits of its newest Want. Parent is the cgroup parent
	// for CRI: a path for cgroupfs, a slice name for systemd.
	// Seq is the Want's; 0 from one that was not numbered.
	CgroupReady struct {
		Parent string
		Seq    uint64
	}
	// CgroupFailed says why the cgroup could not be made or removed; the cgroup actor tries again by itself.
	CgroupFailed struct{ Err error }
	// CgroupGone says that the cgroup and all processes in it are gone.
	CgroupGone struct{}
	// VolumesReady says that every volume of the newest Want is mounted and filled. Mounts is by volume name.
	VolumesReady struct{ Mounts map[string]model.VolumeMount }
	// VolumesBlocked names what the volumes wait for; the volume actor tries again by itself. Reason is the event
	// reason (FailedMount, …).
	VolumesBlocked struct{ Reason, Message string }
	// VolumesGone says that nothing of the pod's volumes is left on the node.
	VolumesGone struct{}
	// Dirty is a hint: look at this pod. At is when it happened by the runtime's clock; a read that began later has seen
	// it. Zero means now.
	Dirty struct {
		Container model.ContainerID
		At        time.Time
	}
	// Look is the truth of one moment: everything the runtime has of this pod. Full tells a list-wide look (all
	// containers present) from a targeted read.
	Look struct {
		Observed model.PodObserved
		Epoch    uint64
		At       time.Time
	}
	// Child is a container's new view.
	Child struct{ View model.ContainerView }
	// ChildRestarted says that a container's actor was rebuilt from nothing after a panic.
	ChildRestarted struct{ Name string }
	// OwnerRestarted says that an actor that pods ask for things (cgroups, volumes, images, the node) was rebuilt from
	// nothing after a panic: what was asked of it is asked again.
	OwnerRestarted struct{}
	// End asks to end the pod for a node-level reason (eviction, deadline, preemption). Grace in seconds, nil for the
	// spec's.
	End struct {
		Reason, Message string
		Grace           *int64
		Condition       *v1.PodCondition // e.g. DisruptionTarget; nil for none
	}
	// Acked says that the API server holds the status published with this generation.
	Acked struct{ Gen uint64 }
	// Done is the result of an effect that the pod started.
	Done struct {
		Gen     model.Generation
		Op      Op
		Class   model.OutcomeClass
		Err     error
		Sandbox model.Sandbox // for OpRunSandbox, OpSandboxStatus
		Look    *Look         // for OpLook
		// ReadAt is when the read that Sandbox comes from began.
		ReadAt time.Time
		// NetworkNotReady marks a refusal that the runtime's missing network caused.
		NetworkNotReady bool
	}
	// Tick is a timer that the plan asked for.
	Tick struct{}
)

// Op names an effect of the pod.
type Op int

// The effects of a pod.
const (
	OpNone Op = iota
	OpRunSandbox
	OpSandboxStatus
	OpStopSandbox
	OpRemoveSandbox
	OpRemoveContainer
	OpLook
	OpRemoveDirs
)

// String returns the name of the call as the inspection shows it.
func (o Op) String() string {
	return [...]string{"", "RunPodSandbox", "PodSandboxStatus", "StopPodSandbox", "RemovePodSandbox", "RemoveContainer", "look", "remove directories"}[o]
}

func (Desired) podEvent()        {}
func (StatusSeen) podEvent()     {}
func (SourceGone) podEvent()     {}
func (Gate) podEvent()           {}
func (Admitted) podEvent()       {}
func (Resized) podEvent()        {}
func (ResizePending) podEvent()  {}
func (MemoryUsage) podEvent()    {}
func (Refused) podEvent()        {}
func (CgroupReady) podEvent()    {}
func (CgroupFailed) podEvent()   {}
func (CgroupGone) podEvent()     {}
func (VolumesReady) podEvent()   {}
func (VolumesBlocked) podEvent() {}
func (VolumesGone) podEvent()    {}
func (Dirty) podEvent()          {}
func (Look) podEvent()           {}
func (Child) podEvent()          {}
func (End) podEvent()            {}
func (OwnerRestarted) podEvent() {}
func (ChildRestarted) podEvent() {}
func (Acked) podEvent()          {}
func (Done) podEvent()           {}
func (Tick) podEvent()           {}
