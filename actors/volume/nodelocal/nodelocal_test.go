package nodelocal

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/mount-utils"
	"k8s.io/utils/ptr"

	"github.com/troupe-dev/troupe/actors/volume/mounts"
	"github.com/troupe-dev/troupe/actors/volume/plugin"
	"github.com/troupe-dev/troupe/actors/volume/podtree"
	"github.com/troupe-dev/troupe/actors/volume/volumeplan"
)

type objects map[string]string

func (o objects) ConfigMap(_ context.Context, _, name string) (*v1.ConfigMap, error) {
	if v, ok := o["cm/"+name]; ok {
		return &v1.ConfigMap{Data: map[string]string{"key": v}}, nil
	}
	return nil, apierrors.NewNotFound(v1.Resource("configmap"), name)
}

func (o objects) Secret(_ context.Context, _, name string) (*v1.Secret, error) {
	if v, ok := o["s/"+name]; ok {
		return &v1.Secret{Data: map[string][]byte{"key": []byte(v)}}, nil
	}
	return nil, apierrors.NewNotFound(v1.Resource("secret"), name)
}

var expiry = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func (o objects) PodToken(_ context.Context, pod *v1.Pod, audience string, seconds *int64) (string, time.Time, error) {
	return "token for " + audience, expiry, nil
}

type rig struct {
	t    testing.TB
	deps Deps
	obj  objects
	root string
	pod  *v1.Pod
}

func newRig(t testing.TB) *rig {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	r := &rig{t: t, root: t.TempDir(), obj: objects{"cm/a": "one", "s/a": "hidden"}}
	r.deps = Deps{Mounts: mounts.New(mount.NewFakeMounter(nil)), Objects: r.obj, Tokens: r.obj, Logger: klog.Background(),
		Allocatable: func() v1.ResourceList {
			return v1.ResourceList{"memory": resource.MustParse("64Mi"), "cpu": resource.MustParse("4")}
		}}
	r.pod = &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Labels: map[string]string{"app": "web"}}}
	r.pod.Spec.Containers = []v1.Container{{Name: "c", VolumeMounts: []v1.VolumeMount{{Name: "v", MountPath: "/v"}, {Name: "w", MountPath: "/v/inner"}}}}
	t.Cleanup(func() {
		if err := (podtree.Tree{Mounts: r.deps.Mounts}).Remove(context.Background(), volumeplan.PodDir(r.root, "u")); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) setUp(src v1.VolumeSource, group, user *int64) (plugin.Result, error) {
	v := &v1.Volume{Name: "v", VolumeSource: src}
	for _, p := range All(r.deps) {
		if p.Supports(v) {
			write, err := p.Gather(context.Background(), plugin.Request{Root: r.root, Pod: r.pod, Volume: v, FSGroup: group, FSUser: user})
			if err != nil {
				return plugin.Result{}, err
			}
			return write(context.Background())
		}
	}
	r.t.Fatal("no plugin")
	return plugin.Result{}, nil
}

func (r *rig) must(src v1.VolumeSource, group, user *int64) plugin.Result {
	r.t.Helper()
	res, err := r.setUp(src, group, user)
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

type attrs struct {
	mode     fs.FileMode
	uid, gid uint32
}

func stat(t testing.TB, path string) attrs {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	s := st.Sys().(*syscall.Stat_t)
	return attrs{st.Mode(), s.Uid, s.Gid}
}

func fsType(path string) (int64, int64) {
	var st unix.Statfs_t
	_ = unix.Statfs(path, &st)
	return int64(st.Type), int64(st.Blocks) * st.Bsize
}

func TestEmptyDir(t *testing.T) {
	r := newRig(t)
	old := unix.Umask(0o077)
	res := r.must(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}, nil, nil)
	unix.Umask(old)
	dir := res.Mount.HostPath
	if dir != filepath.Join(r.root, "pods/u/volumes/kubernetes.io~empty-dir/v") || res.Mount.ReadOnly || !res.Mount.SELinuxRelabel {
		t.Errorf("%+v", res.Mount)
	}
	if a := stat(t, dir); a.mode != fs.ModeDir|0o777 {
		t.Errorf("mode %v", a.mode)
	}
	if _, err := os.Stat(filepath.Join(r.root, "pods/u/plugins/kubernetes.io~empty-dir/v/ready")); err != nil {
		t.Error(err)
	}
	// Set up again, as after a restart: the pod's own choice of owner stays.
	_ = os.WriteFile(dir+"/f", nil, 0o600)
	_ = os.Chmod(dir, 0o700)
	r.must(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}, ptr.To[int64](77), nil)
	if a := stat(t, dir); a.mode != fs.ModeDir|0o700 || a.gid == 77 {
		t.Errorf("the second set-up changed %+v", a)
	}
}

func TestEmptyDirGroup(t *testing.T) {
	r := newRig(t)
	dir := r.must(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}, ptr.To[int64](77), nil).Mount.HostPath
	if a := stat(t, dir); a.mode != fs.ModeDir|fs.ModeSetgid|0o777 || a.gid != 77 {
		t.Errorf("%+v", a)
	}
}

func TestEmptyDirMemory(t *testing.T) {
	r := newRig(t)
	src := v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory, SizeLimit: ptr.To(resource.MustParse("2Mi"))}}
	dir := r.must(src, ptr.To[int64](77), nil).Mount.HostPath
	if typ, size := fsType(dir); typ != unix.TMPFS_MAGIC || size != 2<<20 {
		t.Errorf("type %x, size %d", typ, size)
	}
	if a := stat(t, dir); a.gid != 77 || a.mode != fs.ModeDir|fs.ModeSetgid|fs.ModeSticky|0o777 {
		t.Errorf("%+v", a)
	}
	r.must(src, nil, nil)
	if below, _ := podtree.Below(dir); len(below) != 1 {
		t.Errorf("mounts %v", below)
	}
	_ = unix.Unmount(dir, 0) // a reboot
	r.must(src, nil, nil)
	if typ, _ := fsType(dir); typ != unix.TMPFS_MAGIC {
		t.Error("not mounted again after a reboot")
	}
}

func TestEmptyDirHugePages(t *testing.T) {
	r := newRig(t)
	r.pod.Spec.Containers[0].Resources.Requests = v1.ResourceList{"hugepages-2Mi": resource.MustParse("2Mi")}
	dir := r.must(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: "HugePages"}}, nil, nil).Mount.HostPath
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Type != unix.HUGETLBFS_MAGIC || st.Bsize != 2<<20 {
		t.Errorf("type %x, page size %d, %v", st.Type, st.Bsize, err)
	}
}

func TestMountRefused(t *testing.T) {
	r := newRig(t)
	fake := mount.NewFakeMounter(nil)
	fake.MountCheckErrors = map[string]error{}
	r.deps.Mounts = refusing{fake}
	_, err := r.setUp(v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "a", DefaultMode: ptr.To[int32](0o644)}}, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "not permitted") {
		t.Error(err)
	}
	r.deps.Mounts = mounts.New(fake)
}

type refusing struct{ mount.Interface }

func (refusing) MountSensitiveWithoutSystemd(_, _, _ string, _, _ []string) error { return unix.EPERM }
func (refusing) Unmount(t string) error                                           { return unix.Unmount(t, 0) }

func TestConfigMapOnDisk(t *testing.T) {
	r := newRig(t)
	src := v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "a"}, DefaultMode: ptr.To[int32](0o640)}}
	res := r.must(src, ptr.To[int64](77), nil)
	dir := res.Mount.HostPath
	if typ, _ := fsType(dir); typ == unix.TMPFS_MAGIC || !res.Mount.ReadOnly || filepath.Base(filepath.Dir(dir)) != "kubernetes.io~configmap" {
		t.Errorf("%+v", res)
	}
	if a := stat(t, dir+"/key"); a != (attrs{0o640, 0, 77}) {
		t.Errorf("%+v", a)
	}
	if st, err := os.Stat(dir + "/inner"); err != nil || !st.IsDir() {
		t.Error("the mount point of the volume inside is missing", err)
	}
	if _, err := os.Stat(filepath.Join(r.root, "pods/u/plugins/kubernetes.io~empty-dir/wrapped_v/ready")); err != nil {
		t.Error(err)
	}
	r.obj["cm/a"] = "two"
	r.must(src, ptr.To[int64](77), nil)
	if b, _ := os.ReadFile(dir + "/key"); string(b) != "two" {
		t.Errorf("read %q", b)
	}
	if a := stat(t, dir+"/key"); a != (attrs{0o640, 0, 77}) {
		t.Errorf("after the update %+v", a)
	}
}

func TestSecretAndProjectedOnTmpfs(t *testing.T) {
	r := newRig(t)
	proj := v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{DefaultMode: ptr.To[int32](0o644), Sources: []v1.VolumeProjection{
		{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", Audience: "me"}},
		{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: "a"}, Items: []v1.KeyToPath{{Key: "key", Path: "deep/secret"}}}},
		{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{{Path: "cpu", ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.cpu"}}}}},
	}}}
	res := r.must(proj, nil, ptr.To[int64](1000))
	dir := res.Mount.HostPath
	if typ, size := fsType(dir); typ != unix.TMPFS_MAGIC || size != 64<<20 {
		t.Errorf("type %x, size %d", typ, size)
	}
	if !res.Refresh.Equal(expiry) {
		t.Errorf("refresh %v", res.Refresh)
	}
	if a := stat(t, dir+"/token"); a != (attrs{0o600, 1000, 0}) {
		t.Errorf("token %+v", a)
	}
	for name, want := range map[string]string{"token": "token for me", "deep/secret": "hidden", "cpu": "4"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); string(b) != want {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
}

func TestTokenWithGroup(t *testing.T) {
	r := newRig(t)
	dir := r.must(v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{DefaultMode: ptr.To[int32](0o644), Sources: []v1.VolumeProjection{
		{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token"}}}}}, ptr.To[int64](77), nil).Mount.HostPath
	if a := stat(t, dir+"/token"); a != (attrs{0o640, 0, 77}) {
		t.Errorf("%+v", a)
	}
}

func TestMissing(t *testing.T) {
	r := newRig(t)
	mode := ptr.To[int32](0o644)
	for want, src := range map[string]v1.VolumeSource{
		`configmap "y" not found`: {ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "y"}, DefaultMode: mode}},
		`secret "y" not found`:    {Secret: &v1.SecretVolumeSource{SecretName: "y", DefaultMode: mode}},
	} {
		if _, err := r.setUp(src, nil, nil); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := os.Stat(volumeplan.PodDir(r.root, "u")); !os.IsNotExist(err) {
		t.Error("a missing object must leave nothing on disk")
	}
	res := r.must(v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "y", Optional: ptr.To(true), DefaultMode: mode}}, nil, nil)
	if _, err := os.Stat(res.Mount.HostPath + "/..data"); err != nil {
		t.Error(err)
	}
}

func TestHostPath(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	_ = os.WriteFile(dir+"/file", nil, 0o644)
	_ = os.Symlink("file", dir+"/link")
	l, err := net.Listen("unix", dir+"/sock")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tc := range []struct {
		path string
		typ  v1.HostPathType
		err  string
	}{
		{dir + "/none", v1.HostPathUnset, ""},
		{dir, v1.HostPathDirectory, ""},
		{dir + "/file", v1.HostPathDirectory, "hostPath type check failed: " + dir + "/file is not a directory"},
		{dir + "/none", v1.HostPathDirectory, "hostPath type check failed: " + dir + "/none is not a directory"},
		{dir + "/new/dir", v1.HostPathDirectoryOrCreate, ""},
		{dir + "/file", v1.HostPathDirectoryOrCreate, "hostPath type check failed: " + dir + "/file is not a directory"},
		{dir + "/newfile", v1.HostPathFileOrCreate, ""},
		{dir, v1.HostPathFileOrCreate, "hostPath type check failed: " + dir + " is not a file"},
		{dir + "/link", v1.HostPathFile, ""},
		{dir + "/sock", v1.HostPathSocket, ""},
		{dir + "/file", v1.HostPathSocket, "hostPath type check failed: " + dir + "/file is not a socket file"},
		{"/dev/null", v1.HostPathCharDev, ""},
		{"/dev/null", v1.HostPathBlockDev, "hostPath type check failed: /dev/null is not a block device"},
		{dir, v1.HostPathCharDev, "hostPath type check failed: " + dir + " is not a character device"},
		{dir, "Odd", "Odd is an invalid volume type"},
		{dir + "/../x", v1.HostPathUnset, "invalid HostPath `" + dir + "/../x`: must not contain '..'"},
	} {
		res, err := r.setUp(v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: tc.path, Type: &tc.typ}}, nil, nil)
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%s %s: %v", tc.typ, tc.path, err)
			}
		} else if err != nil || res.Mount.HostPath != tc.path || res.Mount.ReadOnly || res.Mount.SELinuxRelabel {
			t.Errorf("%s %s: %+v %v", tc.typ, tc.path, res, err)
		}
	}
	for path, want := range map[string]fs.FileMode{"/new": fs.ModeDir | 0o755, "/newfile": 0o644} {
		if a := stat(t, dir+path); a.mode != want {
			t.Errorf("%s: %v", path, a.mode)
		}
	}
	if res, err := r.setUp(v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: dir}}, nil, nil); err != nil {
		t.Error(res, err)
	}
}

func TestImage(t *testing.T) {
	r := newRig(t)
	res := r.must(v1.VolumeSource{Image: &v1.ImageVolumeSource{Reference: "img:1"}}, nil, nil)
	if res.Mount.ImageRef != "img:1" || res.Mount.HostPath != "" || !res.Mount.ReadOnly {
		t.Errorf("%+v", res)
	}
}

func TestUnknownMedium(t *testing.T) {
	r := newRig(t)
	_, err := r.setUp(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: "Tape"}}, nil, nil)
	if err == nil || err.Error() != `unknown storage medium "Tape"` {
		t.Error(err)
	}
	if _, err = r.setUp(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: "HugePages"}}, nil, nil); err == nil || errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
}

// The agent's share of one pod with the default projected volume, API calls apart.
func BenchmarkProjected(b *testing.B) {
	r := newRig(b)
	src := v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{DefaultMode: ptr.To[int32](0o644), Sources: []v1.VolumeProjection{
		{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token"}},
		{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "a"}}},
		{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}}}},
	}}}
	tree := podtree.Tree{Mounts: r.deps.Mounts}
	for b.Loop() {
		if _, err := r.setUp(src, nil, nil); err != nil {
			b.Fatal(err)
		}
		if err := tree.Remove(context.Background(), volumeplan.PodDir(r.root, "u")); err != nil {
			b.Fatal(err)
		}
	}
}
