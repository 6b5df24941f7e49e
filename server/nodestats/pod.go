package nodestats

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/troupe-dev/troupe/cgroups/cgstat"
)

// pod measures a pod; nil for one of which nothing runs.
func (s *measurement) pod(pod *v1.Pod, node *statsapi.NodeStats) *statsapi.PodStats {
	if pod.Status.StartTime == nil || pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed {
		return nil
	}
	at := s.deps.PodCgroup(pod)
	if at == "" {
		return nil
	}
	u, ok := s.group(at)
	if !ok {
		return nil
	}
	st := &statsapi.PodStats{
		PodRef:    statsapi.PodReference{Name: pod.Name, Namespace: pod.Namespace, UID: string(pod.UID)},
		StartTime: *pod.Status.StartTime, CPU: u.cpu, Memory: u.memory, Swap: u.swap, IO: u.io,
		Containers: []statsapi.ContainerStats{},
	}
	groups := s.containers(at)
	running := map[string]*v1.ContainerStatus{}
	for _, list := range [][]v1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].State.Running == nil {
				continue
			}
			if _, id, ok := strings.Cut(list[i].ContainerID, "://"); ok {
				running[id] = &list[i]
			}
		}
	}
	var processes []string
	for _, g := range groups {
		p, _ := cgstat.Processes(s.deps.Cgroups, path.Join(at, g.dir))
		processes = append(processes, p...)
		if c := running[g.id]; c != nil {
			if cs := s.container(path.Join(at, g.dir), c); cs != nil {
				st.Containers = append(st.Containers, *cs)
			}
		}
	}
	if !s.full {
		return st
	}
	st.ProcessStats = &statsapi.ProcessStats{ProcessCount: ptrTo(uint64(len(processes)))}
	if !pod.Spec.HostNetwork {
		st.Network = s.network(processes)
	}
	s.storage(pod, st, node)
	return st
}

func (s *measurement) container(at string, c *v1.ContainerStatus) *statsapi.ContainerStats {
	u, ok := s.group(at)
	if !ok {
		return nil
	}
	return &statsapi.ContainerStats{Name: c.Name, StartTime: c.State.Running.StartedAt, CPU: u.cpu, Memory: u.memory, Swap: u.swap, IO: u.io}
}

// below is a cgroup below a pod's, with the id of the sandbox or container that it is for.
type below struct{ dir, id string }

// containers finds the cgroups that the runtime made below a pod's. With the cgroupfs driver they are named by the id
// (containerd) or crio-<id>; with systemd cri-containerd-<id>.scope or crio-<id>.scope.
func (s *measurement) containers(pod string) []below {
	entries, err := os.ReadDir(s.deps.Cgroups.Dir("memory", pod))
	if err != nil {
		s.complain(err)
		return nil
	}
	var out []below
	for _, e := range entries {
		if !e.IsDir() || strings.Contains(e.Name(), "conmon") { // CRI-O's monitor has the id of its container
			continue
		}
		id := strings.TrimSuffix(e.Name(), ".scope")
		out = append(out, below{e.Name(), id[strings.LastIndex(id, "-")+1:]})
	}
	return out
}

// network reads the interfaces of the pod's network namespace, which all its processes share.
func (s *measurement) network(processes []string) *statsapi.NetworkStats {
	for _, pid := range processes {
		if n := readNetwork(filepath.Join(s.cfg.Proc, pid, "net/dev"), time.Now()); n != nil {
			return n
		}
	}
	return nil
}
