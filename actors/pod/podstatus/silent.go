package podstatus

import (
	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// Silent says that ev, which took a pod from stage before to stage after, changed nothing that a status shows, so that a
// status which is there needs not be built again. Building and comparing one costs more than all else in a step, and most
// of a pod's messages are silent: acknowledgements, hints, and what is made ready or taken away around its containers.
// It may be false for such an event, never true for another. (A cgroup that is ready is not silent: what a pod as a whole has
// got, after a resize, is shown.)
func Silent(ev podmsg.Event, before, after podplan.Stage) bool {
	if before != after {
		return false
	}
	switch e := ev.(type) {
	case podmsg.Acked, podmsg.Dirty, podmsg.Gate, podmsg.CgroupGone, podmsg.VolumesGone:
		return true
	case podmsg.Done:
		return e.Op == podmsg.OpRemoveContainer || e.Op == podmsg.OpRemoveDirs
	}
	return false
}
