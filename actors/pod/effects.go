package pod

import (
	"context"
	"errors"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/actors/pod/sandboxspec"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/supervisor/registry"
)

// The functions of this file run in the runner's goroutines: they touch no actor's state.

var errPanicked = errors.New("the call panicked; see the agent's log")

func recordTook(since time.Time) registry.Attr           { return registry.Took(time.Since(since)) }
func recordClass(class model.OutcomeClass) registry.Attr { return registry.Class(class.String()) }

func done(err error) podmsg.Done {
	return podmsg.Done{Class: cri.ClassOf(err), Err: err}
}

// runSandbox makes a sandbox and reads its addresses. When only the read failed the sandbox stands all the same.
func (d *Deps) runSandbox(ctx context.Context, pod *v1.Pod, x podplan.RunSandbox) podmsg.Done {
	handler, err := d.Sandboxes.Handler(ctx, pod)
	if err != nil {
		return podmsg.Done{Class: model.OutcomeRefused, Err: err}
	}
	userns, err := d.Sandboxes.userns(ctx, pod, handler)
	if err != nil {
		return podmsg.Done{Class: model.OutcomeRefused, Err: err}
	}
	cfg, err := d.Sandboxes.Config(pod, x.Attempt, x.Parent, userns, d.Recorder)
	if err != nil {
		return podmsg.Done{Class: model.OutcomeRefused, Err: err}
	}
	if err := os.MkdirAll(cfg.LogDirectory, 0o755); err != nil {
		return podmsg.Done{Class: model.OutcomeRefused, Err: err}
	}
	id, err := d.Runtime.RunPodSandbox(ctx, cfg, handler)
	out := done(err)
	if err != nil {
		return out
	}
	read, cancel := context.WithTimeout(ctx, afterTimeout)
	defer cancel()
	if r := d.readSandbox(read, id); r.Err == nil {
		return r
	}
	out.Sandbox = model.Sandbox{ID: id, UID: pod.UID, Name: pod.Name, Namespace: pod.Namespace, Attempt: x.Attempt, State: model.SandboxReady, CreatedAt: time.Now(), Handler: handler}
	return out
}

// afterTimeout bounds the read that only adds to a sandbox that was made; a read that is missing here is made later.
const afterTimeout = 2 * time.Second

func (d *Deps) readSandbox(ctx context.Context, id model.SandboxID) podmsg.Done {
	at := time.Now()
	b, err := d.Runtime.PodSandboxStatus(ctx, id)
	out := done(err)
	if err == nil {
		out.Sandbox, out.ReadAt = b, at
		out.Sandbox.Detailed = true
	}
	return out
}

// look lists everything the runtime has of one pod.
func (d *Deps) look(ctx context.Context, pod *v1.Pod) podmsg.Done {
	at := time.Now()
	boxes, err := d.Runtime.ListPodSandbox(ctx, cri.SandboxFilter{UID: pod.UID})
	if err != nil {
		return done(err)
	}
	list, err := d.Runtime.ListContainers(ctx, cri.ContainerFilter{UID: pod.UID})
	if err != nil {
		return done(err)
	}
	out := done(nil)
	out.Look = &podmsg.Look{Observed: model.PodObserved{UID: pod.UID, Name: pod.Name, Namespace: pod.Namespace, Sandboxes: boxes, Containers: list}, At: at}
	return out
}

// removeLogs removes the pod's log directory and the flat links to its logs.
func removeLogs(cfg Config, pod *v1.Pod, links []string) podmsg.Done {
	for _, l := range links {
		_ = os.Remove(l)
	}
	dir := sandboxspec.LogDir(cfg.LogsRoot, pod)
	err := os.RemoveAll(dir)
	if err != nil {
		klog.ErrorS(err, "Could not remove the logs of a pod", "pod", klog.KObj(pod), "directory", dir)
	}
	return podmsg.Done{}
}
