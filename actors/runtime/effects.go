package runtime

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/actors/runtime/child"
	"github.com/troupe-dev/troupe/actors/runtime/runtimeplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// perform does one action of the plan. Nothing here waits.
func (r *receiver) perform(c *spawn.Cell, a runtimeplan.Action) {
	switch a := a.(type) {
	case runtimeplan.Check:
		r.call(c, "Version", r.cfg.CheckTimeout, r.check, func(why string) any { return runtimeplan.Checked{Err: why} })
	case runtimeplan.ReadStatus:
		r.call(c, "Status", r.cfg.CheckTimeout, r.status, func(why string) any { return runtimeplan.StatusRead{Err: why} })
	case runtimeplan.List:
		c.Entry().Action("list")
		r.deps.Log.V(4).Info("Listing the runtime", "epoch", a.Epoch, "why", a.Why)
		r.call(c, "List", r.cfg.ListTimeout, r.list(a.Epoch), func(why string) any { return runtimeplan.Listed{Epoch: a.Epoch, Err: why} })
	case runtimeplan.SetCIDR:
		r.call(c, "UpdateRuntimeConfig", r.cfg.CheckTimeout, r.setCIDR(a.CIDR), func(why string) any { return runtimeplan.CIDRDone{CIDR: a.CIDR, Err: why} })
	case runtimeplan.OpenStream:
		r.openStream(c, a.Gen)
	case runtimeplan.CloseStream:
		r.closeStream()
	case runtimeplan.TellGate:
		r.deps.Pods.Tell(podsmsg.RuntimeGate{RuntimeReady: a.Gate.RuntimeReady, NetworkReady: a.Gate.NetworkReady})
	case runtimeplan.TellNode:
		r.deps.Node.Tell(nodemsg.RuntimeState{State: a.Info})
	case runtimeplan.StartChild:
		r.startChild(c)
	case runtimeplan.StopChild:
		r.deps.Runner.Do(context.WithoutCancel(c.Context()), runner.Job{Lane: runner.Disk, Op: "stop runtime", Owner: c.Path(), Fn: r.deps.Child.Stop})
	case runtimeplan.Wake:
		if r.wakeCancel != nil {
			r.wakeCancel()
		}
		r.wakeCancel = c.After(time.Until(a.At), runtimeplan.Tick{})
	}
}

// call runs one read in the runner; fn sends nothing, its result is the message. A panic becomes the failure message.
func (r *receiver) call(c *spawn.Cell, op string, timeout time.Duration, fn func(context.Context) (any, error), failed func(why string) any) {
	self := c.Self()
	r.deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.Reads, Op: op, Owner: c.Path(), Timeout: timeout,
		Fn: func(ctx context.Context) error {
			msg, err := fn(ctx)
			self.Tell(msg)
			return err
		},
		OnPanic: func(v any) { self.Tell(failed(panicText(v))) },
	})
}

// lost says that an error makes an outage likely: the outcome is unknown.
func lost(err error) bool { return err != nil && cri.ClassOf(err) == model.OutcomeUnknown }

func (r *receiver) check(ctx context.Context) (any, error) {
	v, err := r.deps.Runtime.Version(ctx)
	if err != nil {
		return runtimeplan.Checked{Err: err.Error()}, err
	}
	out := runtimeplan.Checked{Name: v.GetRuntimeName(), Version: v.GetRuntimeVersion()}
	conf, err := r.deps.Runtime.RuntimeConfig(ctx)
	switch {
	case err == nil && conf.GetLinux() != nil:
		out.CgroupDriver = map[runtimeapi.CgroupDriver]string{
			runtimeapi.CgroupDriver_SYSTEMD: "systemd", runtimeapi.CgroupDriver_CGROUPFS: "cgroupfs",
		}[conf.GetLinux().GetCgroupDriver()]
	case lost(err):
		return runtimeplan.Checked{Err: err.Error()}, err
	}
	return out, nil
}

func (r *receiver) status(ctx context.Context) (any, error) {
	resp, err := r.deps.Runtime.Status(ctx, false)
	if err != nil {
		return runtimeplan.StatusRead{Err: err.Error(), Lost: lost(err)}, err
	}
	out := runtimeplan.StatusRead{}
	for _, cond := range resp.GetStatus().GetConditions() {
		switch cond.GetType() {
		case runtimeapi.RuntimeReady:
			out.RuntimeReady = cond.GetStatus()
		case runtimeapi.NetworkReady:
			out.NetworkReady = cond.GetStatus()
		}
		if !cond.GetStatus() && out.Reason == "" && (cond.GetType() == runtimeapi.RuntimeReady || cond.GetType() == runtimeapi.NetworkReady) {
			out.Reason = "container runtime " + cond.GetType() + "=false, reason:" + cond.GetReason() + " message:" + cond.GetMessage()
		}
	}
	for _, h := range resp.GetRuntimeHandlers() {
		out.Info.Handlers = append(out.Info.Handlers, handlerOf(h))
	}
	out.Info.SupplementalGroupsPolicy = resp.GetFeatures().GetSupplementalGroupsPolicy()
	return out, nil
}

func handlerOf(h *runtimeapi.RuntimeHandler) v1.NodeRuntimeHandler {
	out := v1.NodeRuntimeHandler{Name: h.GetName()}
	if f := h.GetFeatures(); f != nil {
		rro, userns := f.GetRecursiveReadOnlyMounts(), f.GetUserNamespaces()
		out.Features = &v1.NodeRuntimeHandlerFeatures{RecursiveReadOnlyMounts: &rro, UserNamespaces: &userns}
	}
	return out
}

// list reads everything and hands it to /pods itself: a list is large, and this actor has no use for it.
func (r *receiver) list(epoch uint64) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		at := time.Now()
		pods, err := ListPods(ctx, r.deps.Runtime)
		if err != nil {
			return runtimeplan.Listed{Epoch: epoch, Err: err.Error(), Lost: lost(err)}, err
		}
		if ctx.Err() == nil { // a list of an incarnation that has ended is old news
			r.deps.Pods.Tell(podsmsg.Listed{Epoch: epoch, At: at, Pods: pods})
		}
		return runtimeplan.Listed{Epoch: epoch}, nil
	}
}

func (r *receiver) setCIDR(cidr string) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		err := r.deps.Runtime.UpdateRuntimeConfig(ctx, cidr)
		if err != nil && !errors.Is(err, cri.ErrUnimplemented) {
			r.deps.Log.Error(err, "Runtime did not take the pod CIDR", "podCIDR", cidr)
		}
		return runtimeplan.CIDRDone{CIDR: cidr, Err: text(err), Lost: lost(err)}, err
	}
}

func (r *receiver) startChild(c *spawn.Cell) {
	c.Entry().Action("start child")
	self, ref := c.Self(), c.Ref()
	r.deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.Disk, Op: "start runtime", Owner: c.Path(),
		Fn: func(context.Context) error {
			// The end is told to the lasting address: an actor that was rebuilt meanwhile has taken the child over.
			pid, err := r.deps.Child.Start(func(e child.Exit) { ref.Tell(runtimeplan.ChildDown{PID: e.PID, Exit: e.String()}) })
			self.Tell(runtimeplan.ChildUp{PID: pid, Err: text(err)})
			return err
		},
		OnPanic: func(v any) { self.Tell(runtimeplan.ChildUp{Err: panicText(v)}) },
	})
}
