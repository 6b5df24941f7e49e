package logrotate

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// node is a runtime with one log for each container, and the list of pods.
type node struct {
	t       *testing.T
	dir     string
	mu      sync.Mutex
	pods    []*v1.Pod
	paths   map[model.ContainerID]string
	reopens int
	lists   int
	most    int
	now     int
	fail    error
	slow    time.Duration
	ref     spawn.Ref
}

func (n *node) List() []*v1.Pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lists++
	return n.pods
}

func (n *node) ContainerStatus(_ context.Context, id model.ContainerID) (model.Container, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return model.Container{ID: id, State: model.ContainerRunning, LogPath: n.paths[id]}, nil
}

func (n *node) ReopenContainerLog(_ context.Context, id model.ContainerID) error {
	n.mu.Lock()
	n.now++
	n.most = max(n.most, n.now)
	fail, slow, path := n.fail, n.slow, n.paths[id]
	n.mu.Unlock()
	time.Sleep(slow)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now--
	n.reopens++
	if fail != nil {
		return fail
	}
	return os.WriteFile(path, nil, 0o640)
}

func newNode(t *testing.T, cfg Config) *node {
	n := &node{t: t, dir: t.TempDir(), paths: map[model.ContainerID]string{}}
	if cfg.Tick == 0 {
		cfg.Tick = 10 * time.Second
	}
	if cfg.Interval == 0 {
		cfg.Interval = cfg.Tick
	}
	system := spawn.NewSystem(spawn.Config{})
	n.ref = system.Root("logs", Kind, New(Deps{
		Runtime: n, Runner: runner.New(runner.Config{CPUs: 2}), Pods: n, LogDir: func(p *v1.Pod) string { return filepath.Join(n.dir, p.Name) }, Logger: klog.Background(),
	}, cfg))
	t.Cleanup(func() {
		_ = system.Stop(t.Context())
		time.Sleep(time.Minute)
	})
	return n
}

// pod adds a pod with one running container of this restart count.
func (n *node) pod(name string, count int32) string {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "c", RestartCount: count, ContainerID: "containerd://" + name, State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pods = append(n.pods, p)
	path := filepath.Join(n.dir, name, "c", fmt.Sprintf("%d.log", count))
	n.paths[model.ContainerID(name)] = path
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		n.t.Fatal(err)
	}
	return path
}

func (n *node) write(path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		n.t.Fatal(err)
	}
}

// tick lets one period pass.
func (n *node) tick() {
	time.Sleep(10 * time.Second)
	n.ref.Tell(nodemsg.Tick{At: time.Now()})
	synctest.Wait()
}

func (n *node) files(path string) string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{MaxSize: 10, MaxFiles: 3, Workers: 1})
		path := n.pod("[a", 2) // a name that a pattern would not find
		n.write(path, "123456789")
		n.tick()
		if got := n.files(path); got != "2.log" || n.reopens != 0 {
			t.Fatalf("small enough: %s", got)
		}
		n.write(path, "first....\n")
		n.tick()
		first := "2.log." + time.Now().Format("20060102-150405")
		if got := n.files(path); got != "2.log "+first {
			t.Fatalf("once: %s", got)
		}
		n.write(path, "second...\n")
		n.tick()
		second := "2.log." + time.Now().Format("20060102-150405")
		if got := n.files(path); got != "2.log "+first+".gz "+second {
			t.Fatalf("twice: %s", got)
		}
		f, err := os.Open(filepath.Join(filepath.Dir(path), first+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(z); err != nil || string(text) != "first....\n" {
			t.Errorf("%q %v", text, err)
		}
		if info, _ := f.Stat(); info.Mode().Perm() != 0o640 {
			t.Errorf("mode %v", info.Mode())
		}
		n.write(path, "third....\n")
		n.tick()
		third := "2.log." + time.Now().Format("20060102-150405")
		if got := n.files(path); got != "2.log "+second+".gz "+third {
			t.Fatalf("three times: %s", got)
		}
	})
}

// A runtime that does not reopen keeps writing into the renamed file: nothing may be lost.
func TestFailedReopenTakesTheNameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{MaxSize: 10, MaxFiles: 3, Workers: 1})
		path := n.pod("a", 0)
		n.fail = errors.New("no")
		n.write(path, "0123456789")
		n.tick()
		if got := n.files(path); got != "0.log" || n.reopens != 1 {
			t.Fatalf("%s after %d", got, n.reopens)
		}
		n.mu.Lock()
		n.fail = nil
		n.mu.Unlock()
		n.tick()
		if got := n.files(path); len(strings.Fields(got)) != 2 {
			t.Fatal(got)
		}
	})
}

func TestOnlyRunningOnesAndLostFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{MaxSize: 10, MaxFiles: 3, Workers: 1})
		ended := n.pod("ended", 0)
		n.pods[0].Status.ContainerStatuses[0].State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{}}
		n.write(ended, "0123456789")
		gone := n.pod("gone", 0) // somebody removed its log
		// The count that the API remembers is not the one in the file's name.
		elsewhere := filepath.Join(n.dir, "elsewhere.log")
		n.pod("odd", 7)
		n.paths["odd"] = elsewhere
		n.write(elsewhere, "0123456789")
		n.tick()
		if got := n.files(ended); got != "0.log" {
			t.Errorf("ended: %s", got)
		}
		if got := n.files(gone); got != "0.log" {
			t.Errorf("gone: %s", got)
		}
		if files, _ := filepath.Glob(elsewhere + "*"); len(files) != 2 {
			t.Errorf("odd: %v", files)
		}
	})
}

func TestWorkersBoundRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{MaxSize: 1, MaxFiles: 3, Workers: 2})
		for i := range 7 {
			n.write(n.pod(fmt.Sprint("p", i), 0), "xx")
		}
		n.slow = 15 * time.Second // longer than a tick: what waits must not be queued twice
		for range 8 {
			n.tick()
		}
		if n.most != 2 || n.reopens != 7 {
			t.Errorf("%d at once, %d in all", n.most, n.reopens)
		}
	})
}

func TestIntervals(t *testing.T) {
	for _, c := range []struct {
		size      int64
		interval  time.Duration
		wantLists int
	}{{10, 10 * time.Second, 12}, {10, time.Minute, 2}, {10, 4 * time.Second, 30}, {-1, 4 * time.Second, 0}, {-1, time.Minute, 0}} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t, Config{MaxSize: c.size, MaxFiles: 3, Workers: 1, Interval: c.interval})
			time.Sleep(time.Millisecond)
			for range 12 {
				n.tick()
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.lists != c.wantLists {
				t.Errorf("size %d, interval %v: looked %d times, want %d", c.size, c.interval, n.lists, c.wantLists)
			}
		})
	}
}

func BenchmarkScan(b *testing.B) {
	dir := b.TempDir()
	n := &node{paths: map[model.ContainerID]string{}, dir: dir}
	for i := range 500 {
		path := n.pod(fmt.Sprint("p", i), 0)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	d := &Deps{Runtime: n, Pods: n, LogDir: func(p *v1.Pod) string { return filepath.Join(dir, p.Name) }, Logger: klog.Background()}
	for b.Loop() {
		if out := d.scan(b.Context(), 10, nil, nil); len(out.large) > 0 {
			b.Fatal(out)
		}
	}
}
