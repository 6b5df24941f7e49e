// Package usernsplan decides which range of the node's user ids a pod gets for its user namespace. It is pure.
//
// Invariants, checked by the property test: ranges of different pods never overlap; a pod keeps its range until it gives
// it back; no range holds id 0 of the node.
package usernsplan

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/troupe-dev/troupe/messages/model"
)

// Unit is what the length of a range is a multiple of, and its default (the kubelet's userNamespaces.idsPerPod).
const Unit = 65536

// Config are the ids that pods may have.
type Config struct {
	// IDs are all ids for pods, as /etc/subuid and /etc/subgid give them to the kubelet's user.
	IDs model.IDRange
	// PerPod is the length of one range.
	PerPod uint32
	// MaxPods is how many pods the ids must suffice for.
	MaxPods int
}

// Default is every id of the node but those of the first range, which are the node's own.
func Default(perPod uint32) model.IDRange {
	return model.IDRange{First: perPod, Length: uint32(1<<32 - uint64(perPod))}
}

// Ranges are the ranges in use. New makes them.
type Ranges struct {
	perPod      uint32
	first, many uint64 // in ranges
	used        map[uint64]model.UID
	of          map[model.UID]uint64
	next        uint64
}

// New starts without any range in use. It refuses ids that cannot be divided into ranges, as the kubelet does.
func New(c Config) (*Ranges, error) {
	switch {
	case c.PerPod == 0 || c.PerPod%Unit != 0:
		return nil, fmt.Errorf("user namespace length %d is not a multiple of %d", c.PerPod, Unit)
	case c.IDs.First%c.PerPod != 0:
		return nil, fmt.Errorf("the first id %d for user namespaces is not a multiple of %d", c.IDs.First, c.PerPod)
	case c.IDs.First < c.PerPod:
		return nil, fmt.Errorf("the first id %d for user namespaces must not be smaller than %d", c.IDs.First, c.PerPod)
	case c.IDs.Length%c.PerPod != 0:
		return nil, fmt.Errorf("the %d ids for user namespaces are not a multiple of %d", c.IDs.Length, c.PerPod)
	case uint64(c.IDs.First)+uint64(c.IDs.Length) > math.MaxUint32+1:
		return nil, fmt.Errorf("the ids for user namespaces end beyond %d", uint32(math.MaxUint32))
	case int64(c.IDs.Length/c.PerPod) < int64(c.MaxPods):
		return nil, fmt.Errorf("the %d ids for user namespaces are not enough for %d pods", c.IDs.Length, c.MaxPods)
	}
	return &Ranges{
		perPod: c.PerPod, first: uint64(c.IDs.First / c.PerPod), many: uint64(c.IDs.Length / c.PerPod),
		used: map[uint64]model.UID{}, of: map[model.UID]uint64{},
	}, nil
}

// Take returns the pod's range: the one it has, or a free one. A range that was given back is the last to be given out
// again: files that were left behind with its ids do not get a new owner soon.
func (r *Ranges) Take(uid model.UID) (model.IDRange, error) {
	if i, ok := r.of[uid]; ok {
		return r.at(i), nil
	}
	for range r.many {
		i := r.next
		r.next = (r.next + 1) % r.many
		if _, taken := r.used[i]; !taken {
			r.used[i], r.of[uid] = uid, i
			return r.at(i), nil
		}
	}
	return model.IDRange{}, fmt.Errorf("all %d ranges of user ids are taken", r.many)
}

// Keep puts a range that the pod was found to have in use. It refuses one that another pod has, or that is not one of ours.
func (r *Ranges) Keep(uid model.UID, have model.IDRange) error {
	i := uint64(have.First/r.perPod) - r.first
	switch owner, taken := r.used[i]; {
	case have.Length != r.perPod:
		return fmt.Errorf("the range has %d ids, not %d", have.Length, r.perPod)
	case have.First%r.perPod != 0 || uint64(have.First/r.perPod) < r.first || i >= r.many:
		return fmt.Errorf("the range from %d is not one of those for pods", have.First)
	case taken && owner != uid:
		return fmt.Errorf("the range from %d is taken by pod %s", have.First, owner)
	}
	if now, ok := r.of[uid]; ok && now != i {
		return fmt.Errorf("the pod has the range from %d already", r.at(now).First)
	}
	r.used[i], r.of[uid] = uid, i
	r.next = (i + 1) % r.many
	return nil
}

// Release gives the pod's range back. It may be repeated.
func (r *Ranges) Release(uid model.UID) {
	if i, ok := r.of[uid]; ok {
		delete(r.of, uid)
		delete(r.used, i)
	}
}

// Has says whether the pod has a range.
func (r *Ranges) Has(uid model.UID) bool {
	_, ok := r.of[uid]
	return ok
}

// Owners are the pods that have a range, in order.
func (r *Ranges) Owners() []model.UID { return slices.Sorted(maps.Keys(r.of)) }

func (r *Ranges) at(i uint64) model.IDRange {
	return model.IDRange{First: uint32(r.first+i) * r.perPod, Length: r.perPod}
}
