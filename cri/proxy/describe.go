package proxy

import (
	"time"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
)

// callOf says what a request is about.
func callOf(op string, req any) Call {
	switch r := req.(type) {
	case *runtimeapi.RunPodSandboxRequest:
		return callOfSandbox(r.GetConfig())
	case *runtimeapi.CreateContainerRequest:
		return callOfContainer(r.GetPodSandboxId(), r.GetConfig(), r.GetSandboxConfig())
	case *runtimeapi.ListContainersRequest:
		return Call{Op: op, UID: r.GetFilter().GetLabelSelector()[cri.LabelPodUID], Sandbox: r.GetFilter().GetPodSandboxId(), ID: r.GetFilter().GetId()}
	case *runtimeapi.ListPodSandboxRequest:
		return Call{Op: op, UID: r.GetFilter().GetLabelSelector()[cri.LabelPodUID], ID: r.GetFilter().GetId()}
	case *runtimeapi.PullImageRequest:
		m := r.GetSandboxConfig().GetMetadata()
		return Call{Op: op, Container: r.GetImage().GetImage(), UID: m.GetUid(), Namespace: m.GetNamespace(), Pod: m.GetName()}
	case *runtimeapi.ImageStatusRequest:
		return Call{Op: op, Container: r.GetImage().GetImage()}
	case *runtimeapi.RemoveImageRequest:
		return Call{Op: op, Container: r.GetImage().GetImage()}
	case interface{ GetContainerId() string }:
		return Call{Op: op, ID: r.GetContainerId()}
	case interface{ GetPodSandboxId() string }:
		return Call{Op: op, ID: r.GetPodSandboxId()}
	}
	return Call{Op: op}
}

// whole says whether a list shows all there is of a pod, a sandbox or the node.
func whole(req any) bool {
	onlyUID := func(l map[string]string) bool { return len(l) == 0 || (len(l) == 1 && l[cri.LabelPodUID] != "") }
	switch r := req.(type) {
	case *runtimeapi.ListContainersRequest:
		f := r.GetFilter()
		return f.GetId() == "" && f.GetState() == nil && onlyUID(f.GetLabelSelector())
	case *runtimeapi.ListPodSandboxRequest:
		f := r.GetFilter()
		return f.GetId() == "" && f.GetState() == nil && onlyUID(f.GetLabelSelector())
	}
	return false
}

// learnMade notes what a call made, whether or not the agent will hear of it.
func (p *Proxy) learnMade(c Call, res proto.Message) {
	switch r := res.(type) {
	case *runtimeapi.RunPodSandboxResponse:
		p.ran(c, r.GetPodSandboxId())
	case *runtimeapi.CreateContainerResponse:
		p.created(c, r.GetContainerId())
	}
}

// learnShown notes what an answer shows the agent.
func (p *Proxy) learnShown(c Call, req any, res proto.Message, err error, began time.Time) {
	if err != nil {
		switch c.Op {
		case "ContainerStatus":
			p.notFound(c.Op, c.ID, false, err)
		case "PodSandboxStatus":
			p.notFound(c.Op, c.ID, true, err)
		}
		return
	}
	switch r := res.(type) {
	case *runtimeapi.ContainerStatusResponse:
		s := r.GetStatus()
		p.shownContainer(c.Op, s.GetId(), "", s.GetLabels(), s.GetMetadata(), s.GetState(), s.GetExitCode())
	case *runtimeapi.PodSandboxStatusResponse:
		s := r.GetStatus()
		p.shownSandbox(c.Op, s.GetId(), s.GetMetadata(), s.GetState())
	case *runtimeapi.ListContainersResponse:
		listed := map[string]bool{}
		for _, s := range r.GetContainers() {
			listed[s.GetId()] = true
			p.shownContainer(c.Op, s.GetId(), s.GetPodSandboxId(), s.GetLabels(), s.GetMetadata(), s.GetState(), 0)
		}
		if whole(req) {
			p.sawAbsent(c.Op, c.UID, c.Sandbox, false, listed, began)
		}
	case *runtimeapi.ListPodSandboxResponse:
		listed := map[string]bool{}
		for _, s := range r.GetItems() {
			listed[s.GetId()] = true
			p.shownSandbox(c.Op, s.GetId(), s.GetMetadata(), s.GetState())
		}
		if whole(req) {
			p.sawAbsent(c.Op, c.UID, "", true, listed, began)
		}
	}
}

func (p *Proxy) shownContainer(by, id, sandbox string, l map[string]string, m *runtimeapi.ContainerMetadata, s runtimeapi.ContainerState, exit int32) {
	p.saw(by, Call{
		ID: id, Sandbox: sandbox, UID: l[cri.LabelPodUID], Namespace: l[cri.LabelPodNamespace], Pod: l[cri.LabelPodName],
		Container: m.GetName(), Attempt: m.GetAttempt(),
	}, false, protoStates[s], exit)
}

func (p *Proxy) shownSandbox(by, id string, m *runtimeapi.PodSandboxMetadata, s runtimeapi.PodSandboxState) {
	state := stateReady
	if s != runtimeapi.PodSandboxState_SANDBOX_READY {
		state = stateNotReady
	}
	p.saw(by, Call{ID: id, Sandbox: id, UID: m.GetUid(), Namespace: m.GetNamespace(), Pod: m.GetName(), Attempt: m.GetAttempt()}, true, state, 0)
}

var protoStates = [...]string{
	runtimeapi.ContainerState_CONTAINER_CREATED: stateCreated, runtimeapi.ContainerState_CONTAINER_RUNNING: stateRunning,
	runtimeapi.ContainerState_CONTAINER_EXITED: stateExited, runtimeapi.ContainerState_CONTAINER_UNKNOWN: stateUnknown,
}
