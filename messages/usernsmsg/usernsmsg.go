// Package usernsmsg is what the /userns actor receives: it owns the ranges of user ids that pods with hostUsers: false get.
package usernsmsg

import (
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
)

// Message is a message to the /userns actor. The family is sealed.
type Message interface{ usernsMessage() }

type (
	// Want asks for the pod's range. It may be repeated; the pod keeps the range that it has. Answered by Have.
	Want struct {
		UID   model.UID
		Reply messages.Sink
	}
	// Drop gives the range back: nothing of the pod runs any more. It may be repeated.
	Drop struct{ UID model.UID }
	// Sweep names every pod that a plan owns: ranges of other UIDs are given back.
	Sweep struct{ Owned map[model.UID]struct{} }
)

func (Want) usernsMessage()  {}
func (Drop) usernsMessage()  {}
func (Sweep) usernsMessage() {}

// Have is the answer to Want: the range is the pod's and recorded on disk, or Err says why there is none.
type Have struct {
	Range model.IDRange
	Err   error
}
