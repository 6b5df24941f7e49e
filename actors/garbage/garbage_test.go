package garbage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/garbage/garbageplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/reclaimmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// world is a runtime with containers, and the list of pods.
type world struct {
	cri.Runtime
	mu         sync.Mutex
	pods       []*v1.Pod
	containers []model.Container
	sandboxes  []model.Sandbox
	lists      int
	calls      []string
	fail       map[string]error
	slow       time.Duration
	ready      bool
	events     []string
	ref        spawn.Ref
}

func (w *world) List() []*v1.Pod { w.mu.Lock(); defer w.mu.Unlock(); return slices.Clone(w.pods) }

func (w *world) ListContainers(context.Context, cri.ContainerFilter) ([]model.Container, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists++
	return slices.Clone(w.containers), w.fail["list"]
}

func (w *world) ListPodSandbox(context.Context, cri.SandboxFilter) ([]model.Sandbox, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sandboxes), nil
}

func (w *world) call(what string) error {
	time.Sleep(w.slow)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, what)
	return w.fail[what]
}

func (w *world) StopContainer(_ context.Context, id model.ContainerID, _ time.Duration) error {
	return w.call("stop " + string(id))
}
func (w *world) StopPodSandbox(_ context.Context, id model.SandboxID) error {
	return w.call("stop " + string(id))
}

func (w *world) RemoveContainer(_ context.Context, id model.ContainerID) error {
	err := w.call("remove " + string(id))
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.containers = slices.DeleteFunc(w.containers, func(c model.Container) bool { return c.ID == id })
	}
	return err
}

func (w *world) RemovePodSandbox(_ context.Context, id model.SandboxID) error {
	err := w.call("remove " + string(id))
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sandboxes = slices.DeleteFunc(w.sandboxes, func(b model.Sandbox) bool { return b.ID == id })
	}
	return err
}

func newWorld(t *testing.T, cfg Config) *world {
	w := &world{ready: true, fail: map[string]error{}}
	if cfg.Policy == (garbageplan.Policy{}) {
		cfg.Policy = garbageplan.Policy{MaxPerContainer: 1, MaxTotal: -1}
	}
	system := spawn.NewSystem(spawn.Config{})
	w.ref = system.Root("garbage", Kind, New(Deps{
		Runtime: w, Runner: runner.New(runner.Config{CPUs: 2}), Pods: w, Logger: klog.Background(),
		Ready: func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.ready },
		Event: func(_, reason, _ string) { w.mu.Lock(); defer w.mu.Unlock(); w.events = append(w.events, reason) },
	}, cfg))
	t.Cleanup(func() {
		_ = system.Stop(t.Context())
		time.Sleep(time.Minute)
	})
	return w
}

// container adds an instance; a pod of its own shows the running ones.
func (w *world) container(uid, id string, attempt uint32, state model.ContainerState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.containers = append(w.containers, model.Container{
		ID: model.ContainerID(id), UID: model.UID(uid), Name: "c", Attempt: attempt, State: state, Sandbox: model.SandboxID("s-" + uid), CreatedAt: time.Now().Add(time.Duration(attempt)),
	})
	w.pods = slices.DeleteFunc(w.pods, func(p *v1.Pod) bool { return string(p.UID) == uid })
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: model.UID(uid)}}
	pod.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "c", ContainerID: "containerd://" + id}}
	w.pods = append(w.pods, pod)
}

// pass lets time pass, tick by tick.
func (w *world) pass(d time.Duration) {
	for ; d > 0; d -= 10 * time.Second {
		time.Sleep(10 * time.Second)
		w.ref.Tell(nodemsg.Tick{At: time.Now()})
		synctest.Wait()
	}
}

func (w *world) take() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := strings.Join(w.calls, ", ")
	w.calls = nil
	return out
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lists
}

func TestOnceAMinuteAndOnlyAfterAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		for i := range uint32(3) {
			w.container("a", string(rune('0'+i)), i, model.ContainerExited)
		}
		w.container("a", "3", 3, model.ContainerRunning)
		w.pass(time.Minute)
		if got := w.take(); got != "" {
			t.Fatalf("too early: %s", got)
		}
		w.pass(10 * time.Second)
		if got := w.take(); got != "remove 0, remove 1" && got != "remove 1, remove 0" {
			t.Fatalf("%s", got)
		}
		w.pass(time.Hour)
		if w.count() != 1 {
			t.Errorf("%d lists while nothing happened", w.count())
		}
		w.mu.Lock()
		w.containers[len(w.containers)-1].State = model.ContainerExited
		w.mu.Unlock()
		w.container("a", "4", 4, model.ContainerRunning)
		w.pass(time.Minute)
		if got := w.take(); got != "remove 2" || w.count() != 2 {
			t.Errorf("%s, %d lists", got, w.count())
		}
	})
}

func TestFailuresAreToldOnceAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.container("a", "0", 0, model.ContainerUnknown)
		w.container("a", "1", 1, model.ContainerExited)
		w.container("a", "2", 2, model.ContainerRunning)
		w.container("b", "b0", 0, model.ContainerExited)
		w.container("b", "b1", 1, model.ContainerExited)
		w.container("b", "b2", 2, model.ContainerRunning)
		w.fail["stop 0"] = errors.New("hung")
		w.pass(70 * time.Second)
		if got := strings.Split(w.take(), ", "); !slices.Contains(got, "stop 0") || !slices.Contains(got, "remove b0") || len(got) != 2 {
			t.Errorf("%v", got)
		}
		w.pass(2 * time.Minute)
		if len(w.events) != 1 || w.events[0] != "ContainerGCFailed" {
			t.Errorf("events %v", w.events)
		}
		w.take()
		w.mu.Lock()
		delete(w.fail, "stop 0")
		w.mu.Unlock()
		w.pass(time.Minute)
		if got := w.take(); got != "stop 0, remove 0" {
			t.Errorf("%s", got)
		}
		w.pass(10 * time.Minute)
		if got := w.take(); got != "" {
			t.Errorf("%s", got)
		}
	})
}

func TestWaitsForTheSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.container("a", "0", 0, model.ContainerExited)
		w.container("a", "1", 1, model.ContainerExited)
		w.ready = false
		w.pass(10 * time.Minute)
		var answers int
		w.ref.Tell(reclaimmsg.Now{Reply: messages.SinkFunc(func(any) { answers++ })})
		if got := w.take(); got != "" || answers != 1 || w.count() != 0 {
			t.Errorf("%s, %d answers", got, answers)
		}
	})
}

func TestReclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.container("a", "0", 0, model.ContainerExited)
		w.pods[0].Status.Phase = v1.PodSucceeded
		w.pods[0].Status.ContainerStatuses[0].State.Terminated = &v1.ContainerStateTerminated{ContainerID: "containerd://0"}
		w.sandboxes = []model.Sandbox{{ID: "s-a", UID: "a", State: model.SandboxNotReady}}
		w.slow = time.Second
		var mu sync.Mutex
		var answers []error
		ask := func() {
			w.ref.Tell(reclaimmsg.Now{Reply: messages.SinkFunc(func(m any) {
				mu.Lock()
				defer mu.Unlock()
				answers = append(answers, m.(reclaimmsg.Done).Err)
			})})
		}
		ask()
		time.Sleep(500 * time.Millisecond)
		ask() // while the first round runs: it gets one of its own
		ask()
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if got := w.take(); got != "remove 0, stop s-a, remove s-a" || len(answers) != 3 || errors.Join(answers...) != nil || w.count() != 2 {
			t.Errorf("%s; answers %v; %d lists", got, answers, w.count())
		}
	})
}

func TestFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs, links := t.TempDir(), t.TempDir()
		w := newWorld(t, Config{LogsRoot: logs, LinksDir: links})
		w.container("u1", "2", 2, model.ContainerRunning)
		write := func(name string) {
			path := filepath.Join(logs, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range []string{"ns_a_u1/c/0.log", "ns_a_u1/c/2.log", "ns_a_u1/c/notes.txt", "ns_gone_u2/c/0.log", "mine/c/0.log"} {
			write(f)
		}
		old := time.Now().Add(-time.Hour) // the bubble's clock is behind the files'
		for _, f := range []string{"ns_gone_u2/c/0.log", "ns_gone_u2/c", "ns_gone_u2"} {
			if err := os.Chtimes(filepath.Join(logs, f), old, old); err != nil {
				t.Fatal(err)
			}
		}
		for name, to := range map[string]string{"a_ns_c-2.log": "ns_a_u1/c/nothing.log", "a_ns_c-1.log": "ns_a_u1/c/1.log", "b_ns_c-9.log": "ns_a_u1/c/2.log", "a_ns_c-0.log": "ns_a_u1/c/0.log"} {
			if err := os.Symlink(filepath.Join(logs, to), filepath.Join(links, name)); err != nil {
				t.Fatal(err)
			}
		}
		w.pass(70 * time.Second)
		var left []string
		for _, root := range []string{logs, links} {
			_ = filepath.WalkDir(root, func(path string, d os.DirEntry, _ error) error {
				if !d.IsDir() {
					left = append(left, filepath.Base(path))
				}
				return nil
			})
		}
		if got := strings.Join(left, " "); got != "0.log 2.log notes.txt a_ns_c-2.log b_ns_c-9.log" {
			t.Errorf("left: %s", got)
		}
	})
}
