package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/volume/nodelocal"
	"github.com/troupe-dev/troupe/actors/volume/payload"
	"github.com/troupe-dev/troupe/actors/volume/plugin"
	"github.com/troupe-dev/troupe/actors/volume/podtree"
	"github.com/troupe-dev/troupe/actors/volume/volumeplan"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/runner"
)

// Deadlines of the effects. A gather waits for the API server, a write for the disk.
const (
	gatherTimeout = 30 * time.Second
	writeTimeout  = 2 * time.Minute
	removeTimeout = 2 * time.Minute
	listTimeout   = time.Minute
)

// worker performs the effects. It holds no domain state; its gate keeps two effects out of one pod's directory.
type worker struct {
	run     Runner
	root    string
	resync  time.Duration
	plugins []plugin.Plugin
	tree    podtree.Tree
	gate    gate
}

func newWorker(d Deps, cfg Config) *worker {
	local := nodelocal.All(nodelocal.Deps{Mounts: d.Mounts, Objects: d.Objects, Tokens: d.Tokens, Allocatable: d.Allocatable, Logger: d.Logger})
	return &worker{run: d.Runner, root: cfg.RootDir, resync: cfg.Resync, plugins: append(append([]plugin.Plugin{}, d.Plugins...), local...), tree: podtree.Tree{Mounts: d.Mounts}}
}

// attempt is one set-up of all volumes of a pod.
type attempt struct {
	*worker
	setUp volumeplan.SetUp
	owner string
	done  func(volumeplan.Event)

	jobs     []job
	failures []volumeplan.Failure
}

// job is one volume of an attempt.
type job struct {
	req    plugin.Request
	plugin plugin.Plugin
	write  plugin.Write
}

// setUp gathers, if anything has to be waited for, and then writes. done is called once.
func (w *worker) setUp(ctx context.Context, a volumeplan.SetUp, owner string, done func(volumeplan.Event)) {
	at := &attempt{worker: w, setUp: a, owner: owner, done: done}
	remote := at.plan()
	if !remote {
		at.toDisk(ctx, true)
		return
	}
	w.run.Do(ctx, runner.Job{Lane: runner.API, Op: "gather volumes", Owner: owner, Timeout: gatherTimeout, OnPanic: at.panicked,
		Fn: func(jobCtx context.Context) error {
			at.gather(jobCtx)
			at.toDisk(ctx, false)
			return nil
		}})
}

// plan finds the plugin of every volume that is mounted, and tells whether one of them waits for others.
func (a *attempt) plan() (remote bool) {
	pod := a.setUp.Pod
	used := volumeplan.Mounted(pod)
	user, group := payload.FSUser(pod), payload.FSGroup(pod)
	for i := range pod.Spec.Volumes {
		vol := &pod.Spec.Volumes[i]
		if !used[vol.Name] {
			continue
		}
		p := a.find(vol)
		if p == nil {
			a.fail(vol.Name, fmt.Errorf("spec.volumes[%d].%s is not supported by this node", i, volumeplan.Unsupported(vol)))
			continue
		}
		remote = remote || p.Remote(vol)
		a.jobs = append(a.jobs, job{plugin: p, req: plugin.Request{Root: a.root, Pod: pod, Volume: vol, FSUser: user, FSGroup: group}})
	}
	return remote
}

func (w *worker) find(vol *v1.Volume) plugin.Plugin {
	for _, p := range w.plugins {
		if p.Supports(vol) {
			return p
		}
	}
	return nil
}

func (a *attempt) fail(volume string, err error) {
	a.failures = append(a.failures, volumeplan.Failure{Volume: volume, Message: fmt.Sprintf("MountVolume.SetUp failed for volume %q : %v", volume, err)})
}

func (a *attempt) gather(ctx context.Context) {
	for i := range a.jobs {
		j := &a.jobs[i]
		var err error
		if j.write, err = j.plugin.Gather(ctx, j.req); err != nil {
			a.fail(j.req.Volume.Name, err)
		}
	}
}

// toDisk writes every volume that could be gathered, even if others could not: what they wait for may take long.
func (a *attempt) toDisk(ctx context.Context, gather bool) {
	a.run.Do(ctx, runner.Job{Lane: runner.Disk, Op: "write volumes", Owner: a.owner, Timeout: writeTimeout, OnPanic: a.panicked,
		Fn: func(ctx context.Context) error {
			if gather {
				a.gather(ctx)
			}
			ev, err := a.writeAll(ctx)
			a.done(ev)
			return err
		}})
}

func (a *attempt) writeAll(ctx context.Context) (volumeplan.SetUpDone, error) {
	ev := volumeplan.SetUpDone{Gen: a.setUp.Gen, Mounts: volumeplan.Mounts{}}
	unlock, err := a.gate.lock(ctx, a.setUp.Pod.UID)
	if err != nil {
		a.fail("", err)
		ev.Failures = a.failures
		return ev, err
	}
	defer unlock()
	var first error
	remote := false
	for i := range a.jobs {
		j := &a.jobs[i]
		if j.write == nil {
			continue
		}
		err := ctx.Err()
		var res plugin.Result
		if err == nil {
			res, err = j.write(ctx)
		}
		if err != nil {
			first = errors.Join(first, err)
			a.fail(j.req.Volume.Name, err)
			continue
		}
		remote = remote || j.plugin.Remote(j.req.Volume)
		ev.Mounts[j.req.Volume.Name] = res.Mount
		ev.Refresh = earlier(ev.Refresh, res.Refresh)
	}
	if remote && a.resync > 0 {
		ev.Refresh = earlier(ev.Refresh, time.Now().Add(a.resync+rand.N(a.resync/2)))
	}
	ev.Failures = a.failures
	return ev, first
}

func (a *attempt) panicked(v any) {
	a.fail("", fmt.Errorf("internal error: %v", v))
	a.done(volumeplan.SetUpDone{Gen: a.setUp.Gen, Failures: a.failures})
}

// tearDown removes everything of the pod from the node.
func (w *worker) tearDown(ctx context.Context, a volumeplan.TearDown, uid model.UID, owner string, done func(volumeplan.Event)) {
	finish := func(err error) error {
		ev := volumeplan.TornDown{Gen: a.Gen}
		if err != nil {
			ev.Err = fmt.Sprintf("the pod's directory cannot be removed: %v", err)
		}
		done(ev)
		return err
	}
	w.run.Do(ctx, runner.Job{Lane: runner.Disk, Op: "remove pod directory", Owner: owner, Timeout: removeTimeout,
		OnPanic: func(v any) { _ = finish(fmt.Errorf("internal error: %v", v)) },
		Fn: func(ctx context.Context) error {
			unlock, err := w.gate.lock(ctx, uid)
			if err != nil {
				return finish(err)
			}
			defer unlock()
			return finish(w.tree.Remove(ctx, volumeplan.PodDir(w.root, uid)))
		}})
}

// list finds the pod directories that nobody owns; then gets them, and is not called when the folder cannot be read.
func (w *worker) list(ctx context.Context, owned map[model.UID]struct{}, then func([]model.UID)) {
	w.run.Do(ctx, runner.Job{Lane: runner.Disk, Op: "list pod directories", Owner: "/volumes", Timeout: listTimeout,
		Fn: func(ctx context.Context) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			entries, err := os.ReadDir(volumeplan.PodsDir(w.root))
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			var orphans []model.UID
			for _, e := range entries {
				uid := model.UID(e.Name())
				if _, ok := owned[uid]; !ok && e.IsDir() {
					orphans = append(orphans, uid)
				}
			}
			if len(orphans) > 0 {
				then(orphans)
			}
			return nil
		}})
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
