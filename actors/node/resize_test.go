package node

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/troupe-dev/troupe/actors/node/allocfile"
	"github.com/troupe-dev/troupe/actors/pod/allocation"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// asker is a pod that asks for resizes; it keeps the newest answer.
type asker struct {
	r   *rig
	pod *v1.Pod
	mu  sync.Mutex
	got any
	n   int // answers
}

func (a *asker) hear(m any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = m
	a.n++
}

func (a *asker) answer() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got
}

func (a *asker) answers() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

func (r *rig) join(t *testing.T, name, cpu string) *asker {
	t.Helper()
	p := pod(name, cpu)
	p.Spec.Containers[0].Name = "c"
	p.Status.QOSClass = v1.PodQOSBurstable
	if got := r.admit(p, false); !isAdmitted(got) {
		t.Fatalf("%s: %v", name, got)
	}
	return &asker{r: r, pod: p}
}

func (a *asker) ask(cpu string) any {
	a.pod = a.pod.DeepCopy()
	a.pod.Generation++
	a.pod.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}
	a.r.ref.Tell(nodemsg.Resize{Pod: a.pod, Reply: messages.SinkFunc(a.hear)})
	synctest.Wait()
	return a.answer()
}

// carried says that the pod has carried out what it was promised.
func (a *asker) carried(cpu string) {
	p := a.pod.DeepCopy()
	p.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}
	a.r.ref.Tell(nodemsg.Actuated{Pod: a.pod, Actuated: allocation.Of(p)})
	synctest.Wait()
}

func (a *asker) pending() bool {
	_, ok := a.answer().(podmsg.ResizePending)
	return ok
}

func (a *asker) has() string {
	m, ok := a.answer().(podmsg.Resized)
	if !ok {
		return ""
	}
	q := m.Allocated.Containers["c"].Requests[v1.ResourceCPU]
	return q.String()
}

func roomy(c *Config) { c.Status.MaxPods = 10 }

func TestResizeTakesTheRoomThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, roomy)
		r.up()
		a, b, c := r.join(t, "a", "500m"), r.join(t, "b", "500m"), r.join(t, "c", "500m")
		if a.ask("900m"); a.has() != "900m" {
			t.Fatalf("a: %v", a.answer())
		}
		got := b.ask("900m")
		if want := (podmsg.ResizePending{Reason: v1.PodReasonDeferred, Message: "Node didn't have enough resource: cpu, requested: 900, used: 1400, capacity: 2000", Generation: 1}); got != want {
			t.Fatalf("b: %v", got)
		}
		// c has the higher priority, so it goes first although it came later.
		c.pod = c.pod.DeepCopy()
		c.pod.Spec.Priority = new(int32)
		*c.pod.Spec.Priority = 10
		if c.ask("850m"); !c.pending() {
			t.Fatalf("c: %v", c.answer())
		}
		// A smaller promise frees its room only once it was carried out.
		a.carried("900m")
		if a.ask("300m"); a.has() != "300m" || !c.pending() {
			t.Fatalf("a: %v, c: %v", a.answer(), c.answer())
		}
		a.carried("300m")
		if c.has() != "850m" || !b.pending() {
			t.Fatalf("c: %v, b: %v", c.answer(), b.answer())
		}
		r.ref.Tell(nodemsg.Release{UID: "a"})
		synctest.Wait()
		if b.has() != "900m" {
			t.Fatalf("b: %v", b.answer())
		}
	})
}

func TestResizeTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, roomy)
		r.up()
		a := r.join(t, "a", "500m")
		if a.ask("3"); !a.pending() {
			t.Fatal(a.answer())
		}
		if a.ask("500m"); a.has() != "500m" {
			t.Fatal(a.answer())
		}
		n := a.answers()
		time.Sleep(10 * time.Minute)
		if a.answers() != n {
			t.Error("a resize that was taken back is tried again")
		}
	})
}

func TestInfeasibleIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, func(c *Config) { roomy(c); c.Resize.StaticCPU = true })
		r.up()
		a := r.join(t, "a", "500m")
		a.pod.Status.QOSClass = v1.PodQOSGuaranteed
		want := podmsg.ResizePending{Reason: v1.PodReasonInfeasible, Message: `Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"`, Generation: 1}
		if got := a.ask("600m"); got != want {
			t.Fatal(got)
		}
		n := a.answers()
		time.Sleep(10 * time.Minute)
		if a.answers() != n {
			t.Error("it was tried again")
		}
	})
}

func stateDir(t *testing.T) (string, func(*Config)) {
	dir := t.TempDir()
	return dir, func(c *Config) { roomy(c); c.StateDir = dir }
}

func onDisk(t *testing.T, dir, name string, uid types.UID) *model.Allocation {
	t.Helper()
	e, _, err := allocfile.Load(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return e[uid]
}

func TestPromiseIsOnDiskBeforeItIsAnswered(t *testing.T) {
	dir, with := stateDir(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, with)
		r.up()
		r.ref.Tell(nodemsg.Sweep{})
		a := r.join(t, "a", "500m")
		if onDisk(t, dir, allocfile.Allocated, "a") != nil {
			t.Error("an admission waits for the disk")
		}
		a.ask("700m")
		disk := onDisk(t, dir, allocfile.Allocated, "a")
		if a.has() != "700m" || disk == nil || cpuOf(disk) != "700m" {
			t.Errorf("answered %v, on disk %v", a.answer(), disk)
		}
		a.carried("700m")
		time.Sleep(time.Second)
		synctest.Wait()
		if disk := onDisk(t, dir, allocfile.Actuated, "a"); disk == nil || cpuOf(disk) != "700m" {
			t.Errorf("carried out, on disk %v", disk)
		}
		r.ref.Tell(nodemsg.Release{UID: "a"})
		time.Sleep(time.Second)
		synctest.Wait()
		if onDisk(t, dir, allocfile.Allocated, "a") != nil || onDisk(t, dir, allocfile.Actuated, "a") != nil {
			t.Error("a pod that has ended is remembered")
		}
	})
}

func TestRestartKeepsPromises(t *testing.T) {
	dir, with := stateDir(t)
	was := allocfile.Entries{}
	for _, name := range []string{"a", "b", "gone"} {
		p := pod(name, "800m")
		p.Spec.Containers[0].Name = "c"
		was[p.UID] = allocation.Of(p)
	}
	if err := allocfile.Save(dir, allocfile.Allocated, was); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, with)
		r.up()
		a := &asker{r: r, pod: pod("a", "1200m")} // its resize was pending when the agent ended
		a.pod.Spec.Containers[0].Name = "c"
		got, _ := r.admit(a.pod, true).(podmsg.Admitted)
		if got.Allocated == nil || cpuOf(got.Allocated) != "800m" {
			t.Fatalf("a is promised %v", got.Allocated)
		}
		if a.ask("1200m"); a.answer() != nil {
			t.Fatalf("answered %v before all pods were known", a.answer())
		}
		r.ref.Tell(nodemsg.Sweep{Owned: map[model.UID]struct{}{"a": {}, "b": {}}})
		synctest.Wait()
		if a.answer() != nil {
			t.Fatalf("answered %v before b has its place", a.answer())
		}
		b := pod("b", "800m")
		b.Spec.Containers[0].Name = "c"
		r.admit(b, true)
		if a.ask("1201m"); !a.pending() { // 800m are b's, and 1200m are left
			t.Fatalf("a: %v", a.answer())
		}
		if a.ask("1200m"); a.has() != "1200m" {
			t.Fatalf("a: %v", a.answer())
		}
		if onDisk(t, dir, allocfile.Allocated, "gone") != nil {
			t.Error("a pod that nobody owns is remembered")
		}
	})
}

func TestResizeDoesNotWaitForEverForAPodThatDoesNotComeBack(t *testing.T) {
	dir, with := stateDir(t)
	p := pod("b", "800m")
	if err := allocfile.Save(dir, allocfile.Allocated, allocfile.Entries{"b": allocation.Of(p)}); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, with)
		r.up()
		r.ref.Tell(nodemsg.Sweep{Owned: map[model.UID]struct{}{"a": {}, "b": {}}})
		a := r.join(t, "a", "500m")
		if a.ask("600m"); a.answer() != nil {
			t.Fatal(a.answer())
		}
		time.Sleep(rejoinPatience + time.Second)
		synctest.Wait()
		if a.has() != "600m" {
			t.Error(a.answer())
		}
	})
}

func TestCorruptRecordIsRebuilt(t *testing.T) {
	dir, with := stateDir(t)
	if err := os.WriteFile(filepath.Join(dir, allocfile.Allocated), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, with)
		r.up()
		p := pod("a", "500m")
		c := &p.Spec.Containers[0]
		c.Name = "c"
		// The API says that it runs with less than the spec asks: a resize was pending.
		p.Status.ContainerStatuses = []v1.ContainerStatus{{
			Name: "c", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}, Resources: &v1.ResourceRequirements{Requests: v1.ResourceList{"cpu": resource.MustParse("300m")}},
		}}
		got, _ := r.admit(p, true).(podmsg.Admitted)
		if got.Allocated == nil || cpuOf(got.Allocated) != "300m" || cpuOf(got.Actuated) != "300m" {
			t.Errorf("%v", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if onDisk(t, dir, allocfile.Allocated, "a") == nil {
			t.Error("the record was not written again")
		}
		if _, err := os.Stat(filepath.Join(dir, allocfile.Allocated+".corrupt")); err != nil {
			t.Error(err)
		}
	})
}

func cpuOf(a *model.Allocation) string {
	q := a.Containers["c"].Requests[v1.ResourceCPU]
	return q.String()
}
