package runtimeplan

import (
	"time"

	"github.com/troupe-dev/troupe/messages/nodemsg"
)

// Event is an input of Next. The family is sealed.
type Event interface{ runtimeEvent() }

type (
	// Started begins (or, after the actor was rebuilt, begins again).
	Started struct{}
	// Tick is the wake-up that a Wake asked for, or any other.
	Tick struct{}
	// Checked is the end of a Check.
	Checked struct {
		Err                         string // "" for success
		Name, Version, CgroupDriver string
	}
	// StatusRead is the end of a ReadStatus. Lost says that the error makes an outage likely.
	StatusRead struct {
		Err                        string
		Lost                       bool
		RuntimeReady, NetworkReady bool
		Reason                     string
		Info                       nodemsg.RuntimeInfo // Handlers and SupplementalGroupsPolicy are used
	}
	// StreamUp says that the stream of this generation stands.
	StreamUp struct{ Gen uint64 }
	// StreamEnded says that it ended. Absent: the runtime has no events.
	StreamEnded struct {
		Gen    uint64
		Err    string
		Absent bool
	}
	// Listed is the end of a List; the list itself has gone to /pods.
	Listed struct {
		Epoch uint64
		Err   string
		Lost  bool
	}
	// Suspected asks for a check now. Network says that a refusal named the network: the status is read now, too.
	Suspected struct {
		Why     string
		Network bool
	}
	// RelistAsked asks for a full list.
	RelistAsked struct{ Why string }
	// TellAgain says that who was told of the runtime's state has forgotten it.
	TellAgain struct{}
	// CIDRAsked is the pod CIDR that the runtime should know.
	CIDRAsked struct{ CIDR string }
	// CIDRDone is the end of a SetCIDR. Lost as above; any other error is the runtime's no and is not tried again.
	CIDRDone struct {
		CIDR string
		Err  string
		Lost bool
	}
	// ChildUp is the child's start; PID 0 and an error when it failed.
	ChildUp struct {
		PID int
		Err string
	}
	// ChildDown is the child's end.
	ChildDown struct {
		PID  int
		Exit string
	}
	// StopAsked ends the child for good.
	StopAsked struct{}
)

// Timed is an event with the time at which it is folded.
type Timed struct {
	At    time.Time
	Event Event
}

// Action is an output of Next. The family is sealed.
type Action interface{ runtimeAction() }

type (
	// Check asks for Version and RuntimeConfig.
	Check struct{}
	// ReadStatus asks for Status.
	ReadStatus struct{}
	// OpenStream opens the event stream; an older one is closed.
	OpenStream struct{ Gen uint64 }
	// CloseStream closes the stream, if one is open.
	CloseStream struct{}
	// List asks for a full list and its delivery to /pods.
	List struct {
		Epoch uint64
		Why   string
	}
	// SetCIDR hands the pod CIDR to the runtime.
	SetCIDR struct{ CIDR string }
	// TellGate tells /pods.
	TellGate struct{ Gate Gate }
	// TellNode tells /node.
	TellNode struct{ Info nodemsg.RuntimeInfo }
	// StartChild starts the child process.
	StartChild struct{}
	// StopChild ends it.
	StopChild struct{}
	// Wake asks for a Tick at At; a newer Wake replaces an older one.
	Wake struct{ At time.Time }
)

func (Started) runtimeEvent()     {}
func (Tick) runtimeEvent()        {}
func (Checked) runtimeEvent()     {}
func (StatusRead) runtimeEvent()  {}
func (StreamUp) runtimeEvent()    {}
func (StreamEnded) runtimeEvent() {}
func (Listed) runtimeEvent()      {}
func (Suspected) runtimeEvent()   {}
func (RelistAsked) runtimeEvent() {}
func (TellAgain) runtimeEvent()   {}
func (CIDRAsked) runtimeEvent()   {}
func (CIDRDone) runtimeEvent()    {}
func (ChildUp) runtimeEvent()     {}
func (ChildDown) runtimeEvent()   {}
func (StopAsked) runtimeEvent()   {}

func (Check) runtimeAction()       {}
func (ReadStatus) runtimeAction()  {}
func (OpenStream) runtimeAction()  {}
func (CloseStream) runtimeAction() {}
func (List) runtimeAction()        {}
func (SetCIDR) runtimeAction()     {}
func (TellGate) runtimeAction()    {}
func (TellNode) runtimeAction()    {}
func (StartChild) runtimeAction()  {}
func (StopChild) runtimeAction()   {}
func (Wake) runtimeAction()        {}
