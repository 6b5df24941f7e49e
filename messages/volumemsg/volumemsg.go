// Package volumemsg is what the volume actor receives. Want and Drop may be repeated; the newest wins.
package volumemsg

import (
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
)

// Message is a message to the volume actor. The family is sealed.
type Message interface{ volumeMessage() }

type (
	// Want asks that every volume of the pod be mounted, filled and kept current (configMap, secret, token refresh).
	// Answered by podmsg.VolumesReady, or by podmsg.VolumesBlocked and then again.
	Want struct {
		Pod   *v1.Pod
		Reply messages.Sink
	}
	// Drop asks that nothing of the pod's volumes stays on the node, its directory included. Answered by
	// podmsg.VolumesGone.
	Drop struct {
		UID   model.UID
		Reply messages.Sink
	}
	// Sweep names every pod that a plan owns: volumes of other UIDs are orphans and are unmounted and removed.
	Sweep struct{ Owned map[model.UID]struct{} }
)

func (Want) volumeMessage()  {}
func (Drop) volumeMessage()  {}
func (Sweep) volumeMessage() {}
