package imagegc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/imagegc/imagegcplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/reclaimmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// world is a node with images on a disk.
type world struct {
	cri.Images
	cri.Runtime
	mu      sync.Mutex
	images  []model.ImageInfo
	using   []model.Container
	pods    []*v1.Pod
	disk    imagegcplan.Disk
	err     error
	noDisk  bool
	keep    map[string]error // images that cannot be removed
	removed []string
	events  []string
	pruned  []map[string]struct{}
	lists   int
	ref     spawn.Ref
}

func (w *world) List() []*v1.Pod { w.mu.Lock(); defer w.mu.Unlock(); return w.pods }

func (w *world) ListImages(context.Context) ([]model.ImageInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists++
	return slices.Clone(w.images), w.err
}

func (w *world) ListContainers(context.Context, cri.ContainerFilter) ([]model.Container, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.using), nil
}

func (w *world) ImageFsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noDisk {
		return &runtimeapi.ImageFsInfoResponse{}, nil
	}
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: "/images"}}}}, nil
}

func (w *world) RemoveImage(_ context.Context, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.keep[id]; err != nil {
		return err
	}
	w.removed = append(w.removed, id)
	w.images = slices.DeleteFunc(w.images, func(i model.ImageInfo) bool {
		if i.ID == id {
			w.disk.Available += i.Size
		}
		return i.ID == id
	})
	return nil
}

func (w *world) Prune(left map[string]struct{}, _ time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pruned = append(w.pruned, left)
}

func newWorld(t *testing.T, p imagegcplan.Policy) *world {
	w := &world{disk: imagegcplan.Disk{Capacity: 1000, Available: 500}, keep: map[string]error{}}
	system := spawn.NewSystem(spawn.Config{})
	w.ref = system.Root("image-gc", Kind, New(Deps{
		Images: w, Runtime: w, Runner: runner.New(runner.Config{CPUs: 2}), Pods: w, Records: w, Logger: klog.Background(),
		Event: func(_, reason, text string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, reason+": "+text)
		},
		Stat: func(path string) (imagegcplan.Disk, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if path != "/images" {
				return w.disk, errors.New("wrong path " + path)
			}
			return w.disk, nil
		},
	}, Config{Policy: p, Began: time.Now()}))
	t.Cleanup(func() {
		_ = system.Stop(t.Context())
		time.Sleep(time.Minute)
	})
	return w
}

func (w *world) image(id string, size model.Bytes, tags ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.images = append(w.images, model.ImageInfo{ID: id, Size: size, RepoTags: tags})
}

func (w *world) fill(available model.Bytes) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disk.Available = available
}

func (w *world) pass(d time.Duration) {
	for ; d > 0; d -= 10 * time.Second {
		w.ref.Tell(nodemsg.Tick{At: time.Now()})
		synctest.Wait()
		time.Sleep(10 * time.Second)
	}
}

func (w *world) take() (removed, events string) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	removed, events = strings.Join(w.removed, " "), strings.Join(w.events, "; ")
	w.removed, w.events = nil, nil
	return
}

func kubelet() imagegcplan.Policy {
	return imagegcplan.Policy{High: 85, Low: 80, MinAge: 2 * time.Minute}
}

func TestFreesDownToTheLowThreshold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, kubelet())
		w.image("busy", 300)
		w.image("by-digest", 300, "r.io/d:1")
		w.image("volume", 300, "docker.io/library/data:latest")
		w.image("a", 30)
		w.using = []model.Container{{ImageID: "busy", State: model.ContainerExited}, {ImageRef: "r.io/d:1"}}
		w.pods = []*v1.Pod{{Spec: v1.PodSpec{Volumes: []v1.Volume{{VolumeSource: v1.VolumeSource{Image: &v1.ImageVolumeSource{Reference: "data"}}}}}}}
		w.pass(3 * time.Minute)
		w.image("b", 30)
		w.pass(3 * time.Minute)
		w.image("young", 30)
		w.fill(150)
		w.pass(3 * time.Minute)
		if r, _ := w.take(); r != "" {
			t.Fatalf("before the next period: %s", r)
		}
		w.pass(2 * time.Minute)
		if r, e := w.take(); r != "a b" || e != "" {
			t.Fatalf("removed %q, events %q", r, e)
		}
		if len(w.pruned) != 1 || len(w.pruned[0]) != 4 {
			t.Errorf("pruned %v", w.pruned)
		}
		w.pass(10 * time.Minute)
		if r, e := w.take(); r != "" || e != "" {
			t.Errorf("below the threshold: removed %q, events %q", r, e)
		}
	})
}

func TestNotEnoughAndFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, kubelet())
		w.image("stuck", 30)
		w.image("a", 10)
		w.keep["stuck"] = errors.New("read-only")
		w.fill(100)
		w.pass(6 * time.Minute)
		if r, e := w.take(); r != "a" || e != "" { // one failure means nothing yet
			t.Errorf("removed %q, events %q", r, e)
		}
		w.pass(5 * time.Minute)
		if _, e := w.take(); e != "ImageGCFailed: remove image stuck: read-only" {
			t.Errorf("events %q", e)
		}
		w.mu.Lock()
		delete(w.keep, "stuck")
		w.mu.Unlock()
		w.fill(100)
		w.pass(5 * time.Minute)
		r, e := w.take()
		if r != "stuck" || !strings.HasPrefix(e, "FreeDiskSpaceFailed: Insufficient free disk space on the node's image filesystem (90% of 1000 B used). Failed to free sufficient space by deleting unused images (freed 30 bytes).") || !strings.Contains(e, "ImageGCFailed") {
			t.Errorf("removed %q, events %q", r, e)
		}
		w.mu.Lock()
		w.disk = imagegcplan.Disk{}
		w.mu.Unlock()
		w.pass(5 * time.Minute)
		if _, e := w.take(); !strings.HasPrefix(e, "InvalidDiskCapacity: ") {
			t.Errorf("events %q", e)
		}
		w.mu.Lock()
		w.noDisk = true
		w.mu.Unlock()
		w.pass(5 * time.Minute)
		if _, e := w.take(); !strings.Contains(e, "names none") {
			t.Errorf("events %q", e)
		}
	})
}

func TestMaximumAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, imagegcplan.Policy{High: 100, Low: 80, MaxAge: time.Hour})
		w.image("old", 10)
		w.image("busy", 10)
		w.using = []model.Container{{ImageID: "busy"}}
		w.fill(0)
		w.pass(58 * time.Minute)
		w.image("young", 10)
		if r, _ := w.take(); r != "" {
			t.Fatalf("too early: %s", r)
		}
		w.pass(10 * time.Minute)
		if r, e := w.take(); r != "old" || e != "" {
			t.Errorf("removed %q, events %q", r, e)
		}
	})
}

func TestReclaimTakesAllThatIsUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, imagegcplan.Policy{High: 100, Low: 80, MinAge: 2 * time.Minute})
		w.image("a", 10)
		w.image("busy", 10)
		w.using = []model.Container{{ImageID: "busy"}}
		w.fill(0)
		w.pass(12 * time.Minute)
		if r, _ := w.take(); r != "" {
			t.Fatalf("switched off, yet removed %s", r)
		}
		w.image("young", 10)
		var got []reclaimmsg.Done
		w.ref.Tell(reclaimmsg.Now{Reply: messages.SinkFunc(func(m any) { got = append(got, m.(reclaimmsg.Done)) })})
		if r, _ := w.take(); r != "a" || len(got) != 1 || got[0].Freed != 10 || got[0].Err != nil {
			t.Errorf("removed %q, answers %+v", r, got)
		}
		w.err = errors.New("down")
		w.ref.Tell(reclaimmsg.Now{Reply: messages.SinkFunc(func(m any) { got = append(got, m.(reclaimmsg.Done)) })})
		if synctest.Wait(); len(got) != 2 || got[1].Err == nil {
			t.Errorf("answers %+v", got)
		}
	})
}
