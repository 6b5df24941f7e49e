package model

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// ContainerKind says in which order a container of a pod runs.
type ContainerKind int

// The kinds, in start order.
const (
	KindInit ContainerKind = iota
	KindSidecar
	KindApp
	KindEphemeral
)

// ContainerStage is where a container's plan stands (docs/architecture.md, table of container states).
type ContainerStage int

// The container stages.
const (
	StageHeld ContainerStage = iota
	StageBackoff
	StagePulling
	StageCreating
	StageStarting
	StageUp
	StageStopping
	StageExited
	StageDoubt
	StageDone
)

var stageNames = [...]string{"Held", "Backoff", "Pulling", "Creating", "Starting", "Up", "Stopping", "Exited", "Doubt", "Done"}

// String returns the stage's name as the inspection shows it.
func (s ContainerStage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return "?"
}

// ContainerView is what a container tells its pod: all that the pod's plan and status need to know of it.
type ContainerView struct {
	Name  string
	Kind  ContainerKind
	Stage ContainerStage
	// WaitingReason and WaitingMessage are the API's reason while no instance runs ("" lets the status choose
	// between ContainerCreating and PodInitializing).
	WaitingReason  string
	WaitingMessage string
	// Current is the newest instance, running or ended; nil when there was none. Last is the newest ended one before it.
	Current      *Container
	Last         *Container
	RestartCount int32
	// Started: the startup probe has passed (or there is none and postStart ended). Ready: the readiness probe says so.
	Started bool
	Ready   bool
	// Settled: no instance will start again under this grant.
	Settled bool
	// RestartAll: an exit rule asked to restart all containers of the pod.
	RestartAll bool
	// RetryAt is when a back-off ends; zero when none runs.
	RetryAt time.Time
	// Blocker names in a few words what the container waits for, for explain.
	Blocker string
	LastErr string
	// Op is the call in flight and since when; "" when none.
	Op      string
	OpSince time.Time
	// Given is what the current instance was last given (limits are effective ones); nil when this actor has neither made
	// nor resized it. It is never changed. ResizeGen is the newest resize that has ended, ResizeErr why it failed.
	Given     *v1.ResourceRequirements
	ResizeGen uint64
	ResizeErr string
	// Seq is the number of the newest Grant, Revoke, Restart or Look of the pod that this view has taken into account: a
	// view with an older number than the pod has given was made before the container heard of it.
	Seq uint64
}

// Live says whether an instance may be running or about to run: the pod may not tear its sandbox down.
func (v ContainerView) Live() bool {
	switch v.Stage {
	case StageCreating, StageStarting, StageUp, StageStopping, StageDoubt:
		return true
	case StageHeld, StageBackoff, StagePulling, StageExited, StageDone:
		return false
	}
	return true
}

// OutcomeClass sorts the ends of a call by what may be concluded from them.
type OutcomeClass int

// The classes: Refused did nothing, NotFound has no object, Unknown may or may not have happened (deadline, lost
// connection) and must be looked at before it is tried again.
const (
	OutcomeOK OutcomeClass = iota
	OutcomeRefused
	OutcomeNotFound
	OutcomeUnknown
)

// String returns the class's name as the inspection shows it.
func (c OutcomeClass) String() string {
	return [...]string{"ok", "refused", "notFound", "unknown"}[c]
}

// VolumeMount is one volume of a pod as it stands on the node, ready to be mounted into containers.
type VolumeMount struct {
	// HostPath is the absolute path of the volume's root on the node; "" for an image volume, which the runtime mounts.
	HostPath string
	ReadOnly bool
	// SELinuxRelabel asks the runtime to relabel the files for the container.
	SELinuxRelabel bool
	// ImageRef is set for an image volume.
	ImageRef string
}
