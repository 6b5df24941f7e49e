package garbage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/garbage/garbageplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// The functions of this file run in the runner's goroutines: they touch no actor's state.

// stopTimeout bounds the stop of a container in an unknown state.
const stopTimeout = 10 * time.Second

// collect finds what may go and removes it. again is when to look again for what is still too young.
func (d *Deps) collect(ctx context.Context, cfg Config, all bool) (again time.Time, err error) {
	in := garbageplan.Input{Now: time.Now(), Policy: cfg.Policy, All: all}
	// Files first, the runtime next and the pods last: what came between is then known to a later list.
	if in.Logs, err = logDirs(cfg.LogsRoot); err != nil {
		return again, err
	}
	in.Links = danglingLinks(cfg.LinksDir)
	if in.Containers, err = d.Runtime.ListContainers(ctx, cri.ContainerFilter{}); err != nil {
		return again, fmt.Errorf("list containers: %w", err)
	}
	if in.Sandboxes, err = d.Runtime.ListPodSandbox(ctx, cri.SandboxFilter{}); err != nil {
		return again, fmt.Errorf("list sandboxes: %w", err)
	}
	in.Pods = owned(d.Pods.List())
	out := garbageplan.Next(in)
	err = d.remove(ctx, cfg, out)
	if len(out.Files)+len(out.Dirs) > 0 { // links to what has just gone
		links := garbageplan.Next(garbageplan.Input{Now: in.Now, Policy: cfg.Policy, Containers: in.Containers, Links: danglingLinks(cfg.LinksDir)})
		err = errors.Join(err, d.remove(ctx, cfg, garbageplan.Output{Links: links.Links}))
	}
	return out.Again, err
}

// remove goes on after a failure: one hung container must not keep the rest.
func (d *Deps) remove(ctx context.Context, cfg Config, out garbageplan.Output) error {
	var errs []error
	fail := func(err error) {
		if err != nil && len(errs) < 5 {
			errs = append(errs, err)
		}
	}
	for i := range out.Containers {
		if ctx.Err() != nil {
			break
		}
		fail(d.removeContainer(ctx, cfg, &out.Containers[i]))
	}
	for _, b := range out.Sandboxes {
		if ctx.Err() != nil {
			break
		}
		fail(d.removeSandbox(ctx, cfg, b.ID))
	}
	for _, list := range [][]string{out.Files, out.Links} {
		for _, f := range list {
			if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				fail(err)
			}
		}
	}
	for _, dir := range out.Dirs {
		d.Logger.V(2).Info("Removing the logs of a pod that is gone", "path", dir)
		fail(os.RemoveAll(dir))
	}
	if n := len(out.Containers) + len(out.Sandboxes); n > 0 {
		d.Logger.V(2).Info("Removed dead containers", "containers", len(out.Containers), "sandboxes", len(out.Sandboxes), "logs", len(out.Files)+len(out.Dirs), "failures", len(errs))
	}
	return errors.Join(append(errs, ctx.Err())...)
}

func (d *Deps) removeContainer(ctx context.Context, cfg Config, c *model.Container) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.CallTimeout)
	defer cancel()
	if c.State == model.ContainerUnknown { // it may run
		if err := d.Runtime.StopContainer(ctx, c.ID, stopTimeout); failed(err) {
			return fmt.Errorf("stop container %s: %w", c.ID, err)
		}
	}
	if err := d.Runtime.RemoveContainer(ctx, c.ID); failed(err) {
		return fmt.Errorf("remove container %s: %w", c.ID, err)
	}
	return nil
}

func (d *Deps) removeSandbox(ctx context.Context, cfg Config, id model.SandboxID) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.CallTimeout)
	defer cancel()
	if err := d.Runtime.StopPodSandbox(ctx, id); failed(err) {
		return fmt.Errorf("stop sandbox %s: %w", id, err)
	}
	if err := d.Runtime.RemovePodSandbox(ctx, id); failed(err) {
		return fmt.Errorf("remove sandbox %s: %w", id, err)
	}
	return nil
}

// owned turns pods into what the plan needs to know of them.
func owned(pods []*v1.Pod) map[model.UID]garbageplan.Pod {
	out := make(map[model.UID]garbageplan.Pod, len(pods))
	for _, pod := range pods {
		p := garbageplan.Pod{Ended: pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed, Told: map[model.ContainerID]struct{}{}}
		for _, list := range statuses(pod) {
			for i := range list {
				for _, st := range []v1.ContainerState{list[i].State, list[i].LastTerminationState} {
					if st.Terminated != nil {
						p.Told[trimScheme(st.Terminated.ContainerID)] = struct{}{}
					}
				}
			}
		}
		out[pod.UID] = p
	}
	return out
}

func statuses(pod *v1.Pod) [3][]v1.ContainerStatus {
	return [3][]v1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses}
}

func trimScheme(id string) model.ContainerID {
	if _, rest, ok := strings.Cut(id, "://"); ok {
		id = rest
	}
	return model.ContainerID(id)
}

// logDirs reads the tree of logs: <namespace>_<name>_<uid>/<container>/<attempt>.log[.…].
func logDirs(root string) ([]garbageplan.LogDir, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pod logs: %w", err)
	}
	var out []garbageplan.LogDir
	for _, e := range entries {
		parts := strings.Split(e.Name(), "_")
		if !e.IsDir() || len(parts) != 3 {
			continue // not a pod's
		}
		dir := garbageplan.LogDir{Path: filepath.Join(root, e.Name()), UID: model.UID(parts[2])}
		readLogs(&dir)
		out = append(out, dir)
	}
	return out, nil
}

// readLogs fills in the files. What cannot be read counts as just written: it is left alone.
func readLogs(dir *garbageplan.LogDir) {
	touch := func(info fs.FileInfo, err error) {
		switch {
		case err != nil:
			dir.Modified = time.Now()
		case info.ModTime().After(dir.Modified):
			dir.Modified = info.ModTime()
		}
	}
	touch(os.Stat(dir.Path))
	containers, err := os.ReadDir(dir.Path)
	if err != nil {
		touch(nil, err)
	}
	for _, c := range containers {
		if !c.IsDir() {
			continue
		}
		files, err := os.ReadDir(filepath.Join(dir.Path, c.Name()))
		if err != nil {
			touch(nil, err)
		}
		for _, f := range files {
			touch(f.Info())
			number, rest, _ := strings.Cut(f.Name(), ".")
			n, err := strconv.ParseUint(number, 10, 31)
			if err != nil || rest != "log" && !strings.HasPrefix(rest, "log.") {
				continue
			}
			dir.Files = append(dir.Files, garbageplan.LogFile{Path: filepath.Join(dir.Path, c.Name(), f.Name()), Container: c.Name(), Attempt: uint32(n)})
		}
	}
}

// danglingLinks are the links <pod>_<namespace>_<container>-<id>.log that point nowhere.
func danglingLinks(dir string) []garbageplan.Link {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // nobody has made links
	}
	var out []garbageplan.Link
	for _, e := range entries {
		name, isLog := strings.CutSuffix(e.Name(), ".log")
		if !isLog || e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		out = append(out, garbageplan.Link{Path: path, ID: model.ContainerID(name[strings.LastIndexByte(name, '-')+1:])})
	}
	return out
}

// failed: what is not there need not be removed.
func failed(err error) bool { return err != nil && cri.ClassOf(err) != model.OutcomeNotFound }
