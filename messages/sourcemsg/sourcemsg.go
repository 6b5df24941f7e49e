// Package sourcemsg is what the mirror actor receives: it owns the pairing of static pods with their mirrors, the API
// server's images of them, which are never run.
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
	// StaticRuns is the newest object of a static pod that has its turn. Ending says that its source has dropped it: its
	// mirror stays until it has ended, but is not made again.
	StaticRuns struct {
		Pod    *v1.Pod
		Ending bool
	}
	// StaticEnded says that nothing of a static pod is left on the node, and no other of its name takes its place.
	StaticEnded struct{ Pod *v1.Pod }
	// StaticsKnown says that every source of static pods has delivered: a mirror of none of them is a left-over.
	StaticsKnown struct{}
)

func (MirrorSeen) sourceMessage()   {}
func (MirrorGone) sourceMessage()   {}
func (StaticRuns) sourceMessage()   {}
func (StaticEnded) sourceMessage()  {}
func (StaticsKnown) sourceMessage() {}
