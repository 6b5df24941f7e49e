package volume

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/mount-utils"
	"k8s.io/utils/ptr"

	"github.com/troupe-dev/troupe/actors/object"
	"github.com/troupe-dev/troupe/actors/volume/mounts"
	"github.com/troupe-dev/troupe/actors/volume/volumeplan"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/messages/volumemsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// rig is the actor with a real disk, real mounts and objects that a test changes.
type rig struct {
	t       *testing.T
	root    string
	objects *object.Static
	events  *record.FakeRecorder
	run     *runner.Runner
	ref     spawn.Ref
	tokens  atomic.Int64

	mu   sync.Mutex
	told []any
}

// inBubble runs f with virtual time and checks that nothing stays behind.
func inBubble(t *testing.T, f func(r *rig)) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, root: root, objects: object.NewStatic(), events: record.NewFakeRecorder(1000), run: runner.New(runner.Config{})}
		sys := spawn.NewSystem(spawn.Config{OnPanic: func(p spawn.PanicInfo) { t.Errorf("panic in %s: %s\n%s", p.Where, p.Value, p.Stack) }})
		create := func(_ context.Context, _, _ string, tr *authv1.TokenRequest) (*authv1.TokenRequest, error) {
			n := r.tokens.Add(1)
			out := tr.DeepCopy()
			out.Status.Token = fmt.Sprintf("token %d of %s", n, tr.Spec.BoundObjectRef.UID)
			out.Status.ExpirationTimestamp = metav1.NewTime(time.Now().Add(time.Duration(*tr.Spec.ExpirationSeconds) * time.Second))
			return out, nil
		}
		r.ref = sys.Root("volumes", "volumes", New(Deps{
			Runner: r.run, Objects: r.objects, Tokens: object.NewTokens(create, klog.Background()),
			Mounts: mounts.New(mount.NewFakeMounter(nil)), Allocatable: func() v1.ResourceList { return nil },
			Events: r.events, Logger: klog.Background(),
		}, Config{RootDir: root}))
		f(r)
		entries, _ := os.ReadDir(volumeplan.PodsDir(root))
		for _, e := range entries {
			r.drop(model.UID(e.Name()))
		}
		if err := sys.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
	if left, _ := os.ReadDir(volumeplan.PodsDir(root)); len(left) != 0 {
		t.Errorf("left on disk: %v", left)
	}
}

func (r *rig) Tell(msg any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, msg)
}

// heard returns what the actor told since the last call, once everything that can happen now has happened.
func (r *rig) heard() []any {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.told
	r.told = nil
	return out
}

func (r *rig) want(p *v1.Pod) { r.ref.Tell(volumemsg.Want{Pod: p, Reply: r}); synctest.Wait() }

func (r *rig) drop(uid model.UID) {
	r.ref.Tell(volumemsg.Drop{UID: uid, Reply: r})
	synctest.Wait()
}

// only fails unless exactly one message of type T was heard.
func only[T any](r *rig) T {
	r.t.Helper()
	got := r.heard()
	if len(got) == 1 {
		if m, ok := got[0].(T); ok {
			return m
		}
	}
	r.t.Fatalf("heard %#v, want one %v", got, reflect.TypeFor[T]())
	panic("unreachable")
}

func (r *rig) nextEvent() string {
	select {
	case e := <-r.events.Events:
		return e
	default:
		return ""
	}
}

func pod(uid string, sources ...v1.VolumeSource) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p-" + uid, Namespace: "ns", UID: model.UID(uid)}}
	p.Spec.Containers = []v1.Container{{Name: "c"}}
	for i, s := range sources {
		name := fmt.Sprintf("v%d", i)
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: name, VolumeSource: s})
		p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, v1.VolumeMount{Name: name, MountPath: "/" + name})
	}
	return p
}

func configMapSource(name string) v1.VolumeSource {
	return v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: name}, DefaultMode: ptr.To[int32](0o644)}}
}

func cm(name, value string) *v1.ConfigMap {
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns"}, Data: map[string]string{"key": value}}
}

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestPodWithoutVolumes(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := pod("u")
		p.Spec.Volumes = []v1.Volume{{Name: "unused", VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{}}}}
		r.want(p)
		if m := only[podmsg.VolumesReady](r); len(m.Mounts) != 0 {
			t.Errorf("%+v", m)
		}
		if _, err := os.Stat(volumeplan.PodsDir(r.root)); !os.IsNotExist(err) {
			t.Error("a pod without volumes needs nothing on disk")
		}
		r.drop("u")
		only[podmsg.VolumesGone](r)
	})
}

func TestLifeOfVolumes(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.objects.Set(cm("a", "one"))
		p := pod("u", configMapSource("a"), v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: "Memory"}},
			v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{DefaultMode: ptr.To[int32](0o644), Items: []v1.DownwardAPIVolumeFile{
				{Path: "labels", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}})
		start := time.Now()
		r.want(p)
		m := only[podmsg.VolumesReady](r).Mounts
		file := filepath.Join(m["v0"].HostPath, "key")
		if len(m) != 3 || read(file) != "one" || !time.Now().Equal(start) {
			t.Fatalf("%+v, %s, after %v", m, read(file), time.Since(start))
		}
		r.objects.Set(cm("a", "two"))
		if got := r.heard(); len(got) != 0 || read(file) != "two" || !time.Now().Equal(start) {
			t.Errorf("an update is the containers' matter: %v; file holds %s", got, read(file))
		}
		labelled := p.DeepCopy()
		labelled.Labels = map[string]string{"a": "b"}
		r.want(labelled)
		only[podmsg.VolumesReady](r)
		if got := read(m["v2"].HostPath + "/labels"); got != `a="b"` {
			t.Errorf("labels %q", got)
		}
		r.drop("u")
		only[podmsg.VolumesGone](r)
		if _, err := os.Stat(volumeplan.PodDir(r.root, "u")); !os.IsNotExist(err) {
			t.Error("directory left", err)
		}
		r.objects.Set(cm("a", "three"))
		if got := r.heard(); len(got) != 0 {
			t.Errorf("after the end: %v", got)
		}
		if e := r.nextEvent(); e != "" {
			t.Errorf("event %s", e)
		}
	})
}

func TestMissingObject(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := pod("u", configMapSource("y"), v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}})
		r.want(p)
		const text = `MountVolume.SetUp failed for volume "v0" : configmap "y" not found`
		if m := only[podmsg.VolumesBlocked](r); m.Reason != "FailedMount" || m.Message != text {
			t.Errorf("%+v", m)
		}
		if e := r.nextEvent(); e != "Warning FailedMount "+text {
			t.Errorf("event %q", e)
		}
		time.Sleep(10 * time.Second) // 0.5, 1.5, 3.5, 7.5 s
		synctest.Wait()
		n := 0
		for r.nextEvent() != "" {
			n++
		}
		if n != 4 {
			t.Errorf("%d attempts in 10 s", n)
		}
		at := time.Now()
		r.objects.Set(cm("y", "here"))
		m := only[podmsg.VolumesReady](r)
		if !time.Now().Equal(at) || read(m.Mounts["v0"].HostPath+"/key") != "here" {
			t.Errorf("ready after %v", time.Since(at))
		}
	})
}

func TestUnsupported(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.want(pod("u", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}, v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{}}))
		m := only[podmsg.VolumesBlocked](r)
		if want := `MountVolume.SetUp failed for volume "v1" : spec.volumes[1].persistentVolumeClaim is not supported by this node`; m.Message != want {
			t.Errorf("%s", m.Message)
		}
	})
}

func TestTokenIsRenewed(t *testing.T) {
	inBubble(t, func(r *rig) {
		src := v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{DefaultMode: ptr.To[int32](0o644), Sources: []v1.VolumeProjection{
			{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To[int64](3600)}}}}}
		r.want(pod("u", src))
		file := filepath.Join(only[podmsg.VolumesReady](r).Mounts["v0"].HostPath, "token")
		if read(file) != "token 1 of u" {
			t.Fatal(read(file))
		}
		time.Sleep(47 * time.Minute)
		synctest.Wait()
		if r.tokens.Load() != 1 {
			t.Errorf("%d tokens after 47 minutes", r.tokens.Load())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if read(file) != "token 2 of u" || len(r.heard()) != 0 {
			t.Error(read(file))
		}
		r.drop("u")
		only[podmsg.VolumesGone](r)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if r.tokens.Load() != 2 {
			t.Errorf("%d tokens: a pod that is gone still gets them", r.tokens.Load())
		}
	})
}

func TestSweep(t *testing.T) {
	inBubble(t, func(r *rig) {
		for _, uid := range []model.UID{"mine", "orphan"} {
			dir := volumeplan.VolumeDir(r.root, uid, volumeplan.EmptyDir, "v")
			_ = os.MkdirAll(dir, 0o755)
			_ = os.WriteFile(dir+"/f", nil, 0o644)
		}
		r.want(pod("wanted", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}))
		r.ref.Tell(volumemsg.Sweep{Owned: map[model.UID]struct{}{"mine": {}}})
		synctest.Wait()
		for uid, stays := range map[model.UID]bool{"mine": true, "wanted": true, "orphan": false} {
			if _, err := os.Stat(volumeplan.PodDir(r.root, uid)); (err == nil) != stays {
				t.Errorf("%s: %v", uid, err)
			}
		}
	})
}

func TestBlockedRemovalIsNamedAndRetried(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.want(pod("u", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: "Memory"}}))
		dir := only[podmsg.VolumesReady](r).Mounts["v0"].HostPath
		f, err := os.Create(dir + "/open")
		if err != nil {
			t.Fatal(err)
		}
		r.drop("u")
		if m := only[podmsg.VolumesBlocked](r); !strings.Contains(m.Message, dir) || !strings.Contains(m.Message, "busy") {
			t.Errorf("%+v", m)
		}
		f.Close()
		time.Sleep(backoffOnce)
		only[podmsg.VolumesGone](r)
	})
}

// backoffOnce is a little more than the first pause.
const backoffOnce = volumeplan.BackoffInitial + time.Millisecond

func TestManyPodsShareOneTimer(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.objects.Set(cm("a", "one"))
		const n = 100
		for i := range n {
			r.ref.Tell(volumemsg.Want{Pod: pod(fmt.Sprint(i), configMapSource("a")), Reply: r})
		}
		if got := r.heard(); len(got) != n {
			t.Fatalf("%d answers", len(got))
		}
		r.objects.Set(cm("a", "two"))
		synctest.Wait()
		for i := range n {
			if got := read(volumeplan.VolumeDir(r.root, model.UID(fmt.Sprint(i)), volumeplan.ConfigMap, "v0") + "/key"); got != "two" {
				t.Fatalf("pod %d: %s", i, got)
			}
		}
	})
}

// What waits for the API server must not take a place on the disk lane, and what does not wait needs no other lane.
func TestLanes(t *testing.T) {
	inBubble(t, func(r *rig) {
		done := func(name runner.Lane) (n int64) {
			for _, l := range r.run.Snapshot().Lanes {
				if l.Lane == name {
					n = int64(l.Done)
				}
			}
			return n
		}
		r.want(pod("local", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}))
		if done(runner.API) != 0 || done(runner.Disk) != 1 {
			t.Errorf("local: %d, %d", done(runner.API), done(runner.Disk))
		}
		r.objects.Set(cm("a", "one"))
		r.want(pod("remote", configMapSource("a"), configMapSource("a"), v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}))
		if done(runner.API) != 1 || done(runner.Disk) != 2 {
			t.Errorf("remote: %d, %d", done(runner.API), done(runner.Disk))
		}
	})
}
