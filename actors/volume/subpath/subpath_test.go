package subpath

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"

	"github.com/troupe-dev/troupe/actors/volume/mounts"
	"github.com/troupe-dev/troupe/actors/volume/podtree"
	"github.com/troupe-dev/troupe/actors/volume/volumeplan"
)

type rig struct {
	t    *testing.T
	m    mount.Interface
	root string
	vol  string
}

func newRig(t *testing.T) *rig {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	r := &rig{t: t, m: mounts.New(mount.NewFakeMounter(nil)), root: t.TempDir()}
	r.vol = filepath.Join(r.root, "pods/u/volumes/kubernetes.io~empty-dir/v")
	if err := os.MkdirAll(r.vol, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.vol, 0o777|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.root, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		below, _ := podtree.Below(r.root)
		for _, p := range below {
			_ = unix.Unmount(p, unix.MNT_DETACH)
		}
	})
	return r
}

func (r *rig) prepare(sub string) (string, error) {
	return Prepare(r.m, Request{Root: r.root, UID: "u", Container: "c", Index: 3, Volume: "v", VolumeRoot: r.vol, SubPath: sub})
}

func (r *rig) must(sub string) string {
	r.t.Helper()
	p, err := r.prepare(sub)
	if err != nil {
		r.t.Fatal(err, errors.Unwrap(err))
	}
	return p
}

func (r *rig) write(rel, text string) {
	p := filepath.Join(r.vol, rel)
	_ = os.MkdirAll(filepath.Dir(p), 0o755)
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func TestMissingDirectoryIsMade(t *testing.T) {
	r := newRig(t)
	old := unix.Umask(0o077)
	p := r.must("a/b")
	unix.Umask(old)
	if want := filepath.Join(volumeplan.PodDir(r.root, "u"), "volume-subpaths/v/c/3"); p != want {
		t.Errorf("path %s, want %s", p, want)
	}
	for _, d := range []string{p, r.vol + "/a", r.vol + "/a/b"} {
		if st, err := os.Stat(d); err != nil || st.Mode() != fs.ModeDir|fs.ModeSetgid|0o777 {
			t.Errorf("%s: %v %v", d, st.Mode(), err)
		}
	}
	_ = os.WriteFile(p+"/f", []byte("x"), 0o644)
	if b, _ := os.ReadFile(r.vol + "/a/b/f"); string(b) != "x" {
		t.Error("the mount does not lead into the volume")
	}
}

func TestFileLinkAndReuse(t *testing.T) {
	r := newRig(t)
	r.write("..data/f", "one")
	_ = os.Symlink("..data/f", r.vol+"/f")
	p := r.must("f")
	if b, _ := os.ReadFile(p); string(b) != "one" {
		t.Fatalf("read %q", b)
	}
	r.must("f")
	if n := r.mountsAt(p); n != 1 {
		t.Errorf("%d mounts after the second time", n)
	}
	r.write("g", "two")
	_ = os.Remove(r.vol + "/f")
	_ = os.Symlink("g", r.vol+"/f")
	p = r.must("f")
	if b, _ := os.ReadFile(p); string(b) != "two" || r.mountsAt(p) != 1 {
		t.Errorf("read %q, %d mounts", b, r.mountsAt(p))
	}
	_ = os.Remove(r.vol + "/f")
	_ = os.Mkdir(r.vol+"/f", 0o755)
	if st, _ := os.Stat(r.must("f")); !st.IsDir() {
		t.Error("a file's mount point must give way to a directory")
	}
}

func (r *rig) mountsAt(p string) int {
	below, err := podtree.Below(p)
	if err != nil {
		r.t.Fatal(err)
	}
	return len(below)
}

func TestEscapes(t *testing.T) {
	r := newRig(t)
	r.write("f", "x")
	for name, target := range map[string]string{"abs": "/", "up": "../../../../..", "etc": "/etc", "proc": "/proc/self/root", "loop": "loop"} {
		_ = os.Symlink(target, filepath.Join(r.vol, name))
	}
	_ = os.Symlink("gone", r.vol+"/dangling")
	before, _ := os.ReadDir(r.root)
	for _, sub := range []string{"/etc", "../x", "a/../../x", "abs", "up", "up/secret", "up/new", "abs/etc", "etc/new", "proc", "loop", "dangling/x", "f/x"} {
		p, err := r.prepare(sub)
		if err == nil {
			t.Errorf("%q led to %s", sub, p)
			continue
		}
		var e *Error
		if errors.As(err, &e) && strings.Contains(err.Error(), r.root) {
			t.Errorf("%q: the error tells about the node: %v", sub, err)
		}
	}
	after, _ := os.ReadDir(r.root)
	if len(before) != len(after) {
		t.Error("something was made outside of the volume")
	}
}

// A container that swaps a directory for a link while we look never gets a mount of what is outside.
func TestRace(t *testing.T) {
	r := newRig(t)
	r.write("d/secret", "mine")
	_ = os.Symlink("../../../../..", r.vol+"/link")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, r.vol+"/d", unix.AT_FDCWD, r.vol+"/link", unix.RENAME_EXCHANGE)
			}
		}
	}()
	// Until both have happened often enough: on a busy machine one side may have hundreds of turns before the other has one.
	seen, refused := 0, 0
	for end := time.Now().Add(time.Minute); (seen < 20 || refused < 20) && time.Now().Before(end); {
		p, err := r.prepare("d/secret")
		if err != nil {
			refused++
			continue
		}
		seen++
		if b, _ := os.ReadFile(p); string(b) != "mine" {
			t.Fatalf("read %q", b)
		}
	}
	close(stop)
	<-stopped
	if seen < 20 || refused < 20 {
		t.Errorf("%d ended well and %d were refused: the test proves nothing", seen, refused)
	}
}

func TestClean(t *testing.T) {
	r := newRig(t)
	r.write("keep", "x")
	r.must("keep")
	if err := CleanContainer(context.Background(), r.m, r.root, "u", "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(volumeplan.PodDir(r.root, "u"), Folder, "v", "c")); !os.IsNotExist(err) {
		t.Error("not removed", err)
	}
	if b, _ := os.ReadFile(r.vol + "/keep"); string(b) != "x" {
		t.Error("the volume's file is gone")
	}
	if err := CleanContainer(context.Background(), r.m, r.root, "none", "c"); err != nil {
		t.Error(err)
	}
}
