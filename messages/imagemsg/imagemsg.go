// Package imagemsg is what the image actor receives. Want and Drop may be repeated; the newest wins.
package imagemsg

import (
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
)

// Message is a message to the image actor. The family is sealed.
type Message interface{ imageMessage() }

type (
	// Want asks for the image of one container. Answered by containermsg.ImageReady or containermsg.ImageFailed; after
	// a failure the container asks again at RetryAt. Ahead marks a pull before the container's turn: it makes no event,
	// no status and no back-off.
	Want struct {
		Pod       *v1.Pod
		Container string
		// FieldPath names the container in events, e.g. spec.containers{web}.
		FieldPath string
		Image     string
		Policy    v1.PullPolicy
		Ahead     bool
		Reply     messages.Sink
	}
	// Drop takes back every Want of a pod; a pull that nobody else waits for is cancelled.
	Drop struct{ UID model.UID }
)

func (Want) imageMessage() {}
func (Drop) imageMessage() {}
