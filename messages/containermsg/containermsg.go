// Package containermsg is what a container actor receives: a sealed family, folded by containerplan.
package containermsg

import (
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Event is a message to a container actor. The family is sealed.
type Event interface{ containerEvent() }

type (
	// Desired is the pod's newest object; the container finds itself in it by name.
	Desired struct{ Pod *v1.Pod }
	// Grant is the pod's permission to run in this sandbox. It stands until Revoke or a newer Grant.
	Grant struct {
		Sandbox       model.SandboxID
		SandboxConfig *runtimeapi.PodSandboxConfig
		// Handler is the runtime handler of the sandbox, "" for the default one.
		Handler string
		IPs     []string
		Mounts  map[string]model.VolumeMount
		// Target is the instance whose PID namespace an ephemeral container joins; "" for none.
		Target model.ContainerID
		// Seq numbers what the pod tells this container (see model.ContainerView.Seq).
		Seq uint64
	}
	// Revoke takes the permission back: stop, and do not start again. Grace only ever shrinks; Deadline is the moment
	// at which the grace has run out. After names containers that must have ended first (sidecar order).
	Revoke struct {
		Reason   string
		Message  string
		Grace    time.Duration
		Deadline time.Time
		Seq      uint64
	}
	// Restart forgets the past of this container for a new round (new sandbox, RestartAllContainers).
	Restart struct{ Seq uint64 }
	// Retire says that the pod ends: no new instance, and none is stopped for its probes; Revoke follows when it is this
	// container's turn to stop (sidecars are last).
	Retire struct{ Seq uint64 }
	// Resize asks that the instance ID have these resources (limits are effective ones), in place or by a restart. The
	// view tells the end of it: ResizeGen becomes Gen. One for another instance than the current one means nothing.
	Resize struct {
		Gen       uint64
		ID        model.ContainerID
		Resources *v1.ResourceRequirements
		Restart   bool
	}
	// Prefetch asks for the image ahead of the container's turn; nothing of it shows.
	Prefetch struct{}
	// ImageReady says that the image is present. Ref is what CreateContainer is given.
	ImageReady struct{ Image, Ref string }
	// ImageFailed says that the image could not be had; Reason is ErrImagePull, ImagePullBackOff, ErrImageNeverPull,
	// InvalidImageName, ImageInspectError, RegistryUnavailable or SignatureValidationFailed. RetryAt is when to ask again.
	ImageFailed struct {
		Image, Reason, Message string
		RetryAt                time.Time
	}
	// ImageLost says that the image actor was rebuilt after a panic and has forgotten what it was asked.
	ImageLost struct{}
	// Look is the truth of one moment: the instances of this container that the runtime has, newest first, each read by
	// id where it matters. Nil Instances means that there is none.
	Look struct {
		Instances []model.Container
		At        time.Time
		Seq       uint64 // 0 when the container looked by itself
	}
	// Dirty is a hint: look at this container. At is when it happened; a read that began later has seen it.
	Dirty struct{ At time.Time }
	// ProbeResult is the debounced result of a probe: a threshold was crossed.
	ProbeResult struct {
		Kind      ProbeKind
		Container model.ContainerID
		OK        bool
		Message   string
	}
	// Done is the result of an effect that the container started.
	Done struct {
		Gen     model.Generation
		Op      Op
		ID      model.ContainerID
		Class   model.OutcomeClass
		Err     error
		Reason  string // API reason of a failure (CreateContainerConfigError, …)
		Message string
		Status  *model.Container // for OpStatus and OpStart
		ReadAt  time.Time        // when the read that Status comes from began
		Attempt *uint32          // for OpCreate: the number that the instance got, when it is not the wanted one
	}
	// Tick is a timer that the plan asked for.
	Tick struct{}
)

// ProbeKind is one of the three probes.
type ProbeKind int

// The probes of a container.
const (
	Liveness ProbeKind = iota
	Readiness
	Startup
)

// Op names an effect of the container.
type Op int

// The effects of a container.
const (
	OpNone Op = iota
	OpCreate
	OpStart
	OpPostStart
	OpPreStop
	OpStop
	OpStatus
	OpRemove
	OpResize
)

// String returns the name of the call as the inspection shows it.
func (o Op) String() string {
	return [...]string{"", "CreateContainer", "StartContainer", "postStart", "preStop", "StopContainer", "ContainerStatus", "RemoveContainer", "UpdateContainerResources"}[o]
}

func (Desired) containerEvent()     {}
func (Grant) containerEvent()       {}
func (Revoke) containerEvent()      {}
func (Restart) containerEvent()     {}
func (Retire) containerEvent()      {}
func (Resize) containerEvent()      {}
func (Prefetch) containerEvent()    {}
func (ImageReady) containerEvent()  {}
func (ImageFailed) containerEvent() {}
func (ImageLost) containerEvent()   {}
func (Look) containerEvent()        {}
func (Dirty) containerEvent()       {}
func (ProbeResult) containerEvent() {}
func (Done) containerEvent()        {}
func (Tick) containerEvent()        {}
