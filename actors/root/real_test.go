package root

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"

	"github.com/troupe-dev/troupe/messages/model"
)

// shell makes a pod of one container that runs a shell script.
func shell(name, script string, change func(*v1.Pod)) *v1.Pod {
	return newPod(name, func(p *v1.Pod) {
		c := &p.Spec.Containers[0]
		c.Image, c.ImagePullPolicy, c.Command = realImage, v1.PullNever, []string{"sh", "-c", script}
		if change != nil {
			change(p)
		}
	})
}

// obedient runs until SIGTERM.
const obedient = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"

func limited(list v1.ResourceList) func(*v1.Pod) {
	return func(p *v1.Pod) { p.Spec.Containers[0].Resources.Limits = list }
}

// A whole agent on a real containerd.
func TestReal(t *testing.T) {
	r := newReal(t)
	t.Run("a pod comes and goes", func(t *testing.T) {
		w := newRealWorld(t, r)
		uid := w.add(shell("whole", obedient, func(p *v1.Pod) {
			p.Spec.Volumes = []v1.Volume{
				{Name: "scratch", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}}},
				{Name: "info", VolumeSource: v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: []v1.DownwardAPIVolumeFile{{Path: "name", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}}},
			}
			mounts := []v1.VolumeMount{{Name: "scratch", MountPath: "/scratch"}, {Name: "info", MountPath: "/info"}}
			p.Spec.InitContainers = []v1.Container{{
				Name: "init", Image: realImage, ImagePullPolicy: v1.PullNever, Command: []string{"sh", "-c", "cp /info/name /scratch/name"}, VolumeMounts: mounts,
			}}
			p.Spec.Containers[0].VolumeMounts = mounts
			p.Spec.Containers[0].ReadinessProbe = &v1.Probe{
				PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 3, SuccessThreshold: 1,
				ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"grep", "whole", "/scratch/name"}}},
			}
		}))
		w.until(time.Minute, "the pod is Ready", func() bool { return w.ready(uid) })
		if p := w.get(uid); p.Status.PodIP == "" || p.Status.InitContainerStatuses[0].State.Terminated == nil {
			t.Errorf("status %+v", p.Status)
		}
		grace := int64(300)
		w.remove(uid, &grace)
		w.until(time.Minute, "the pod is gone long before its grace is over, as its process ends at once", func() bool { return w.get(uid) == nil })
		w.noTrace()
		w.check()
	})
	t.Run("limits hold", func(t *testing.T) {
		w := newRealWorld(t, r)
		hog := w.add(shell("hog", "tail /dev/zero", func(p *v1.Pod) {
			neverAgain(p)
			limited(v1.ResourceList{v1.ResourceMemory: resource.MustParse("40Mi")})(p)
		}))
		busy := w.add(shell("busy", "while :; do :; done", limited(v1.ResourceList{v1.ResourceCPU: resource.MustParse("200m"), v1.ResourceMemory: resource.MustParse("40Mi")})))
		w.until(time.Minute, "the hog has ended", func() bool { return w.get(hog).Status.Phase == v1.PodFailed })
		end := w.get(hog).Status.ContainerStatuses[0].State.Terminated
		if end == nil || end.Reason != "OOMKilled" || end.ExitCode != 137 {
			t.Errorf("the hog ended with %+v", end)
		}
		w.until(time.Minute, "the busy pod is Ready", func() bool { return w.ready(busy) })
		if q := quota(r, busy); q != 0.2 {
			t.Errorf("the CPU limit is %v cores", q)
		}
		used, began := usage(r, busy), time.Now()
		time.Sleep(3 * time.Second) // what is measured is time
		cores := (usage(r, busy) - used).Seconds() / time.Since(began).Seconds()
		if cores > 0.25 {
			t.Errorf("it used %.2f cores", cores)
		}
		zero := int64(0)
		w.remove(hog, nil)
		w.remove(busy, &zero)
		w.until(time.Minute, "the pods are gone", func() bool { return w.allGone([]model.UID{hog, busy}) })
		w.noTrace()
		w.check()
	})
	t.Run("a resize holds", func(t *testing.T) {
		w := newRealWorld(t, r)
		size := func(cpu, memory string) func(*v1.Pod) {
			return limited(v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse(memory)})
		}
		uid := w.add(shell("elastic", obedient, size("200m", "40Mi")))
		w.until(time.Minute, "the pod is Ready", func() bool { return w.ready(uid) })
		since, ids := time.Now(), w.containerIDs([]model.UID{uid})
		for _, to := range []struct {
			cpu, memory string
			cores       float64
			bytes       int64
		}{{"400m", "80Mi", 0.4, 80 << 20}, {"100m", "60Mi", 0.1, 60 << 20}} {
			w.change(uid, size(to.cpu, to.memory))
			w.until(time.Minute, "the status shows "+to.cpu+" and "+to.memory, func() bool {
				c := w.get(uid).Status.ContainerStatuses[0]
				return c.Resources != nil && c.Resources.Limits.Cpu().String() == to.cpu && c.Resources.Limits.Memory().String() == to.memory
			})
			// What is lowered is lowered in the container first, and the status tells of that at once.
			w.until(time.Minute, "the pod's cgroup has "+to.cpu+" and "+to.memory, func() bool {
				return quota(r, uid) == to.cores && memoryLimit(r, uid) == to.bytes
			})
			if q := containerQuota(w, uid); q != to.cores {
				t.Errorf("the container's cgroup has %v cores, want %v", q, to.cores)
			}
		}
		w.steady([]model.UID{uid}, since)
		w.same([]model.UID{uid}, ids)
		w.clear([]model.UID{uid})
	})
	t.Run("swap is shared out", func(t *testing.T) {
		// On v2 a burstable pod may use of the swap what it requests of the memory; v1 allows none.
		w := newRealWorld(t, r, func(w *world) {
			w.configure = func(k *kubeletconfigv1beta1.KubeletConfiguration) {
				if unified() {
					*k.FailSwapOn, k.MemorySwap.SwapBehavior = false, "LimitedSwap"
				}
			}
		})
		uid := w.add(shell("swaps", obedient, func(p *v1.Pod) {
			p.Spec.Containers[0].Resources = v1.ResourceRequirements{
				Requests: v1.ResourceList{v1.ResourceMemory: resource.MustParse("32Mi")},
				Limits:   v1.ResourceList{v1.ResourceMemory: resource.MustParse("64Mi")},
			}
		}))
		w.until(time.Minute, "the pod is Ready", func() bool { return w.ready(uid) })
		name, want := "memory.memsw.limit_in_bytes", float64(64<<20)
		if unified() {
			memory, swap := meminfo(t, "MemTotal"), meminfo(t, "SwapTotal")
			name, want = "memory.swap.max", (32<<20)/memory*swap
			if swap == 0 && os.Getenv("TROUPE_TEST_REQUIRE_SWAP") != "" {
				t.Error("this kernel was to have swap")
			}
		}
		got, err := strconv.ParseFloat(r.file("memory", uid, containerID(w, uid)+"/"+name), 64)
		if err != nil || math.Abs(got-want) > 4096 {
			t.Errorf("%s is %v (%v), want %v", name, got, err, want)
		}
		w.clear([]model.UID{uid})
	})
	t.Run("the runtime is killed", func(t *testing.T) {
		w := newRealWorld(t, r)
		uids := w.shells(8, "a", obedient)
		mortal := w.add(shell("mortal", "sleep 8; exit 3", nil))
		w.until(time.Minute, "all are Ready", func() bool { return w.allReady(append(uids, mortal)) })
		since, ids := time.Now(), w.containerIDs(uids)
		r.kill()
		// The mortal's container ends while there is no runtime.
		w.until(time.Minute, "its time is over", func() bool { return time.Since(since) > 10*time.Second })
		if p := w.get(mortal); !isReady(p) {
			t.Error("Ready flipped while nobody could look")
		}
		r.start()
		back := time.Now()
		w.until(30*time.Second, "the end is seen", func() bool { return restarts(w.get(mortal)) == 1 && w.ready(mortal) })
		if s := w.get(mortal).Status.ContainerStatuses[0].LastTerminationState.Terminated; s == nil || s.ExitCode != 3 && s.ExitCode != 255 {
			// containerd does not learn the code of what ended while it was away: it says 255, "Unknown".
			t.Errorf("the last end is %+v", s)
		}
		fresh := w.add(shell("fresh", obedient, nil))
		w.until(30*time.Second, "a new pod is Ready", func() bool { return w.ready(fresh) })
		t.Logf("all well %s after the runtime's return", time.Since(back))
		w.steady(uids, since)
		w.same(uids, ids)
		w.clear(append(uids, mortal, fresh))
	})
	t.Run("the agent is killed", func(t *testing.T) {
		w := newRealWorld(t, r)
		uids := w.shells(20, "b", obedient)
		w.until(2*time.Minute, "all are Ready", func() bool { return w.allReady(uids) })
		since, ids := time.Now(), w.containerIDs(uids)
		w.restart()
		// Once more, while pods come and go.
		more := w.shells(5, "c", obedient)
		w.remove(uids[0], nil)
		w.until(time.Minute, "the first sandboxes are there", func() bool { return w.get(more[0]).Status.PodIP != "" })
		w.restart()
		w.until(2*time.Minute, "all are Ready", func() bool { return w.allReady(more) && w.get(uids[0]) == nil })
		w.steady(uids[1:], since)
		w.same(uids[1:], ids[1:])
		w.clear(append(uids[1:], more...))
	})
}

func (w *world) shells(n int, prefix, script string) []model.UID {
	var uids []model.UID
	for i := range n {
		uids = append(uids, w.add(shell(fmt.Sprintf("%s%d", prefix, i), script, nil)))
	}
	return uids
}

func (w *world) containerIDs(uids []model.UID) []string {
	var ids []string
	for _, u := range uids {
		ids = append(ids, w.get(u).Status.ContainerStatuses[0].ContainerID)
	}
	return ids
}

func (w *world) same(uids []model.UID, ids []string) {
	w.t.Helper()
	for i, id := range w.containerIDs(uids) {
		if id != ids[i] {
			w.t.Errorf("%s: another container runs", w.fact(uids[i]).name)
		}
	}
}

// clear deletes pods and holds the records against the invariants.
func (w *world) clear(uids []model.UID) {
	w.t.Helper()
	for _, u := range uids {
		w.remove(u, nil)
	}
	restarted := false
	w.until(2*time.Minute, "all pods are gone", func() bool {
		if !restarted && w.leaked(uids) {
			restarted = true
			w.t.Log("containerd has leaked a task and is restarted")
			w.real.kill()
			w.real.start()
		}
		return w.allGone(uids)
	})
	w.noTrace()
	w.check()
}

// leaked says whether containerd has a task for a container that it takes for ended. A start that is cancelled while the
// task is made, as by the kill of an agent, can leave one behind (containerd 2.4.2). No CRI call ends it; after its restart
// containerd does not know the container's state, and then removes it.
func (w *world) leaked(uids []model.UID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(uids, func(uid model.UID) bool {
		e, _ := w.agent.explain(uid)
		return strings.Contains(e.LastError, "cannot delete running task")
	})
}

// quota is a pod's CPU limit in cores, containerQuota that of its one container besides the sandbox.
func quota(r *realRuntime, uid model.UID) float64 { return cores(r, uid, "") }

func containerQuota(w *world, uid model.UID) float64 {
	return cores(w.real, uid, containerID(w, uid)+"/")
}

// containerID is the runtime's id of a pod's one container, and the name of its cgroup in the pod's.
func containerID(w *world, uid model.UID) string {
	return strings.TrimPrefix(w.get(uid).Status.ContainerStatuses[0].ContainerID, "containerd://")
}

// meminfo is a line of /proc/meminfo in bytes.
func meminfo(t *testing.T, key string) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			var kib float64
			if _, err := fmt.Sscan(v, &kib); err != nil {
				t.Fatal(err)
			}
			return kib * 1024
		}
	}
	t.Fatalf("no %s", key)
	return 0
}

func cores(r *realRuntime, uid model.UID, below string) float64 {
	text := ""
	if unified() {
		text = r.file("", uid, below+"cpu.max")
	} else {
		text = r.file("cpu", uid, below+"cpu.cfs_quota_us") + " " + r.file("cpu", uid, below+"cpu.cfs_period_us")
	}
	var limit, period float64
	if _, err := fmt.Sscan(text, &limit, &period); err != nil {
		r.t.Fatalf("%q: %v", text, err)
	}
	return limit / period
}

// memoryLimit is a pod's memory limit in bytes.
func memoryLimit(r *realRuntime, uid model.UID) int64 {
	name := "memory.limit_in_bytes"
	if unified() {
		name = "memory.max"
	}
	n, err := strconv.ParseInt(r.file("memory", uid, name), 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// usage is the CPU time that a pod has used.
func usage(r *realRuntime, uid model.UID) time.Duration {
	if !unified() {
		n, _ := strconv.ParseInt(r.file("cpuacct", uid, "cpuacct.usage"), 10, 64)
		return time.Duration(n)
	}
	var n int64
	for _, line := range strings.Split(r.file("", uid, "cpu.stat"), "\n") {
		if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, _ = strconv.ParseInt(v, 10, 64)
		}
	}
	return time.Duration(n) * time.Microsecond
}
