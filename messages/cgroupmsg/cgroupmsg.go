// Package cgroupmsg is what the cgroup actor receives. Want and Drop may be repeated; the newest wins.
package cgroupmsg

import (
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
)

// Message is a message to the cgroup actor. The family is sealed.
type Message interface{ cgroupMessage() }

type (
	// Want asks that the pod's cgroup exists with the limits of this spec. Answered by podmsg.CgroupReady, or by
	// podmsg.CgroupFailed and then again.
	// AtLeast, when not nil, is the same pod with other resources that its containers still have: no value may be below
	// what that one would get. Seq comes back with the answer.
	Want struct {
		Pod     *v1.Pod
		AtLeast *v1.Pod
		Seq     uint64
		Reply   messages.Sink
	}
	// Drop asks that the pod's cgroup be gone, with what still runs in it. Answered by podmsg.CgroupGone.
	Drop struct {
		UID   model.UID
		Reply messages.Sink
	}
	// Sweep names every pod that a plan owns: pod cgroups of other UIDs are killed and removed.
	Sweep struct{ Owned map[model.UID]struct{} }
)

func (Want) cgroupMessage()  {}
func (Drop) cgroupMessage()  {}
func (Sweep) cgroupMessage() {}
