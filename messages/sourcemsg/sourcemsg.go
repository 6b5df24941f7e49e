// Package sourcemsg is what sources tell about mirror pods: the API server's images of static pods. They are never run;
// whoever owns the pairing of static pods with their mirrors receives them.
package sourcemsg

import (
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Message is a message about mirror pods. The family is sealed.
type Message interface{ sourceMessage() }

type (
	// MirrorSeen is the newest object of a mirror pod.
	MirrorSeen struct{ Pod *v1.Pod }
	// MirrorGone says that the API server no longer has this mirror pod.
	MirrorGone struct {
		Namespace, Name string
		UID             model.UID
	}
)

func (MirrorSeen) sourceMessage() {}
func (MirrorGone) sourceMessage() {}
