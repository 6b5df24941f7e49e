package podstatus

import v1 "k8s.io/api/core/v1"

// volumeMounts says of each mount what it became: a recursively read-only one shows whether the runtime could make it so.
// Before the runtime has told what it can, what was shown stays.
func (b *builder) volumeMounts(spec *v1.Container, prev *v1.ContainerStatus) []v1.VolumeMountStatus {
	if len(spec.VolumeMounts) == 0 {
		return nil
	}
	if b.node.RecursiveReadOnly == nil && prev != nil && len(prev.VolumeMounts) == len(spec.VolumeMounts) {
		return prev.VolumeMounts
	}
	able := b.recursiveReadOnly()
	out := make([]v1.VolumeMountStatus, 0, len(spec.VolumeMounts))
	for i := range spec.VolumeMounts {
		m := &spec.VolumeMounts[i]
		st := v1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := v1.RecursiveReadOnlyDisabled
			if able && m.RecursiveReadOnly != nil && *m.RecursiveReadOnly != v1.RecursiveReadOnlyDisabled {
				mode = v1.RecursiveReadOnlyEnabled
			}
			st.RecursiveReadOnly = &mode
		}
		out = append(out, st)
	}
	return out
}

// recursiveReadOnly says whether the pod's handler can: its sandbox knows the handler; before there is one, only a pod
// without a class is known to have the default one.
func (b *builder) recursiveReadOnly() bool {
	switch class := b.pod.Spec.RuntimeClassName; {
	case b.s.Sandbox != nil:
		return b.node.RecursiveReadOnly[b.s.Sandbox.Handler]
	case class == nil || *class == "":
		return b.node.RecursiveReadOnly[""]
	}
	return false
}
