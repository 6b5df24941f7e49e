package cgroups

import (
	"context"
	"errors"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Desired is one cgroup and the values it should hold. Fields of Resources that are nil are left as they are. CPU
// shares are always given as such; the applier for v2 turns them into Weight. Unified holds raw v2 files
// (memory.oom.group, …), ignored on v1.
type Desired struct {
	Name      Name
	Resources specs.LinuxResources
}

// ErrReadOnly says that the cgroup hierarchy cannot be written: it is mounted read-only, as in an ordinary container.
var ErrReadOnly = errors.New("the cgroup file system is read-only")

// ErrNotMounted says that there is no usable cgroup hierarchy where it was looked for.
var ErrNotMounted = errors.New("no cgroup hierarchy is mounted")

// ErrBusy says that a cgroup could not be emptied in time: processes survived SIGKILL (usually in uninterruptible
// sleep) or new ones kept coming.
var ErrBusy = errors.New("the cgroup is still in use")

// Applier makes cgroups be as desired. Every method may block on the kernel or on systemd until its context ends, may
// be repeated, and is safe for concurrent use on different names. Errors name the cgroup.
type Applier interface {
	// Apply creates the cgroup if it is missing (its parent must exist) and writes its values.
	Apply(ctx context.Context, d Desired) error
	// Update writes values of a cgroup that must exist already.
	Update(ctx context.Context, d Desired) error
	// Remove kills what is left in the cgroup and in all below it, then removes them. A cgroup that is not there is
	// success. It ends with the context at the latest, with ErrBusy when processes survive.
	Remove(ctx context.Context, n Name) error
	// Exists says whether the cgroup is there with all controllers that it needs.
	Exists(n Name) bool
	// Children lists the cgroups directly below n, in any hierarchy.
	Children(n Name) ([]Name, error)
	// Parent returns the cgroup as CRI's cgroup_parent names it.
	Parent(n Name) string
}

// Layout says where the tree of pods hangs.
type Layout struct {
	// Root is --cgroup-root; empty for the root of the hierarchy.
	Root Name
	// PerQOS is cgroupsPerQOS. Without it there are no pod cgroups at all: pods run where the runtime puts them.
	PerQOS bool
}

// Kubepods returns the cgroup that holds all pods.
func (l Layout) Kubepods() Name {
	if !l.PerQOS {
		return l.Root
	}
	return l.Root.Child("kubepods")
}

// QOS returns the cgroup of a QoS class; guaranteed pods have no tier of their own.
func (l Layout) QOS(class v1.PodQOSClass) Name {
	switch class {
	case v1.PodQOSBurstable:
		return l.Kubepods().Child("burstable")
	case v1.PodQOSBestEffort:
		return l.Kubepods().Child("besteffort")
	case v1.PodQOSGuaranteed:
	}
	return l.Kubepods()
}

// Tiers returns the cgroups that pod cgroups hang under.
func (l Layout) Tiers() []Name {
	return []Name{l.Kubepods(), l.QOS(v1.PodQOSBurstable), l.QOS(v1.PodQOSBestEffort)}
}

// Pod returns the cgroup of a pod.
func (l Layout) Pod(uid model.UID, class v1.PodQOSClass) Name {
	return l.QOS(class).Child(podPrefix + string(uid))
}
