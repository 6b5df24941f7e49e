package atomicwriter

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/actors/volume/payload"
)

func files(kv ...string) payload.Files {
	out := payload.Files{}
	for i := 0; i < len(kv); i += 2 {
		out[kv[i]] = payload.File{Data: []byte(kv[i+1]), Mode: 0o644}
	}
	return out
}

// visible reads the volume as a container would: through the links, without the writer's own names.
func visible(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		root, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatalf("dangling %s: %v", e.Name(), err)
		}
		_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				b, _ := os.ReadFile(p)
				rel, _ := filepath.Rel(root, p)
				out[filepath.Join(e.Name(), rel)] = string(b)
			}
			return err
		})
	}
	return out
}

func versions(t testing.TB, dir string) int {
	n := 0
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "..") {
			n++
		}
	}
	return n
}

func TestLayout(t *testing.T) {
	dir := t.TempDir()
	f := files("podName", "web", "user/labels", "a")
	f["token"] = payload.File{Data: []byte("t"), Mode: 0o600, Owner: ptr.To[int64](1234)}
	old := syscall.Umask(0o077)
	changed, err := Write(dir, f, nil)
	syscall.Umask(old)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	for name, want := range map[string]string{"podName": "..data/podName", "user": "..data/user"} {
		if got, _ := os.Readlink(filepath.Join(dir, name)); got != want {
			t.Errorf("%s -> %s, want %s", name, got, want)
		}
	}
	version, _ := os.Readlink(filepath.Join(dir, "..data"))
	if ok, _ := filepath.Match("..[0-9]*_[0-9]*_*.*", version); !ok {
		t.Errorf("version %q", version)
	}
	for path, want := range map[string]fs.FileMode{"token": 0o600, "podName": 0o644, "..data/user/labels": 0o644, version: fs.ModeDir | 0o755} {
		st, err := os.Stat(filepath.Join(dir, path))
		if err != nil || st.Mode() != want {
			t.Errorf("%s: %v %v, want %v", path, st.Mode(), err, want)
		}
	}
	if st, _ := os.Stat(filepath.Join(dir, "token")); os.Getuid() == 0 && st.Sys().(*syscall.Stat_t).Uid != 1234 {
		t.Error("token has the wrong owner")
	}
}

func TestEqualContentIsNotRewritten(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(dir, files("a", "1", "b/c", "2"), nil); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Readlink(filepath.Join(dir, "..data"))
	_ = os.Remove(filepath.Join(dir, "a")) // a link that a crash prevented
	changed, err := Write(dir, files("a", "1", "b/c", "2"), func() error { return errors.New("not to be called") })
	after, _ := os.Readlink(filepath.Join(dir, "..data"))
	if changed || err != nil || before != after {
		t.Errorf("changed %v, %v; %s -> %s", changed, err, before, after)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b/c": "2"}, visible(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestFailureKeepsTheOldVersion(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(dir, files("a", "1"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, files("a", "2"), func() error { return errors.New("no") }); err == nil {
		t.Fatal("want an error")
	}
	if diff := cmp.Diff(map[string]string{"a": "1"}, visible(t, dir)); diff != "" || versions(t, dir) != 1 {
		t.Error(diff, versions(t, dir))
	}
}

func TestLeftoversOfACrash(t *testing.T) {
	dir := t.TempDir()
	_ = os.Mkdir(filepath.Join(dir, "..2020_01_01_00_00_00.1"), 0o755)
	_ = os.Symlink("..2020_01_01_00_00_00.1", filepath.Join(dir, "..data_tmp"))
	if _, err := Write(dir, files("a", "1"), nil); err != nil {
		t.Fatal(err)
	}
	if versions(t, dir) != 1 {
		t.Error("the half-written version stayed")
	}
}

func TestNestedMountPointStays(t *testing.T) {
	dir := t.TempDir()
	_ = os.Mkdir(filepath.Join(dir, "nested"), 0o755)
	for _, f := range []payload.Files{files("a", "1", "nested/x", "2"), files("a", "2")} {
		if _, err := Write(dir, f, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadPaths(t *testing.T) {
	for _, p := range []string{"", "/a", "a/../b", "..", "..a", "./..a", strings.Repeat("x", 256), strings.Repeat("a/", 2049)} {
		dir := t.TempDir()
		if _, err := Write(dir, files(p, ""), nil); err == nil {
			t.Errorf("%q was accepted", p)
		}
		if e, _ := os.ReadDir(dir); len(e) != 0 {
			t.Errorf("%q left something", p)
		}
	}
}

// Whatever was there before, a write leaves exactly the files it was given and one version.
func TestWriteProperty(t *testing.T) {
	base := t.TempDir()
	gen := rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "d/x", "d/y", "e/f/g"}), rapid.StringN(0, 5, -1))
	rapid.Check(t, func(rt *rapid.T) {
		dir, _ := os.MkdirTemp(base, "v")
		for _, content := range rapid.SliceOfN(gen, 1, 5).Draw(rt, "writes") {
			f := payload.Files{}
			for k, v := range content {
				f[k] = payload.File{Data: []byte(v), Mode: 0o644}
			}
			if _, err := Write(dir, f, nil); err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(content, visible(t, dir)); diff != "" || versions(t, dir) != 1 {
				rt.Fatal(versions(t, dir), diff)
			}
		}
	})
}

// A reader that resolved the version once never sees a mixture of two versions.
func TestReaderSeesOneVersion(t *testing.T) {
	dir := t.TempDir()
	contents := []payload.Files{files("a", "1", "b", "1"), files("a", "2", "b", "2")}
	if _, err := Write(dir, contents[0], nil); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			root, err := os.OpenRoot(filepath.Join(dir, "..data"))
			if errors.Is(err, fs.ErrNotExist) {
				// The version that the link named was replaced and removed before it was opened. The link itself is always there.
				if _, err := os.Lstat(filepath.Join(dir, "..data")); err != nil {
					t.Error(err)
					return
				}
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			a, errA := root.ReadFile("a")
			b, errB := root.ReadFile("b")
			if errA == nil && errB == nil && string(a) != string(b) {
				t.Errorf("saw %s and %s", a, b)
			}
			root.Close()
		}
	})
	for i := range 200 {
		if _, err := Write(dir, contents[i%2], nil); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}
