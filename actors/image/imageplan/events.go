package imageplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Event is something that happened. The family is sealed.
type Event interface{ imageEvent() }

type (
	// Want asks for a container's image. Err says that its name cannot be parsed; then only Requested is set in Name.
	Want struct {
		Key    Key
		Name   Name
		Err    string
		Policy v1.PullPolicy
		Ahead  bool
	}
	// Drop takes back all that a pod asked for.
	Drop struct{ UID model.UID }
	// Inspected ends an Inspect. Ref is "" when the image is not there.
	Inspected struct {
		Image string // Name.Full
		Ref   string
		Size  model.Bytes
		Err   string
	}
	// Authorized ends an Authorize.
	Authorized struct {
		Key Key
		Seq uint64
		OK  bool
		Err string
	}
	// Found ends a Lookup of credentials. Missing names pull secrets that could not be read.
	Found struct {
		Key         Key
		Seq         uint64
		Fingerprint string
		Missing     []string
		Err         string
	}
	// Pulled ends a Pull. Reason is set with Err: ErrImagePull, RegistryUnavailable or SignatureValidationFailed;
	// Message is what the API shows.
	Pulled struct {
		ID      uint64
		Ref     string
		Size    model.Bytes
		Took    time.Duration
		Err     string
		Reason  string
		Message string
	}
	// Removed says that an image was removed from the node.
	Removed struct{ Image string }
	// Tick is the timer.
	Tick struct{}
)

func (Want) imageEvent()       {}
func (Drop) imageEvent()       {}
func (Inspected) imageEvent()  {}
func (Authorized) imageEvent() {}
func (Found) imageEvent()      {}
func (Pulled) imageEvent()     {}
func (Removed) imageEvent()    {}
func (Tick) imageEvent()       {}

// Action is something to do. The family is sealed.
type Action interface{ imageAction() }

type (
	// Inspect looks whether an image is there; answered by Inspected.
	Inspect struct{ Image string }
	// Authorize asks whether the pod may use an image that is there; answered by Authorized.
	Authorize struct {
		Key  Key
		Seq  uint64
		Name Name
		Ref  string
	}
	// Lookup reads the pod's credentials for an image; answered by Found.
	Lookup struct {
		Key  Key
		Seq  uint64
		Name Name
	}
	// StartPull pulls with the credentials that were found for By; answered by Pulled.
	StartPull struct {
		ID   uint64
		Name Name
		By   Key
	}
	// CancelPull ends a pull that nobody waits for. Its Pulled, if it still comes, is ignored.
	CancelPull struct{ ID uint64 }
	// Ready and Failed answer a consumer.
	Ready struct {
		Key   Key
		Image string
		Ref   string
	}
	Failed struct {
		Key                    Key
		Image, Reason, Message string
		RetryAt                time.Time
	}
	// Emit records an event on the consumer's container.
	Emit struct {
		Key                   Key
		Type, Reason, Message string
	}
	// Forget says that the plan will not mention the consumer again until it asks anew.
	Forget struct{ Key Key }
	// SetTimer replaces the timer; zero stops it.
	SetTimer struct{ At time.Time }
)

func (Inspect) imageAction()    {}
func (Authorize) imageAction()  {}
func (Lookup) imageAction()     {}
func (StartPull) imageAction()  {}
func (CancelPull) imageAction() {}
func (Ready) imageAction()      {}
func (Failed) imageAction()     {}
func (Emit) imageAction()       {}
func (Forget) imageAction()     {}
func (SetTimer) imageAction()   {}
