package podstatus

import (
	"testing"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// The random worlds hold Silent to its word; this is about what they do not have, and about the gain.
func TestSilent(t *testing.T) {
	for _, tc := range []struct {
		name string
		ev   podmsg.Event
		want bool
	}{
		{"an acknowledgement", podmsg.Acked{}, true},
		{"a hint", podmsg.Dirty{}, true},
		{"what the node waits for", podmsg.Gate{}, true},
		{"the volumes are gone", podmsg.VolumesGone{}, true},
		{"the cgroup is gone", podmsg.CgroupGone{}, true},
		{"the directories are gone", podmsg.Done{Op: podmsg.OpRemoveDirs}, true},
		{"the cgroup has what a resize asked for", podmsg.CgroupReady{}, false},
		{"volumes are there, so containers may start", podmsg.VolumesReady{}, false},
		{"a sandbox that never stopped is removed", podmsg.Done{Op: podmsg.OpRemoveSandbox}, false},
		{"the sandbox has stopped", podmsg.Done{Op: podmsg.OpStopSandbox}, false},
		{"a container changed", podmsg.Child{}, false},
		{"another object", podmsg.Desired{}, false},
	} {
		if got := Silent(tc.ev, podplan.Running, podplan.Running); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
		if Silent(tc.ev, podplan.Ending, podplan.Ended) {
			t.Errorf("%s: a new stage is shown", tc.name)
		}
	}
}
