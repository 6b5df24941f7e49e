package ownership

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func gid(t *testing.T, path string) int {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(st.Sys().(*syscall.Stat_t).Gid)
}

func tree(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("changing groups needs root")
	}
	dir := filepath.Join(t.TempDir(), "v")
	for _, d := range []string{dir, dir + "/sub"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]fs.FileMode{"a": 0o600, "sub/b": 0o644, "../outside": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../outside", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestApply(t *testing.T) {
	for name, tc := range map[string]struct {
		readOnly     bool
		dir, a, subB fs.FileMode
	}{
		"read-write": {false, 0o775, 0o660, 0o664},
		"read-only":  {true, 0o755, 0o640, 0o644},
	} {
		dir := tree(t)
		if err := Apply(dir, 4321, tc.readOnly, nil); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]fs.FileMode{"": tc.dir | fs.ModeDir | fs.ModeSetgid, "sub": tc.dir | fs.ModeDir | fs.ModeSetgid, "a": tc.a, "sub/b": tc.subB, "../outside": 0o600} {
			st, _ := os.Stat(filepath.Join(dir, path))
			if st.Mode() != want {
				t.Errorf("%s %q: %v, want %v", name, path, st.Mode(), want)
			}
		}
		if gid(t, dir+"/link") != 4321 || gid(t, dir+"/a") != 4321 || gid(t, dir+"/../outside") == 4321 {
			t.Errorf("%s: groups", name)
		}
	}
}

func TestOnRootMismatch(t *testing.T) {
	dir := tree(t)
	policy := ptr.To(v1.FSGroupChangeOnRootMismatch)
	if err := Apply(dir, 4321, false, policy); err != nil || gid(t, dir+"/a") != 4321 {
		t.Fatal("a foreign root must be changed", err)
	}
	_ = os.Lchown(dir+"/a", -1, 1)
	if _ = Apply(dir, 4321, false, policy); gid(t, dir+"/a") != 1 {
		t.Error("a root that matches must be skipped")
	}
	if _ = Apply(dir, 4321, false, nil); gid(t, dir+"/a") != 4321 {
		t.Error("Always must not look at the root")
	}
	_ = os.Chmod(dir, 0o775) // without setgid
	_ = os.Lchown(dir+"/a", -1, 1)
	if _ = Apply(dir, 4321, false, policy); gid(t, dir+"/a") != 4321 {
		t.Error("a root without setgid must be changed")
	}
}
