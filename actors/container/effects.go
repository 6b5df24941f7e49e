package container

import (
	"context"
	"errors"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

// The functions of this file run in the runner's goroutines: they touch no actor's state.

var errPanicked = errors.New("the call panicked; see the agent's log")

func done(err error, id model.ContainerID) containermsg.Done {
	return containermsg.Done{ID: id, Class: cri.ClassOf(err), Err: err}
}

// start starts the instance, links its log and reads what became of it.
func (d *Deps) start(ctx context.Context, cfg Config, pod *v1.Pod, spec *v1.Container, id model.ContainerID) containermsg.Done {
	out := done(d.Runtime.StartContainer(ctx, id), id)
	if out.Err != nil {
		return out
	}
	if r := d.readAfter(ctx, pod, spec, id); r.Err == nil {
		out.Status, out.ReadAt = r.Status, r.ReadAt
		linkLog(cfg, pod, r.Status)
	}
	return out
}

// afterTimeout bounds a read that only adds to a call that has succeeded: its success is not kept back by a read that
// hangs, and a read that is missing here is made later.
const afterTimeout = 2 * time.Second

func (d *Deps) readAfter(ctx context.Context, pod *v1.Pod, spec *v1.Container, id model.ContainerID) containermsg.Done {
	ctx, cancel := context.WithTimeout(ctx, afterTimeout)
	defer cancel()
	return d.read(ctx, pod, spec, id)
}

// read reads one instance by id, with the termination message of an ended one.
func (d *Deps) read(ctx context.Context, pod *v1.Pod, spec *v1.Container, id model.ContainerID) containermsg.Done {
	at := time.Now()
	st, err := d.Runtime.ContainerStatus(ctx, id)
	out := done(err, id)
	if err != nil {
		return out
	}
	if st.State == model.ContainerExited {
		message(pod, spec, &st)
	}
	out.Status, out.ReadAt = &st, at
	return out
}

// find lists the instances of one container and reads the two newest of them, which is what a status shows.
func (d *Deps) find(ctx context.Context, pod *v1.Pod, spec *v1.Container, name string, gen model.Generation) (containermsg.Event, error) {
	at := time.Now()
	fail := func(err error) (containermsg.Event, error) {
		return containermsg.Done{Gen: gen, Op: containermsg.OpStatus, Class: cri.ClassOf(err), Err: err}, err
	}
	all, err := d.Runtime.ListContainers(ctx, cri.ContainerFilter{UID: pod.UID})
	if err != nil {
		return fail(err)
	}
	slices.SortStableFunc(all, func(a, b model.Container) int { return b.CreatedAt.Compare(a.CreatedAt) }) // newest first
	look := containermsg.Look{At: at}
	for _, c := range all {
		if c.Name != name || len(look.Instances) == 2 {
			continue
		}
		r := d.read(ctx, pod, spec, c.ID)
		switch r.Class {
		case model.OutcomeOK:
			r.Status.Sandbox = c.Sandbox // a read by id does not name it
			look.Instances = append(look.Instances, *r.Status)
		case model.OutcomeNotFound:
		case model.OutcomeRefused, model.OutcomeUnknown:
			return fail(r.Err)
		}
	}
	return look, nil
}

// stop stops the instance and reads how it ended.
func (d *Deps) stop(ctx context.Context, pod *v1.Pod, spec *v1.Container, id model.ContainerID, grace time.Duration) containermsg.Done {
	out := done(d.Runtime.StopContainer(ctx, id, grace), id)
	if out.Err != nil {
		return out
	}
	if r := d.readAfter(ctx, pod, spec, id); r.Err == nil {
		out.Status, out.ReadAt = r.Status, r.ReadAt
	}
	return out
}

// hook runs a lifecycle hook.
func (d *Deps) hook(ctx context.Context, pod *v1.Pod, spec *v1.Container, id model.ContainerID, ips []string, h *v1.LifecycleHandler) containermsg.Done {
	message, err := d.Hooks.Run(ctx, pod, spec, id, ips, h)
	out := containermsg.Done{ID: id, Err: err, Message: message}
	if err != nil {
		out.Class = model.OutcomeRefused
	}
	return out
}
