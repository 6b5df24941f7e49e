package containerplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

// Action is what the shell has to do. The family is sealed. Actions with a Gen are answered by containermsg.Done with
// the same Gen, exactly once.
type Action interface{ containerAction() }

type (
	// EnsureImage asks the image actor for Spec's image.
	EnsureImage struct{ Ahead bool }
	// Create makes the container's config and creates the instance.
	Create struct {
		Gen     model.Generation
		Attempt uint32
		Image   string // reference that the image actor answered
		Grant   containermsg.Grant
	}
	// Start starts the created instance.
	Start struct {
		Gen model.Generation
		ID  model.ContainerID
	}
	// PostStart runs the postStart hook.
	PostStart struct {
		Gen model.Generation
		ID  model.ContainerID
	}
	// PreStop runs the preStop hook for at most Grace.
	PreStop struct {
		Gen   model.Generation
		ID    model.ContainerID
		Grace time.Duration
	}
	// Stop asks the runtime to stop the instance; Grace is what is left of it.
	Stop struct {
		Gen   model.Generation
		ID    model.ContainerID
		Grace time.Duration
	}
	// ReadStatus reads one instance by id.
	ReadStatus struct {
		Gen model.Generation
		ID  model.ContainerID
	}
	// Update gives a running instance other resources and reads it; answered by Done{OpResize}.
	Update struct {
		Gen       model.Generation
		ID        model.ContainerID
		Resources *v1.ResourceRequirements
	}
	// Find lists the instances of this container (by pod UID and name) and reads the newest ones; answered by
	// containermsg.Look, or by Done{OpStatus} when the list failed.
	Find struct{ Gen model.Generation }
	// Remove removes an ended or never started instance; answered by Done only when Gen is set.
	Remove struct {
		Gen model.Generation
		ID  model.ContainerID
	}
	// Cancel ends the context of the call in flight.
	Cancel struct{ Gen model.Generation }
	// StartProbes and StopProbes switch the probes of an instance.
	StartProbes struct{ ID model.ContainerID }
	// StopProbes ends the probes; Readiness ones go on while the container is being stopped when KeepReadiness is set.
	StopProbes struct{ KeepReadiness bool }
	// SetTimer asks for a Tick at that moment instead of any earlier request; zero cancels it.
	SetTimer struct{ At time.Time }
	// Event records an API event about this container.
	Event struct {
		Warning         bool
		Reason, Message string
	}
)

func (EnsureImage) containerAction() {}
func (Create) containerAction()      {}
func (Start) containerAction()       {}
func (PostStart) containerAction()   {}
func (PreStop) containerAction()     {}
func (Stop) containerAction()        {}
func (ReadStatus) containerAction()  {}
func (Update) containerAction()      {}
func (Find) containerAction()        {}
func (Remove) containerAction()      {}
func (Cancel) containerAction()      {}
func (StartProbes) containerAction() {}
func (StopProbes) containerAction()  {}
func (SetTimer) containerAction()    {}
func (Event) containerAction()       {}
