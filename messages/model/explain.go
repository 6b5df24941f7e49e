package model

import "time"

// PodExplain is what a pod's actor knows about why the pod is where it is. The actor builds a new value when something
// changed and publishes it as its registry detail; readers never ask the actor. It is immutable once published.
//
// Texts are the runtime's, the API server's and the plan's own words. Nobody may put env values, secret data, tokens or
// credentials into them, because the inspection shows them as they are.
type PodExplain struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       UID    `json:"uid"`
	// Incarnation tells the lives of one UID apart.
	Incarnation Incarnation `json:"incarnation,omitempty"`
	// Stage is the pod plan's stage (Queued, Starting, Initializing, Running, Ending, Ended, Finished).
	Stage string `json:"stage"`
	// Since is when the stage was entered.
	Since time.Time `json:"since"`
	// Phase and Ready are what the newest status says, "" before the first one.
	Phase string `json:"phase,omitempty"`
	Ready bool   `json:"ready"`
	// Adopted says that the pod ran already when this agent first saw it.
	Adopted bool `json:"adopted,omitempty"`
	// Reason is why the pod was refused or is ending ("Evicted", "deletion was asked", …).
	Reason string `json:"reason,omitempty"`
	// Blockers are what the pod as a whole waits for now, most important first. Empty when only its containers do.
	Blockers []Blocker `json:"blockers,omitempty"`
	// InFlight are the pod's own calls that have not answered yet (RunPodSandbox, StopPodSandbox, …).
	InFlight []CallView `json:"inFlight,omitempty"`
	// Sandbox is the newest sandbox, and Attempt its number from 0.
	Sandbox SandboxID `json:"sandbox,omitempty"`
	Attempt uint32    `json:"attempt"`
	IPs     []string  `json:"ips,omitempty"`
	// Failures counts consecutive failures of what the pod is doing now; RetryAt is when it is tried again (zero when
	// no retry is planned). LastError and LastClass belong to the newest failure and stay until something succeeds.
	Failures  int       `json:"failures,omitempty"`
	RetryAt   time.Time `json:"retryAt,omitzero"`
	LastError string    `json:"lastError,omitempty"`
	LastClass string    `json:"lastClass,omitempty"`
	// DeletionAsked is when deletion was asked for, Deadline when the grace period has run out; zero when neither.
	DeletionAsked time.Time `json:"deletionAsked,omitzero"`
	Deadline      time.Time `json:"deadline,omitzero"`
	// Containers are in the order of the spec: init containers first.
	Containers []ContainerExplain `json:"containers,omitempty"`
	// Timeline is what happened, oldest first, bounded by the writer (the first few steps and the newest ones).
	Timeline []TimelineStep `json:"timeline,omitempty"`
}

// Blocker is one thing that something waits for.
type Blocker struct {
	// Kind sorts blockers for readers and for the advice that explain gives; unknown kinds are shown as they are.
	Kind BlockerKind `json:"kind"`
	// What continues "is waiting for …" or "waits for …": "volume data (secret default/tls not found)".
	What  string    `json:"what"`
	Since time.Time `json:"since,omitzero"`
}

// BlockerKind sorts what a pod can wait for.
type BlockerKind string

// The kinds of blockers.
const (
	BlockedByRuntime     BlockerKind = "runtime"     // the runtime does not answer or is not ready
	BlockedByNetwork     BlockerKind = "network"     // the runtime's network is not ready
	BlockedBySources     BlockerKind = "sources"     // not every pod source has delivered once
	BlockedByPredecessor BlockerKind = "predecessor" // an earlier incarnation has not ended
	BlockedByAdmission   BlockerKind = "admission"   // the node actor has not answered yet
	BlockedByCgroup      BlockerKind = "cgroup"
	BlockedByVolumes     BlockerKind = "volumes"
	BlockedBySandbox     BlockerKind = "sandbox"
	BlockedByImage       BlockerKind = "image"
	BlockedByContainers  BlockerKind = "containers" // containers have not stopped, or earlier ones not ended
	BlockedByStatus      BlockerKind = "status"     // the API server has not taken the last status or the delete
	BlockedByQuarantine  BlockerKind = "quarantine" // the actor panicked repeatedly
)

// CallView is one call that has not answered yet.
type CallView struct {
	Op    string    `json:"op"`
	ID    string    `json:"id,omitempty"`
	Since time.Time `json:"since"`
	// Overdue says that the call has outlived its deadline without an answer.
	Overdue bool `json:"overdue,omitempty"`
}

// ContainerExplain is one container as explain shows it.
type ContainerExplain struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"` // init, sidecar, app, ephemeral
	Stage string `json:"stage"`
	// Since is when the stage was entered; zero when the pod does not know.
	Since time.Time `json:"since,omitzero"`
	Image string    `json:"image,omitempty"`
	// Reason and Message are what the API shows while the container waits.
	Reason   string      `json:"reason,omitempty"`
	Message  string      `json:"message,omitempty"`
	ID       ContainerID `json:"id,omitempty"`
	Started  bool        `json:"started"`
	Ready    bool        `json:"ready"`
	Restarts int32       `json:"restarts"`
	// Blocker says in a few words what it waits for.
	Blocker string    `json:"blocker,omitempty"`
	RetryAt time.Time `json:"retryAt,omitzero"`
	// Failures counts consecutive failures of what it does now (pulls, creates); 0 when not counted.
	Failures  int        `json:"failures,omitempty"`
	LastError string     `json:"lastError,omitempty"`
	InFlight  []CallView `json:"inFlight,omitempty"`
	// ExitCode, ExitReason and ExitedAt belong to the newest ended instance; ExitCode is nil when there is none.
	ExitCode   *int32    `json:"exitCode,omitempty"`
	ExitReason string    `json:"exitReason,omitempty"`
	ExitedAt   time.Time `json:"exitedAt,omitzero"`
}

// TimelineStep is one thing that happened to a pod.
type TimelineStep struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
	// Took is how long it took, 0 for an instant.
	Took time.Duration `json:"tookNanoseconds,omitempty"`
	// Err is set when it failed.
	Err string `json:"error,omitempty"`
}

// String returns the kind as the inspection shows it.
func (k ContainerKind) String() string {
	switch k {
	case KindInit:
		return "init"
	case KindSidecar:
		return "sidecar"
	case KindApp:
		return "app"
	case KindEphemeral:
		return "ephemeral"
	}
	return "?"
}

// ExplainContainer turns a container's view into what explain shows of it. Image is the one that the spec names.
func ExplainContainer(v ContainerView, image string) ContainerExplain {
	e := ContainerExplain{
		Name: v.Name, Kind: v.Kind.String(), Stage: v.Stage.String(), Image: image,
		Reason: v.WaitingReason, Message: v.WaitingMessage,
		Started: v.Started, Ready: v.Ready, Restarts: v.RestartCount,
		Blocker: v.Blocker, RetryAt: v.RetryAt, LastError: v.LastErr,
	}
	if v.Op != "" {
		e.InFlight = []CallView{{Op: v.Op, Since: v.OpSince}}
	}
	ended := v.Last
	if c := v.Current; c != nil {
		e.ID = c.ID
		if c.State == ContainerExited {
			ended = c
		}
	}
	if ended != nil && ended.Detailed && ended.State == ContainerExited {
		code := ended.ExitCode
		e.ExitCode, e.ExitReason, e.ExitedAt = &code, ended.Reason, ended.FinishedAt
	}
	return e
}
