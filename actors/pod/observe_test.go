package pod

import (
	"fmt"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/observe"
)

type ends struct {
	observe.Nobody
	told []string
}

func (e *ends) ContainerTerminated(kind string, code int32, reason string) {
	e.told = append(e.told, fmt.Sprint(kind, " ", code, " ", reason))
}

// Each end of a container is told once, whether or not a status showed it before the next instance ran.
func TestObserveEnds(t *testing.T) {
	end := func(id string, code int32) *v1.ContainerStateTerminated {
		return &v1.ContainerStateTerminated{ContainerID: id, ExitCode: code, Reason: "Error"}
	}
	running := v1.ContainerState{Running: &v1.ContainerStateRunning{}}
	one := func(state v1.ContainerState, last *v1.ContainerStateTerminated) []v1.ContainerStatus {
		return []v1.ContainerStatus{{Name: "a", State: state, LastTerminationState: v1.ContainerState{Terminated: last}}}
	}
	dead := func(id string, code int32) v1.ContainerState { return v1.ContainerState{Terminated: end(id, code)} }
	for name, c := range map[string]struct {
		before, after []v1.ContainerStatus
		want          []string
	}{
		"nothing new":        {one(running, nil), one(running, nil), nil},
		"it ends":            {one(running, nil), one(dead("1", 139), nil), []string{"container 139 Error"}},
		"new and ended":      {nil, one(dead("1", 1), nil), []string{"container 1 Error"}},
		"told already":       {one(dead("1", 1), nil), one(dead("1", 1), nil), nil},
		"restarts":           {one(dead("1", 1), nil), one(running, end("1", 1)), nil},
		"restarted unseen":   {one(running, nil), one(running, end("1", 2)), []string{"container 2 Error"}},
		"ends again":         {one(running, end("1", 1)), one(dead("2", 3), end("1", 1)), []string{"container 3 Error"}},
		"ends again, unseen": {one(running, end("1", 1)), one(running, end("2", 4)), []string{"container 4 Error"}},
	} {
		var e ends
		observeEnds(&e, &v1.PodStatus{ContainerStatuses: c.before}, &v1.PodStatus{ContainerStatuses: c.after})
		if !slices.Equal(e.told, c.want) {
			t.Errorf("%s: %v, want %v", name, e.told, c.want)
		}
	}
	var e ends
	observeEnds(&e, &v1.PodStatus{}, &v1.PodStatus{InitContainerStatuses: one(dead("1", 0), nil), EphemeralContainerStatuses: one(dead("2", 5), nil)})
	if want := []string{"init_container 0 Error", "ephemeral_container 5 Error"}; !slices.Equal(e.told, want) {
		t.Errorf("%v, want %v", e.told, want)
	}
}
