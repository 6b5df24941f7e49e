package pod

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Memory reads what cgroups use. It may block on the kernel and is safe for concurrent use.
type Memory interface {
	// MemoryUsage is what the pod's cgroup and those of its containers use; one that is gone is missing.
	MemoryUsage(pod *v1.Pod, containers []model.ContainerID) (model.Bytes, map[model.ContainerID]model.Bytes, error)
}

// lookMemory reads what the pod uses; without a reader nothing is known to stand against a smaller limit.
func (a *Actor) lookMemory(c *spawn.Cell, x podplan.LookMemory) {
	self, pod, memory := c.Self(), a.state.Run, a.deps.Memory
	if memory == nil {
		self.Tell(podmsg.MemoryUsage{Gen: x.Gen})
		return
	}
	a.deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.Disk, Op: "memory usage", Owner: pod.Namespace + "/" + pod.Name, Timeout: a.cfg.CallTimeout,
		Fn: func(context.Context) error {
			m := podmsg.MemoryUsage{Gen: x.Gen}
			m.Pod, m.Containers, m.Err = memory.MemoryUsage(pod, x.Containers)
			self.Tell(m)
			return m.Err
		},
		OnPanic: func(any) { self.Tell(podmsg.MemoryUsage{Gen: x.Gen, Err: errPanicked}) },
	})
}
