// Package imagegcplan decides which images may go, and in which order. It is pure. An image that a container of any state
// uses stays, and so does one that the runtime has pinned; of the others the one goes first that was not used for longest.
package imagegcplan

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/troupe-dev/troupe/messages/model"
)

// Policy is the part of KubeletConfiguration that governs images.
type Policy struct {
	// High is the usage of the disk, in percent, from which images go until it is at Low. 100 switches that off.
	High, Low int
	// MinAge is how long an image is known at least before it may go, MaxAge how long it may stay unused; 0 for ever.
	MinAge, MaxAge time.Duration
}

// Off says that no image ever goes by itself.
func (p Policy) Off() bool { return p.High >= 100 && p.MaxAge == 0 }

// Record is what is remembered of an image.
type Record struct {
	// Detected is when it was first seen, Used when it was last seen in use; zero when it never was.
	Detected, Used time.Time
}

// State is what is remembered of all images, by id. The zero value is usable; it is never changed in place.
type State map[string]Record

// Observe takes what a look at now found: images that are there, and the ids of those in use.
func Observe(s State, now time.Time, images []model.ImageInfo, used map[string]struct{}) State {
	next := make(State, len(images))
	for _, i := range images {
		r, known := s[i.ID]
		if !known {
			r.Detected = now
		}
		if _, in := used[i.ID]; in {
			r.Used = now
		}
		next[i.ID] = r
	}
	return next
}

// Candidate is an image that nobody uses.
type Candidate struct {
	model.ImageInfo
	Record
}

// Unused lists what nobody uses, longest unused first; never used ones come before all others, the oldest first.
func Unused(s State, images []model.ImageInfo, used map[string]struct{}) []Candidate {
	var out []Candidate
	for _, i := range images {
		if _, in := used[i.ID]; !in && !i.Pinned {
			out = append(out, Candidate{i, s[i.ID]})
		}
	}
	slices.SortFunc(out, func(a, b Candidate) int {
		return cmp.Or(a.Used.Compare(b.Used), a.Detected.Compare(b.Detected), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Old are those that were unused for longer than MaxAge. Until the agent has run for as long it cannot know.
func Old(list []Candidate, p Policy, now, began time.Time) []Candidate {
	if p.MaxAge == 0 || now.Sub(began) <= p.MaxAge {
		return nil
	}
	var out []Candidate
	for _, c := range list {
		since := c.Used
		if since.Before(c.Detected) {
			since = c.Detected
		}
		if now.Sub(since) > p.MaxAge {
			out = append(out, c)
		}
	}
	return out
}

// Ripe are those that may go for the sake of room: known for at least MinAge.
func Ripe(list []Candidate, p Policy, now time.Time) []Candidate {
	var out []Candidate
	for _, c := range list {
		if now.Sub(c.Detected) >= p.MinAge {
			out = append(out, c)
		}
	}
	return out
}

// Disk is the file system of the images, in bytes.
type Disk struct{ Capacity, Available model.Bytes }

// Usage is in percent.
func (d Disk) Usage() int {
	if d.Capacity <= 0 {
		return 0
	}
	return 100 - int(min(d.Available, d.Capacity)*100/d.Capacity)
}

// Need is how much has to go; 0 when nothing has.
func Need(d Disk, p Policy) model.Bytes {
	if p.High >= 100 || d.Usage() < p.High {
		return 0
	}
	return max(d.Capacity*model.Bytes(100-p.Low)/100-min(d.Available, d.Capacity), 0)
}

// Without is the state without images that were removed.
func Without(s State, removed map[string]struct{}) State {
	next := maps.Clone(s)
	for id := range removed {
		delete(next, id)
	}
	return next
}
