// Package resizeplan decides the in-place resize of one pod: when the node is asked for what the spec wants, and how what
// was promised is carried out. It is pure, and a part of podplan's state.
//
// Four sets of resources follow one another: desired (the spec), allocated (the node's promise), actuated (what the runtime
// was told) and actual (what the runtime shows). A step is decided from all of them, minus what is in flight: first the
// pod's cgroup covers both old and new, then containers shrink, then containers grow, then the pod's cgroup is exactly
// what is promised.
//
// Invariants, checked by the property tests:
//   - no container is given more than the pod's cgroup has room for;
//   - a memory limit sinks only after a look has shown that less is used;
//   - at most one update is in flight, and none while the cgroup is being changed;
//   - once the spec rests and the node has agreed, actuated becomes allocated.
package resizeplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Pace of retries after an error: the kubelet tries again with each sync, 10 to 15 s after a failure.
const (
	retryFirst = 2 * time.Second
	retryMax   = 30 * time.Second
)

// Condition is PodResizePending or PodResizeInProgress as the status shows it.
type Condition struct {
	Reason, Message string
	// Generation is the object's that the condition is about.
	Generation int64
	// Since is when it took its reason.
	Since time.Time
}

// State is all that is known of a pod's resize. The zero value is a pod that the node has not answered yet: nothing is
// decided for it.
type State struct {
	// Allocated is the node's newest promise.
	Allocated *model.Allocation
	// Given is what each container's newest instance was last given, Level the same for the pod itself.
	Given map[string]v1.ResourceRequirements
	Level *v1.ResourceRequirements
	// Told is the record that the node has; News says that there may be something to add to it.
	Told *model.Allocation
	News bool
	// Heard is the word of each container that Given has.
	Heard map[string]*v1.ResourceRequirements

	// Seen is the newest object that was looked at. Asked is the object whose resources the node was asked for; Waiting until it has answered.
	Seen, Asked *v1.Pod
	Waiting     bool

	Pending, Progress *Condition

	// Resizing: what is promised is being carried out, so the pod's cgroup must cover old and new.
	Resizing bool
	// Check is the look at memory use that must come before the first step.
	Check Check
	// Update is the one in flight; nil for none.
	Update *Update
	// Restarting are instances that were told to give way to one with the new resources.
	Restarting map[string]model.ContainerID

	Failures int
	RetryAt  time.Time
	// Gen numbers updates and looks.
	Gen uint64
}

// CheckStage is where the look at memory use stands.
type CheckStage int

// The stages.
const (
	Unchecked CheckStage = iota
	Checking
	Checked
)

// Check is a look at memory use: the limits that are about to sink.
type Check struct {
	Stage      CheckStage
	Gen        uint64
	PodLimit   model.Bytes // 0: it does not sink
	Containers []Sinking
}

// Sinking is a container's memory limit that is about to sink.
type Sinking struct {
	Name  string
	ID    model.ContainerID
	Limit model.Bytes
}

// Update is an update of one container that has not ended.
type Update struct {
	Name string
	ID   model.ContainerID
	Gen  uint64
	To   *v1.ResourceRequirements
}

// Container is what the pod knows of one of its containers at this moment.
type Container struct {
	Name string
	View model.ContainerView
	// Policy is spec.containers[].resizePolicy.
	Policy []v1.ContainerResizePolicy
}

// Facts are what the plan decides by, beside its own state.
type Facts struct {
	// Desired is the newest object; Allocated the same with what is promised.
	Desired, Allocated *v1.Pod
	Containers         []Container
	// Covered: the pod's cgroup has all that old and new need, for the newest promise. Exact: it has just what is promised.
	Covered, Exact bool
	// CgroupErr is why it could not be changed; "" when it could.
	CgroupErr string
	Now       time.Time
}

// Action is something to do. The family is sealed.
type Action interface{ resizeAction() }

type (
	// Ask asks the node to promise what the newest object wants; answered by podmsg.Resized or podmsg.ResizePending.
	Ask struct{}
	// Look asks what the pod and these containers use; answered by podmsg.MemoryUsage.
	Look struct {
		Gen        uint64
		Containers []model.ContainerID
	}
	// Give tells a container what its instance is to have; its view answers.
	Give struct {
		Name      string
		Gen       uint64
		ID        model.ContainerID
		Resources *v1.ResourceRequirements
		Restart   bool
	}
	// Record tells the node what was carried out.
	Record struct{ Actuated *model.Allocation }
	// Event records an API event about the pod.
	Event struct {
		Warning         bool
		Reason, Message string
	}
)

func (Ask) resizeAction()    {}
func (Look) resizeAction()   {}
func (Give) resizeAction()   {}
func (Record) resizeAction() {}
func (Event) resizeAction()  {}
