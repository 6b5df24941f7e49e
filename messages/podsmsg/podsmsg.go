// Package podsmsg is what the /pods actor receives: it routes by UID and decides nothing about a pod's life.
package podsmsg

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// Message is a message to the /pods actor. The family is sealed.
type Message interface{ podsMessage() }

type (
	// Assigned is the newest object of a pod from a source ("api", "file", "http", "embedded").
	Assigned struct {
		Source string
		Pod    *v1.Pod
		// StatusOnly: nothing but status or foreign metadata differs from the object before it.
		StatusOnly bool
		// Modified is when the manifest of a static pod was last changed; zero when that is not known.
		Modified time.Time
	}
	// Removed says that a source no longer has the pod.
	Removed struct {
		Source string
		UID    model.UID
	}
	// SourceSynced says that a source has delivered everything it had at start.
	SourceSynced struct{ Source string }
	// Dirty is a hint from the runtime's event stream.
	Dirty struct {
		UID       model.UID
		Container model.ContainerID
		At        time.Time // when it happened, by the runtime's clock; zero means now
	}
	// Listed is a full list of the runtime: every pod it knows. Epoch counts runtime connections.
	Listed struct {
		Epoch uint64
		At    time.Time
		Pods  map[model.UID]model.PodObserved
	}
	// RuntimeGate opens or closes what every start needs.
	RuntimeGate struct{ RuntimeReady, NetworkReady bool }
	// ToPod carries an event to one pod, if it exists.
	ToPod struct {
		UID   model.UID
		Event podmsg.Event
	}
	// ToAll carries an event to every pod.
	ToAll struct{ Event podmsg.Event }
	// Ended says that a pod actor has finished its work and its incarnation may go.
	Ended struct {
		UID         model.UID
		Incarnation model.Incarnation
	}
)

func (Assigned) podsMessage()     {}
func (Removed) podsMessage()      {}
func (SourceSynced) podsMessage() {}
func (Dirty) podsMessage()        {}
func (Listed) podsMessage()       {}
func (RuntimeGate) podsMessage()  {}
func (ToPod) podsMessage()        {}
func (ToAll) podsMessage()        {}
func (Ended) podsMessage()        {}
