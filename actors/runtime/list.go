package runtime

import (
	"context"
	"slices"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// Lister is what a full list needs.
type Lister interface {
	ListPodSandbox(ctx context.Context, filter cri.SandboxFilter) ([]model.Sandbox, error)
	ListContainers(ctx context.Context, filter cri.ContainerFilter) ([]model.Container, error)
}

// ListPods lists everything that the runtime has, by pod, newest first.
//
// The two lists are not of one moment. Containers come second, so that none is missed whose sandbox was seen; one whose
// sandbox was not seen tells that a pod began in between, and then the sandboxes are listed once more: no pod appears
// with containers and without the sandbox that they run in.
func ListPods(ctx context.Context, rt Lister) (map[model.UID]model.PodObserved, error) {
	sandboxes, err := rt.ListPodSandbox(ctx, cri.SandboxFilter{})
	if err != nil {
		return nil, err
	}
	containers, err := rt.ListContainers(ctx, cri.ContainerFilter{})
	if err != nil {
		return nil, err
	}
	if missesSandbox(sandboxes, containers) {
		if sandboxes, err = rt.ListPodSandbox(ctx, cri.SandboxFilter{}); err != nil {
			return nil, err
		}
	}
	return group(sandboxes, containers), nil
}

func missesSandbox(sandboxes []model.Sandbox, containers []model.Container) bool {
	known := make(map[model.SandboxID]bool, len(sandboxes))
	for i := range sandboxes {
		known[sandboxes[i].ID] = true
	}
	return slices.ContainsFunc(containers, func(c model.Container) bool { return !known[c.Sandbox] })
}

// group sorts what was listed by pod. What has no UID is nobody's pod (a container made by hand) and is left out.
func group(sandboxes []model.Sandbox, containers []model.Container) map[model.UID]model.PodObserved {
	pods := make(map[model.UID]model.PodObserved, len(sandboxes))
	at := func(uid model.UID, name, namespace string) model.PodObserved {
		p, ok := pods[uid]
		if !ok {
			p = model.PodObserved{UID: uid, Name: name, Namespace: namespace}
		}
		return p
	}
	for _, s := range sandboxes {
		if s.UID != "" {
			p := at(s.UID, s.Name, s.Namespace)
			p.Sandboxes = append(p.Sandboxes, s)
			pods[s.UID] = p
		}
	}
	for _, c := range containers {
		if c.UID != "" {
			p := at(c.UID, c.PodName, c.Namespace)
			p.Containers = append(p.Containers, c)
			pods[c.UID] = p
		}
	}
	for _, p := range pods { // the slices are shared with the map's values
		slices.SortStableFunc(p.Sandboxes, func(a, b model.Sandbox) int { return b.CreatedAt.Compare(a.CreatedAt) })
		slices.SortStableFunc(p.Containers, func(a, b model.Container) int { return b.CreatedAt.Compare(a.CreatedAt) })
	}
	return pods
}
