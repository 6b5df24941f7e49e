package standalone

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	rtactor "github.com/troupe-dev/troupe/actors/runtime"
	"github.com/troupe-dev/troupe/cri/remote"
)

// Agent is the agent as a run uses it: a composition of actors (actors/root) with the embedded source.
type Agent interface {
	// Add gives the agent a pod; the completed pod is returned. All pods known at start come before Synced.
	Add(pod *v1.Pod) (*v1.Pod, error)
	// Synced says that all pods of the start have been added: from now on, what no pod owns may be ended.
	Synced()
	// Delete asks a pod to end; grace in seconds, nil for the spec's. A later call can only shorten the grace.
	Delete(uid types.UID, grace *int64) bool
	// Pods are the pods with their newest status. One that was deleted and has ended is not among them.
	Pods() []*v1.Pod
	// Explain says in a sentence what a pod waits for; "" when it cannot.
	Explain(pod *v1.Pod) string
	// InspectURL is the address of the inspection page with its token; "" when there is none.
	InspectURL() string
	// Stop ends the actors. Pods run on; a child runtime is ended by its launcher.
	Stop(ctx context.Context) error
}

// AgentConfig is what a run asks of its agent.
type AgentConfig struct {
	NodeName string
	// RootDir holds volumes, PodLogsDir the containers' logs.
	RootDir, PodLogsDir string
	// Cgroups is the cgroup below which kubepods is made. It is there already.
	Cgroups CgroupRoot
	// Runtime is the connection; Child is set when the runtime is a process of ours, which the agent's /runtime actor
	// starts and supervises.
	Runtime *remote.Client
	Child   rtactor.Child
	// InspectSocket is where tree and explain are served, for root only.
	InspectSocket string
	ConfigMaps    []*v1.ConfigMap
	Secrets       []*v1.Secret
	Log           klog.Logger
	// Changed is called after each change of a pod's status. It must not block.
	Changed func()
}
