// Package nodestats measures the node, its pods and their containers when somebody asks, straight from the kernel's files:
// nothing is sampled between requests. A rate needs two measurements: it is the one since the request before.
package nodestats

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
)

// Pods lists the pods of the node with their newest status. Safe for concurrent use; the objects are not changed.
type Pods interface{ List() []*v1.Pod }

// Images tells what the runtime's file systems hold.
type Images interface {
	ImageFsInfo(ctx context.Context) (*runtimeapi.ImageFsInfoResponse, error)
}

// Deps are what is measured. All but Images are needed.
type Deps struct {
	Pods    Pods
	Images  Images
	Cgroups *cgroupfs.Host
	// PodCgroup is the driver's path of a pod's cgroup, "" when pods have none of their own.
	PodCgroup func(*v1.Pod) string
	Log       klog.Logger
}

// Config says where things are.
type Config struct {
	NodeName string
	// Kubepods is the driver's path of the cgroup of all pods.
	Kubepods string
	// MemoryCapacity is the machine's, in bytes.
	MemoryCapacity uint64
	// RootDir is the agent's directory, LogsRoot has the logs of all pods. Proc is where /proc is ("/proc").
	RootDir, LogsRoot, Proc string
}

const (
	// fresh is how long a measurement answers further requests.
	fresh = time.Second
	// volumesFresh is how long the sizes of volumes are kept: finding them walks directories (kubelet: volumeStatsAggPeriod).
	volumesFresh = time.Minute
)

// Source measures. It implements the server's Stats; safe for concurrent use.
type Source struct {
	deps Deps
	cfg  Config
	// A full measurement may walk directories for long: the one of CPU and memory does not wait for it.
	full, short kind
}

// kind is one of the two kinds of measurements. Requests of one kind that come together share one measurement.
type kind struct {
	mu    sync.Mutex
	rates rates
	last  *statsapi.Summary
	at    time.Time
	// volumes are the sizes of directories; of the full kind.
	volumes map[string]sized
}

// New makes a source.
func New(d Deps, c Config) *Source {
	if c.Proc == "" {
		c.Proc = "/proc"
	}
	return &Source{deps: d, cfg: c, full: kind{rates: rates{of: map[string]sample{}}, volumes: map[string]sized{}}, short: kind{rates: rates{of: map[string]sample{}}}}
}

// Summary measures everything, or only CPU and memory. The result must not be changed.
func (s *Source) Summary(ctx context.Context, onlyCPUAndMemory bool) (*statsapi.Summary, error) {
	k := &s.full
	if onlyCPUAndMemory {
		k = &s.short
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last != nil && time.Since(k.at) < fresh {
		return k.last, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now()
	m := measurement{Source: s, kind: k, full: !onlyCPUAndMemory, keep: map[string]bool{}}
	sum, err := m.take(ctx)
	if err != nil {
		return nil, err
	}
	k.last, k.at = sum, now
	return sum, nil
}

// measurement is one in progress.
type measurement struct {
	*Source
	*kind
	full bool
	keep map[string]bool // directories whose sizes are still of use
}

func (s *measurement) take(ctx context.Context) (*statsapi.Summary, error) {
	node, err := s.node(ctx)
	if err != nil {
		return nil, err
	}
	sum := &statsapi.Summary{Node: *node}
	pods := s.deps.Pods.List()
	slices.SortFunc(pods, func(a, b *v1.Pod) int {
		if a.Namespace != b.Namespace {
			return strings.Compare(a.Namespace, b.Namespace)
		}
		return strings.Compare(a.Name, b.Name)
	})
	for _, pod := range pods {
		if st := s.pod(pod, node); st != nil {
			sum.Pods = append(sum.Pods, *st)
		}
	}
	if s.full {
		for dir := range s.volumes {
			if !s.keep[dir] {
				delete(s.volumes, dir)
			}
		}
	}
	s.rates.end()
	return sum, nil
}

func stamp(t time.Time) metav1.Time { return metav1.NewTime(t) }

func ptrTo[T any](v T) *T { return &v }
