// Package reclaimmsg is what the actors that tidy up (containers, images) receive from whoever finds that the node runs
// out of room.
package reclaimmsg

import (
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
)

// Message is a message to an actor that tidies up. The family is sealed.
type Message interface{ reclaimMessage() }

type (
	// Now asks to remove at once everything that nobody uses, whatever its age. Answered by Done.
	Now struct{ Reply messages.Sink }
	// Done says that it was tried. Freed is what is known to be free again; 0 when that is not counted.
	Done struct {
		Freed model.Bytes
		Err   error
	}
)

func (Now) reclaimMessage()  {}
func (Done) reclaimMessage() {}
