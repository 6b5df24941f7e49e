package server

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// servePods answers with the pods that the node was told to run, with their newest status.
func (s *Server) servePods(w http.ResponseWriter, _ *http.Request) {
	pods := s.deps.Pods.List()
	items := make([]v1.Pod, 0, len(pods))
	for _, p := range pods {
		items = append(items, *p)
	}
	writePods(w, items)
}

// serveRunningPods answers with the pods that the runtime shows running, whoever started them.
func (s *Server) serveRunningPods(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.CallTimeout)
	defer cancel()
	sandboxes, err := s.deps.Runtime.ListPodSandbox(ctx, cri.SandboxFilter{})
	var containers []model.Container
	if err == nil {
		containers, err = s.deps.Runtime.ListContainers(ctx, cri.ContainerFilter{})
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writePods(w, runningPods(sandboxes, containers))
}

// runningPods groups what runs by pod, ordered by namespace and name.
func runningPods(sandboxes []model.Sandbox, containers []model.Container) []v1.Pod {
	byUID := map[model.UID]*v1.Pod{}
	get := func(uid model.UID, namespace, name string) *v1.Pod {
		p := byUID[uid]
		if p == nil {
			p = &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid, Namespace: namespace, Name: name}}
			byUID[uid] = p
		}
		return p
	}
	for _, b := range sandboxes {
		if b.State == model.SandboxReady {
			get(b.UID, b.Namespace, b.Name)
		}
	}
	for _, c := range containers {
		if c.State == model.ContainerRunning {
			p := get(c.UID, c.Namespace, c.PodName)
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: c.Name, Image: c.Image})
		}
	}
	out := make([]v1.Pod, 0, len(byUID))
	for _, p := range byUID {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b v1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return out
}

// writePods encodes a v1.PodList.
func writePods(w http.ResponseWriter, items []v1.Pod) {
	list := v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: items}
	b, err := json.Marshal(list)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}
