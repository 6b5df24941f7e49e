package container

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/container/containerplan"
	"github.com/troupe-dev/troupe/actors/container/containerspec"
	"github.com/troupe-dev/troupe/messages/containermsg"
)

// update gives a running instance other resources and reads what it has then. It runs in a runner goroutine.
func (d *Deps) update(ctx context.Context, pod *v1.Pod, spec *v1.Container, x containerplan.Update) containermsg.Done {
	c := *spec
	c.Resources = *x.Resources
	out := done(d.Runtime.UpdateContainerResources(ctx, x.ID, containerspec.Resources(pod, &c, d.Builder.Facts().Limits)), x.ID)
	if out.Err != nil {
		return out
	}
	if r := d.read(ctx, pod, spec, x.ID); r.Err == nil {
		out.Status, out.ReadAt = r.Status, r.ReadAt
	}
	return out
}
