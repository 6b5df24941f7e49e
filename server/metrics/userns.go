package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// usernsPods counts starts of pods with a user namespace of their own. What is wrong with one often shows only in its
// first containers, so a failure there counts too, once for each sandbox.
type usernsPods struct {
	started, failed prometheus.Counter

	mu sync.Mutex
	// well are the sandboxes that nothing failed in yet, of are created containers that have not been started.
	well map[model.SandboxID]bool
	of   map[model.ContainerID]model.SandboxID
}

func newUsernsPods(g prometheus.Registerer) *usernsPods {
	return &usernsPods{
		started: counter(g, "kubelet_started_user_namespaced_pods_total", "Pods with user namespaces that were to be started."),
		failed:  counter(g, "kubelet_started_user_namespaced_pods_errors_total", "Pods with user namespaces that could not be started."),
		well:    map[model.SandboxID]bool{}, of: map[model.ContainerID]model.SandboxID{},
	}
}

func ownUserns(c *runtimeapi.PodSandboxConfig) bool {
	return len(c.GetLinux().GetSecurityContext().GetNamespaceOptions().GetUsernsOptions().GetUids()) > 0
}

// run is told of every sandbox that was asked for.
func (u *usernsPods) run(c *runtimeapi.PodSandboxConfig, id model.SandboxID, err error) {
	if !ownUserns(c) {
		return
	}
	u.started.Inc()
	if err != nil {
		u.failed.Inc()
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.well[id] = true
}

// created and begun are told of every container that was created and started.
func (u *usernsPods) created(in model.SandboxID, id model.ContainerID, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.well[in] {
		return
	}
	if err != nil {
		u.fail(in)
		return
	}
	u.of[id] = in
}

func (u *usernsPods) begun(id model.ContainerID, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	in, ok := u.of[id]
	delete(u.of, id)
	if ok && err != nil && u.well[in] {
		u.fail(in)
	}
}

func (u *usernsPods) fail(in model.SandboxID) {
	u.failed.Inc()
	u.forget(in)
}

// gone is told of every sandbox that was stopped.
func (u *usernsPods) gone(id model.SandboxID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forget(id)
}

func (u *usernsPods) forget(in model.SandboxID) {
	if !u.well[in] {
		return
	}
	delete(u.well, in)
	for c, s := range u.of {
		if s == in {
			delete(u.of, c)
		}
	}
}
