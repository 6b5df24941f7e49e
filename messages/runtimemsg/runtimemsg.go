// Package runtimemsg is what the runtime actor receives.
package runtimemsg

// Message is a message to the runtime actor. The family is sealed.
type Message interface{ runtimeMessage() }

type (
	// Suspect says that a call failed in a way that makes an outage likely: check now.
	Suspect struct{ Err error }
	// Relist asks for a full list: events were lost, or the node's slow tick is due.
	Relist struct{ Why string }
	// PodCIDR is handed to the runtime (UpdateRuntimeConfig).
	PodCIDR struct{ CIDR string }
	// TellAgain says that an actor which listens to the runtime's state was rebuilt: it is told, and the runtime listed, again.
	TellAgain struct{}
	// End ends a runtime that is a child process, for good. Without one it means nothing.
	End struct{}
)

func (Suspect) runtimeMessage()   {}
func (Relist) runtimeMessage()    {}
func (PodCIDR) runtimeMessage()   {}
func (TellAgain) runtimeMessage() {}
func (End) runtimeMessage()       {}
