package podtree

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"

	"github.com/troupe-dev/troupe/actors/volume/mounts"
)

// world has a pod directory and, outside of it, data that must survive.
type world struct {
	t         *testing.T
	base, pod string
	tree      Tree
}

func newWorld(t *testing.T) *world {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	w := &world{t: t, base: t.TempDir(), tree: Tree{Mounts: mounts.New(mount.NewFakeMounter(nil))}}
	w.pod = filepath.Join(w.base, "pods", "uid")
	w.file("precious/data")
	t.Cleanup(func() {
		if got, err := os.ReadFile(w.base + "/precious/data"); err != nil || string(got) != "x" {
			t.Errorf("data outside of the pod is gone: %v", err)
		}
		below, _ := Below(w.base)
		for _, p := range below {
			_ = unix.Unmount(p, unix.MNT_DETACH)
		}
	})
	return w
}

func (w *world) dir(rel string) string {
	p := filepath.Join(w.base, rel)
	if err := os.MkdirAll(p, 0o755); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) file(rel string) string {
	w.dir(filepath.Dir(rel))
	p := filepath.Join(w.base, rel)
	if err := os.WriteFile(p, []byte("x"), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) mount(src, dst, fstype string, flags uintptr) {
	w.t.Helper()
	if err := unix.Mount(src, dst, fstype, flags, ""); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove() error { return w.tree.Remove(context.Background(), w.pod) }

func (w *world) gone() {
	w.t.Helper()
	if err := w.remove(); err != nil {
		w.t.Fatal(err)
	}
	if _, err := os.Lstat(w.pod); !os.IsNotExist(err) {
		w.t.Fatalf("the pod's directory is still there: %v", err)
	}
	if err := w.remove(); err != nil {
		w.t.Fatalf("removing nothing: %v", err)
	}
}

func TestRemoveFilesAndLinks(t *testing.T) {
	w := newWorld(t)
	w.file("pods/uid/volumes/kubernetes.io~empty-dir/a/deep/file")
	w.file("pods/uid/etc-hosts")
	_ = os.Symlink(w.base+"/precious", w.pod+"/link")
	_ = os.Symlink(w.base+"/precious/data", w.pod+"/volumes/filelink")
	w.gone()
}

func TestRemoveThroughMounts(t *testing.T) {
	w := newWorld(t)
	tmp := w.dir("pods/uid/volumes/kubernetes.io~projected/token")
	w.mount("tmpfs", tmp, "tmpfs", 0)
	w.mount("tmpfs", tmp, "tmpfs", 0) // twice on one place
	w.file("pods/uid/volumes/kubernetes.io~projected/token/nested/f")
	w.mount("tmpfs", tmp+"/nested", "tmpfs", 0) // and one inside
	w.mount(w.base+"/precious", w.dir("pods/uid/volume-subpaths/v/c/0"), "", unix.MS_BIND)
	w.mount(w.base+"/precious/data", w.file("pods/uid/volume-subpaths/v/c/1"), "", unix.MS_BIND)
	w.gone()
	if below, err := Below(w.pod); len(below) != 0 || err != nil {
		t.Errorf("left mounts %v, %v", below, err)
	}
}

func TestBusyMountBlocksAndIsNamed(t *testing.T) {
	w := newWorld(t)
	dst := w.dir("pods/uid/volumes/kubernetes.io~empty-dir/busy")
	w.mount("tmpfs", dst, "tmpfs", 0)
	open, err := os.Create(dst + "/open")
	if err != nil {
		t.Fatal(err)
	}
	err = w.remove()
	var b *Blocked
	if !errors.As(err, &b) || b.Path != dst || !errors.Is(err, unix.EBUSY) {
		t.Fatalf("error %v", err)
	}
	if _, err := os.Stat(dst + "/open"); err != nil {
		t.Error("the content of a busy mount was touched")
	}
	open.Close()
	w.gone()
}

type refuses struct{ err error }

func (r refuses) Unmount(string) error { return r.err }

// When unmounting fails, nothing behind the mount may be deleted, whatever else goes.
func TestNeverDeletesAcrossAMount(t *testing.T) {
	w := newWorld(t)
	w.tree.Mounts = refuses{errors.New("no")}
	w.mount(w.base+"/precious", w.dir("pods/uid/volumes/kubernetes.io~empty-dir/e"), "", unix.MS_BIND)
	w.mount(w.base+"/precious/data", w.file("pods/uid/volume-subpaths/v/c/1"), "", unix.MS_BIND)
	if err := w.remove(); err == nil || !strings.Contains(err.Error(), "no") {
		t.Fatal(err)
	}
}

func TestForeignDataStays(t *testing.T) {
	w := newWorld(t)
	data := w.file("pods/uid/volumes/kubernetes.io~nfs/v/data")
	if err := w.remove(); err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Fatal(err)
	}
	if _, err := os.Stat(data); err != nil {
		t.Fatal("data of another plugin was deleted")
	}
	_ = os.Remove(data)
	w.file("pods/uid/volumes/kubernetes.io~csi/v/vol_data.json")
	w.gone()
}

func TestRemoveStopsWithItsContext(t *testing.T) {
	w := newWorld(t)
	w.file("pods/uid/a")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.tree.Remove(ctx, w.pod); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
