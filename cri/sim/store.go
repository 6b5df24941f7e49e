package sim

import (
	"cmp"
	"os"
	"slices"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
)

// pod indexes the sandboxes of one pod UID. It is dropped with its last sandbox.
type pod struct {
	mu        sync.Mutex
	sandboxes map[string]*sandbox
}

// sandbox is one pod sandbox. What is above the lock never changes.
type sandbox struct {
	id, name, uid string
	config        *runtimeapi.PodSandboxConfig
	handler       string
	createdAt     time.Time
	ip            string // "" on the host's network

	mu         sync.Mutex
	ready      bool
	containers map[string]*container
}

// container is one container instance. What is above the lock never changes; locks are taken sandbox before container.
type container struct {
	id, name string
	sandbox  *sandbox
	config   *runtimeapi.ContainerConfig
	image    image
	logPath  string
	program  program
	created  time.Time
	stopped  chan struct{} // closed at the exit

	mu                 sync.Mutex
	state              runtimeapi.ContainerState
	starting, removing bool
	signalled          bool
	started, finished  time.Time
	exitCode           int32
	reason, message    string
	resources          *runtimeapi.LinuxContainerResources
	timers             []*time.Timer
	log                *os.File
}

func sandboxCall(op string, sb *sandbox) call {
	return call{op: op, Match: Match{UID: sb.uid, Pod: sb.config.GetMetadata().GetName()}, key: sb.name}
}

func containerCall(op string, c *container) call {
	k := sandboxCall(op, c.sandbox)
	k.Container, k.key = c.config.GetMetadata().GetName(), c.name
	return k
}

func (r *Runtime) addSandbox(sb *sandbox) {
	r.sandboxes.put(sb.id, sb)
	r.pods.update(sb.uid, func(p *pod, ok bool) (*pod, bool) {
		if !ok {
			p = &pod{sandboxes: map[string]*sandbox{}}
		}
		p.mu.Lock()
		p.sandboxes[sb.id] = sb
		p.mu.Unlock()
		return p, true
	})
}

func (r *Runtime) dropSandbox(sb *sandbox) {
	r.sandboxes.delete(sb.id)
	r.pods.update(sb.uid, func(p *pod, ok bool) (*pod, bool) {
		if !ok {
			return nil, false
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.sandboxes, sb.id)
		return p, len(p.sandboxes) > 0
	})
}

// sandboxesOf returns the sandboxes of a pod.
func (r *Runtime) sandboxesOf(uid string) []*sandbox {
	p, ok := r.pods.get(uid)
	if !ok {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]*sandbox, 0, len(p.sandboxes))
	for _, sb := range p.sandboxes {
		out = append(out, sb)
	}
	return out
}

// list returns the sandbox's containers, oldest first.
func (sb *sandbox) list() []*container {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	out := make([]*container, 0, len(sb.containers))
	for _, c := range sb.containers {
		out = append(out, c)
	}
	sortContainers(out)
	return out
}

// The order of lists is by age, so that equal runs give equal lists.
func sortContainers(cs []*container) {
	slices.SortFunc(cs, func(a, b *container) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id))
	})
}

func sortSandboxes(ss []*sandbox) {
	slices.SortFunc(ss, func(a, b *sandbox) int {
		return cmp.Or(a.createdAt.Compare(b.createdAt), cmp.Compare(a.id, b.id))
	})
}

// reserve takes a name for an id; it is an error, in containerd's words, when it is taken.
func (r *Runtime) reserve(kind, name, id string) error {
	var err error
	r.names.update(name, func(holder string, taken bool) (string, bool) {
		if taken {
			err = reservedError{kind, name, holder}
			return holder, true
		}
		return id, true
	})
	return err
}

type reservedError struct{ kind, name, holder string }

func (e reservedError) Error() string {
	return "failed to reserve " + e.kind + " name \"" + e.name + "\": name \"" + e.name + "\" is reserved for \"" + e.holder + "\""
}

// matchLabels says whether the labels have everything that the selector names.
func matchLabels(labels, selector map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func uidOf(labels map[string]string, fallback string) string {
	if uid := labels[cri.LabelPodUID]; uid != "" {
		return uid
	}
	return fallback
}

// Count returns how many sandboxes and containers there are.
func (r *Runtime) Count() (sandboxes, containers int) { return r.sandboxes.len(), r.containers.len() }
