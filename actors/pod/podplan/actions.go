package podplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

// Action is what the shell has to do. The family is sealed. Actions with a Gen are answered by podmsg.Done with the
// same Gen, exactly once.
type Action interface{ podAction() }

type (
	// Admit asks the node for a place.
	Admit struct{ Adopted bool }
	// Release gives the place back.
	Release struct{}
	// WantCgroup, DropCgroup, WantVolumes, DropVolumes go to their owners; they may be repeated.
	//
	// A pod's cgroup gets what Pod promises, and no less than AtLeast (nil for none) while containers still have that.
	WantCgroup struct {
		Pod, AtLeast *v1.Pod
		Seq          uint64
	}
	DropCgroup  struct{}
	WantVolumes struct{}
	DropVolumes struct{}
	// AskResize asks the node to promise what the spec asks now; answered by podmsg.Resized or podmsg.ResizePending.
	AskResize struct{}
	// LookMemory reads what the pod and these containers use; answered by podmsg.MemoryUsage.
	LookMemory struct {
		Gen        uint64
		Containers []model.ContainerID
	}
	// RecordActuated tells the node what the containers were last given.
	RecordActuated struct{ Actuated *model.Allocation }
	// DropImages takes back pulls that only this pod waits for.
	DropImages struct{}
	// RunSandbox makes a sandbox and reads its status.
	RunSandbox struct {
		Gen     model.Generation
		Attempt uint32
		Parent  string // cgroup parent
	}
	// ReadSandbox reads a sandbox by id.
	ReadSandbox struct {
		Gen model.Generation
		ID  model.SandboxID
	}
	// StopSandbox and RemoveSandbox end one.
	StopSandbox struct {
		Gen model.Generation
		ID  model.SandboxID
	}
	RemoveSandbox struct {
		Gen model.Generation
		ID  model.SandboxID
	}
	// Look lists the pod's sandboxes and containers by UID; answered by Done{OpLook} with the Look.
	Look struct{ Gen model.Generation }
	// RemoveDirs removes the pod's log directory.
	RemoveDirs struct{ Gen model.Generation }
	// Cancel ends the context of the call in flight.
	Cancel struct{ Gen model.Generation }
	// Spawn makes the actor of a container, with what the runtime shows of it.
	Spawn struct {
		Name      string
		Instances []model.Container
	}
	// Tell passes an event to a container.
	Tell struct {
		Name  string
		Event containermsg.Event
	}
	// Delete asks for the final delete of the API object.
	Delete struct{}
	// Finish ends the actor: nothing is left to do for this incarnation.
	Finish struct{}
	// SetTimer asks for a Tick at that moment instead of any earlier request; zero cancels it.
	SetTimer struct{ At time.Time }
	// Event records an API event about the pod.
	Event struct {
		Warning         bool
		Reason, Message string
	}
)

func (Admit) podAction()          {}
func (Release) podAction()        {}
func (WantCgroup) podAction()     {}
func (DropCgroup) podAction()     {}
func (WantVolumes) podAction()    {}
func (DropVolumes) podAction()    {}
func (AskResize) podAction()      {}
func (LookMemory) podAction()     {}
func (RecordActuated) podAction() {}
func (DropImages) podAction()     {}
func (RunSandbox) podAction()     {}
func (ReadSandbox) podAction()    {}
func (StopSandbox) podAction()    {}
func (RemoveSandbox) podAction()  {}
func (Look) podAction()           {}
func (RemoveDirs) podAction()     {}
func (Cancel) podAction()         {}
func (Spawn) podAction()          {}
func (Tell) podAction()           {}
func (Delete) podAction()         {}
func (Finish) podAction()         {}
func (SetTimer) podAction()       {}
func (Event) podAction()          {}

// names lists the containers of a pod in start order: init containers and sidecars as the spec has them, then app
// containers, then ephemeral ones.
func names(pod *v1.Pod) []string {
	out := make([]string, 0, len(pod.Spec.InitContainers)+len(pod.Spec.Containers)+len(pod.Spec.EphemeralContainers))
	for i := range pod.Spec.InitContainers {
		out = append(out, pod.Spec.InitContainers[i].Name)
	}
	for i := range pod.Spec.Containers {
		out = append(out, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.EphemeralContainers {
		out = append(out, pod.Spec.EphemeralContainers[i].Name)
	}
	return out
}
