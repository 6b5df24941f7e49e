package podstatus

import (
	"slices"
	"sort"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Reasons of a waiting container that has never run.
const (
	reasonCreating     = "ContainerCreating"
	reasonInitializing = "PodInitializing"
	reasonUnknown      = "ContainerStatusUnknown"
	messageLost        = "The container could not be located when the pod was terminated"
	messageInitGone    = "The init container is no longer in the runtime and the pod has been initialized, so it counts as ended well"
	exitLost           = 137
)

func (b *builder) containers(specs []v1.Container, prev []v1.ContainerStatus, init bool) []v1.ContainerStatus {
	if len(specs) == 0 {
		return nil
	}
	out := make([]v1.ContainerStatus, 0, len(specs))
	for i := range specs {
		out = append(out, b.container(&specs[i], find(prev, specs[i].Name), init))
	}
	if !init {
		sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	}
	return out
}

func (b *builder) ephemeral(prev []v1.ContainerStatus) []v1.ContainerStatus {
	specs := b.pod.Spec.EphemeralContainers
	if len(specs) == 0 {
		return nil
	}
	out := make([]v1.ContainerStatus, 0, len(specs))
	for i := range specs {
		c := v1.Container(specs[i].EphemeralContainerCommon)
		st := b.container(&c, find(prev, c.Name), false)
		st.Ready = false
		st.Started = nil
		out = append(out, st)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// container is the status of one container: the newest instance, the one before it, and what it waits for.
func (b *builder) container(spec *v1.Container, prev *v1.ContainerStatus, init bool) v1.ContainerStatus {
	v := b.s.Views[spec.Name]
	st := v1.ContainerStatus{Name: spec.Name, Image: spec.Image, RestartCount: v.RestartCount, VolumeMounts: b.volumeMounts(spec, prev)}
	if prev != nil {
		st.RestartCount = max(st.RestartCount, prev.RestartCount)
		st.LastTerminationState = prev.LastTerminationState
	}
	waiting := &v1.ContainerStateWaiting{Reason: reasonCreating}
	if b.hasInit() {
		waiting.Reason = reasonInitializing
	}
	if v.WaitingReason != "" {
		waiting.Reason, waiting.Message = v.WaitingReason, v.WaitingMessage
	}
	cur := v.Current
	if v.Last != nil && v.Last.Detailed {
		st.LastTerminationState = v1.ContainerState{Terminated: b.terminated(v.Last)}
	}
	// An end that was made up (closeOne) is no container's: it is nobody's last one.
	if prev != nil && cur != nil && prev.State.Terminated != nil && prev.ContainerID != "" && prev.ContainerID != b.id(cur) && (v.Last == nil || !v.Last.Detailed) {
		st.LastTerminationState = prev.State // the runtime has only the newest one left
	}
	switch {
	case cur == nil && v.Kind == model.KindInit && init && b.appStarted():
		// It was removed after the pod had been initialized: it cannot have failed.
		st.State.Terminated = &v1.ContainerStateTerminated{Reason: "Completed", Message: messageInitGone}
		st.Ready = true
	case cur == nil:
		st.State.Waiting = waiting
	case cur.State == model.ContainerRunning && v.Stage != model.StageStarting && !cur.StartedAt.IsZero():
		b.identify(&st, cur)
		st.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(cur.StartedAt)}
		started := v.Started
		st.Started = &started
		st.Ready = v.Ready && v.Kind != model.KindInit // an init container is ready when it has ended well
	case cur.State == model.ContainerRunning && prev != nil && prev.State.Running != nil && prev.ContainerID == b.id(cur):
		b.identify(&st, cur) // its postStart runs again after a restart of the agent: what was Running stays so
		st.State.Running = prev.State.Running
		st.Started, st.Ready = prev.Started, prev.Ready
	case cur.State == model.ContainerExited && cur.Detailed:
		b.identify(&st, cur)
		end := b.terminated(cur)
		if v.WaitingReason != "" && !v.Settled {
			st.LastTerminationState = v1.ContainerState{Terminated: end}
			st.State.Waiting = waiting
		} else {
			st.State.Terminated = end
		}
		st.Ready = init && st.State.Terminated != nil && cur.ExitCode == 0 && v.Kind == model.KindInit
	case prev != nil && prev.ContainerID == b.id(cur):
		b.identify(&st, cur) // an end whose details are still being read
		st.State, st.Ready = prev.State, prev.Ready && cur.State == model.ContainerRunning
		st.Started = prev.Started
	default:
		st.State.Waiting = waiting // created: nothing that a reader could act on yet
	}
	if st.Started == nil {
		st.Started = new(bool)
	}
	b.resources(&st, spec, cur)
	return st
}

// closeAll gives the containers of a pod that has ended a terminated state: that nothing is known of one counts as
// failure. App containers that never had their turn, because initialisation did not get that far, keep waiting; of the
// init containers those up to the last one that shows a sign of life are closed, and always the first one.
func (b *builder) closeAll(out *v1.PodStatus) {
	if !b.ended {
		return
	}
	if b.initialized() {
		for i := range out.ContainerStatuses {
			closeOne(&out.ContainerStatuses[i])
		}
	}
	last := 0
	for i := range out.InitContainerStatuses {
		if st := &out.InitContainerStatuses[i]; st.State.Waiting == nil || st.LastTerminationState.Terminated != nil {
			last = i
		}
	}
	for i := range out.InitContainerStatuses {
		if i <= last {
			closeOne(&out.InitContainerStatuses[i])
		}
	}
}

func closeOne(st *v1.ContainerStatus) {
	if st.State.Terminated == nil {
		st.State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{Reason: reasonUnknown, Message: messageLost, ExitCode: exitLost}}
		st.Ready = false
	}
}

// initialized: every init container has done its part, so app containers had their turn.
func (b *builder) initialized() bool {
	for i := range b.pod.Spec.Containers {
		if b.s.Views[b.pod.Spec.Containers[i].Name].Current != nil {
			return true
		}
	}
	for i := range b.pod.Spec.InitContainers {
		v := b.s.Views[b.pod.Spec.InitContainers[i].Name]
		switch {
		case v.Kind == model.KindSidecar && v.Current == nil,
			v.Kind == model.KindInit && (v.Current == nil || v.Current.State != model.ContainerExited || v.Current.ExitCode != 0):
			return false
		}
	}
	return true
}

func (b *builder) id(c *model.Container) string {
	if c.ID == "" {
		return ""
	}
	return b.node.RuntimeName + "://" + string(c.ID)
}

func (b *builder) identify(st *v1.ContainerStatus, c *model.Container) {
	st.ContainerID = b.id(c)
	if c.Image != "" {
		st.Image = c.Image
	}
	st.ImageID = c.ImageRef
	if st.ImageID == "" {
		st.ImageID = c.ImageID
	}
	st.RestartCount = max(st.RestartCount, int32(c.Attempt))
	if c.State == model.ContainerRunning && c.User != nil && c.User.Linux != nil {
		st.User = &v1.ContainerUser{Linux: &v1.LinuxContainerUser{UID: c.User.Linux.Uid, GID: c.User.Linux.Gid, SupplementalGroups: c.User.Linux.SupplementalGroups}}
	}
}

func (b *builder) terminated(c *model.Container) *v1.ContainerStateTerminated {
	return &v1.ContainerStateTerminated{
		ExitCode: c.ExitCode, Reason: c.Reason, Message: c.Message,
		StartedAt: metav1.NewTime(c.StartedAt), FinishedAt: metav1.NewTime(c.FinishedAt), ContainerID: b.id(c),
	}
}

func find(list []v1.ContainerStatus, name string) *v1.ContainerStatus {
	if i := slices.IndexFunc(list, func(s v1.ContainerStatus) bool { return s.Name == name }); i >= 0 {
		return &list[i]
	}
	return nil
}

// join prints names as the kubelet's messages do: [a b].
func join(names []string) string { return "[" + strings.Join(names, " ") + "]" }
