// Package statusmsg is what the status actor receives.
package statusmsg

import (
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
)

// Message is a message to the status actor. The family is sealed.
type Message interface{ statusMessage() }

type (
	// Publish is the pod's newest status. Pod is the source's object that it was built for (its status is what the API
	// held then). Answered by podmsg.Acked with the same Gen once the API server holds it, or at once when there is no
	// API server. Newer ones replace older ones that were not yet sent.
	Publish struct {
		Pod    *v1.Pod
		Status v1.PodStatus
		Gen    uint64
		Reply  messages.Sink
	}
	// Seen is the object as the informer has it now.
	Seen struct{ Pod *v1.Pod }
	// Delete asks for the final delete (grace 0, UID precondition). It is tried until the object is gone.
	Delete struct{ Pod *v1.Pod }
	// Gone says that the API server no longer has the object (deleted, or replaced by another of its name).
	Gone struct{ UID model.UID }
	// Forget says that the pod has ended here and its object is gone: nothing is written for it again.
	Forget struct{ UID model.UID }
)

func (Publish) statusMessage() {}
func (Seen) statusMessage()    {}
func (Delete) statusMessage()  {}
func (Gone) statusMessage()    {}
func (Forget) statusMessage()  {}
