// Package nodemsg is what the node actor receives.
package nodemsg

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
)

// Message is a message to the node actor. The family is sealed.
type Message interface{ nodeMessage() }

type (
	// Admit asks for a place on the node. Adopted pods run already: they enter the ledger and are never refused.
	// Answered by podmsg.Admitted or podmsg.Refused.
	Admit struct {
		Pod     *v1.Pod
		Adopted bool
		Reply   messages.Sink
	}
	// Resize asks to promise the pod what its spec asks now. Answered by podmsg.Resized, or by podmsg.ResizePending and,
	// once there is room, by podmsg.Resized. The newest counts; one that asks what is promised already takes back what
	// was asked before.
	Resize struct {
		Pod   *v1.Pod
		Reply messages.Sink
	}
	// Actuated is what the pod's containers were last given, for the record on disk and for the room that a smaller
	// promise frees only when it has been carried out.
	Actuated struct {
		Pod      *v1.Pod
		Actuated *model.Allocation
	}
	// Sweep names every pod that a plan owns: records of other UIDs are forgotten.
	Sweep struct{ Owned map[model.UID]struct{} }
	// Release gives the place back. It may be repeated.
	Release struct{ UID model.UID }
	// RuntimeState is the runtime actor's newest knowledge; it decides the Ready condition and what NodeInfo says.
	RuntimeState struct{ State RuntimeInfo }
	// NodeSeen is the node object as the API server has it (labels, taints, unschedulable, podCIDR).
	NodeSeen struct{ Node *v1.Node }
	// Pressure says what the node runs out of; it decides the pressure conditions.
	Pressure struct{ Memory, Disk, PID bool }
	// NotReady gives further reasons why pods cannot run here, in words; an empty list takes them back.
	NotReady struct{ Reasons []string }
	// Tick is the node-wide slow tick, which the node actor gives to whoever has periodic work.
	Tick struct{ At time.Time }
	// PodCIDR is what the node object assigned; it goes to the runtime.
	PodCIDR struct{ CIDR string }
)

// RuntimeInfo is what the node needs to know about the runtime.
type RuntimeInfo struct {
	Up                       bool // answers calls
	RuntimeReady             bool
	NetworkReady             bool
	Reason                   string // why not, with the runtime's own message
	Name, Version            string // containerd, 2.4.2
	CgroupDriver             string // "cgroupfs" or "systemd" as RuntimeConfig says; "" when the runtime does not say
	Handlers                 []v1.NodeRuntimeHandler
	SupplementalGroupsPolicy bool
	ImagesChanged            uint64 // counts changes of the image store as far as we caused them
}

func (Admit) nodeMessage()        {}
func (Release) nodeMessage()      {}
func (Resize) nodeMessage()       {}
func (Actuated) nodeMessage()     {}
func (Sweep) nodeMessage()        {}
func (RuntimeState) nodeMessage() {}
func (NodeSeen) nodeMessage()     {}
func (PodCIDR) nodeMessage()      {}
func (Pressure) nodeMessage()     {}
func (NotReady) nodeMessage()     {}
func (Tick) nodeMessage()         {}
