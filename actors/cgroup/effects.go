package cgroup

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/cgroup/cgroupplan"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// The functions here run in the effect runner: they touch no state of the actor.

// applyBase makes kubepods and the tiers. Limits that the kernel may refuse come later (applyLimits), so that a node
// whose pods already use more than allocatable still starts pods. The shares of a burstable tier that is there are left
// alone: after a restart of the agent its pods are not counted yet.
func (a *actor) applyBase(ctx context.Context) error {
	app, l := a.deps.Applier, a.cfg.Pod.Layout
	if len(l.Root) > 0 && !app.Exists(l.Root) {
		return fmt.Errorf("cgroup root %s does not exist with all controllers", l.Root)
	}
	node := cgroups.Kubepods(a.cfg.Node)
	node.Resources.Memory, node.Resources.Pids = nil, nil
	if err := app.Apply(ctx, node); err != nil {
		return err
	}
	for _, tier := range cgroups.QOSTiers(l, 0, a.cfg.Pod.HugePageSizes) {
		if tier.Name.String() == l.QOS(v1.PodQOSBurstable).String() && app.Exists(tier.Name) {
			tier.Resources.CPU = nil
		}
		if err := app.Apply(ctx, tier); err != nil {
			return err
		}
	}
	return nil
}

// applyLimits enforces node allocatable and what is reserved for the system's own daemons.
func (a *actor) applyLimits(ctx context.Context) error {
	app := a.deps.Applier
	node := cgroups.Kubepods(a.cfg.Node)
	failed := a.enforced(app.Update(ctx, node), "Updated Node Allocatable limit across pods")
	reserved, err := cgroups.Reserved(a.cfg.Node)
	if err != nil {
		return errors.Join(failed, a.enforced(err, "Failed to enforce reserved cgroup limits"))
	}
	for _, d := range reserved {
		var err error
		if !app.Exists(d.Name) {
			err = fmt.Errorf("cgroup %s does not exist with all controllers", d.Name)
		} else {
			err = app.Update(ctx, d)
		}
		failed = errors.Join(failed, a.enforced(err, "Updated limits on reserved cgroup "+d.Name.String()))
	}
	return failed
}

// removePod removes the pod's cgroup from whichever tier it is in: after a restart nobody may know the class any more.
func removePod(ctx context.Context, app cgroups.Applier, l cgroups.Layout, uid model.UID) error {
	var failed error
	for _, class := range []v1.PodQOSClass{v1.PodQOSGuaranteed, v1.PodQOSBurstable, v1.PodQOSBestEffort} {
		failed = errors.Join(failed, app.Remove(ctx, l.Pod(uid, class)))
	}
	return failed
}

// list finds the pod cgroups that are there.
func (a *actor) list(c *spawn.Cell) {
	self, app, l := c.Self(), a.deps.Applier, a.cfg.Pod.Layout
	a.deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.Disk, Op: "cgroup list", Owner: "node", Timeout: applyTimeout,
		Fn: func(context.Context) error {
			var found []model.UID
			for _, tier := range l.Tiers() {
				children, err := app.Children(tier)
				if err != nil {
					self.Tell(cgroupplan.Listed{Err: err.Error()})
					return err
				}
				for _, n := range children {
					if uid, ok := cgroups.PodUID(n); ok {
						found = append(found, uid)
					}
				}
			}
			self.Tell(cgroupplan.Listed{Found: found})
			return nil
		},
		OnPanic: func(any) { self.Tell(cgroupplan.Listed{Err: "cgroup list: internal error"}) },
	})
}
