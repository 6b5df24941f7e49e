package root

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/cgroups/cgstat"
	"github.com/troupe-dev/troupe/messages/model"
)

// memoryUse reads what pods and containers use from their cgroups. It implements pod.Memory.
type memoryUse struct {
	host   *cgroupfs.Host
	layout cgroups.Layout
	driver cgroups.Driver
}

// MemoryUsage implements pod.Memory. A container's cgroup is the one below its pod's that has the container's id in its
// name, whatever the runtime puts around it.
func (m memoryUse) MemoryUsage(pod *v1.Pod, containers []model.ContainerID) (model.Bytes, map[model.ContainerID]model.Bytes, error) {
	if !m.layout.PerQOS {
		return 0, nil, nil // no cgroup of the pod is ours
	}
	at := m.layout.Pod(pod.UID, cgroups.QOSClass(pod)).Path(m.driver)
	whole, err := cgstat.Read(m.host, at)
	if err != nil {
		return 0, nil, err
	}
	below, err := os.ReadDir(m.host.Dir("memory", at))
	if err != nil {
		return 0, nil, err
	}
	out := map[model.ContainerID]model.Bytes{}
	for _, id := range containers {
		for _, e := range below {
			if !e.IsDir() || !strings.Contains(e.Name(), string(id)) {
				continue
			}
			u, err := cgstat.Read(m.host, path.Join(at, e.Name()))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, nil, err
			}
			if err == nil {
				out[id] = u.Memory
			}
		}
	}
	return whole.Memory, out, nil
}
