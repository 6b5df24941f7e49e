package mounts

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
)

func needRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
}

func TestTmpfs(t *testing.T) {
	needRoot(t)
	m := New(mount.NewFakeMounter(nil))
	dir := filepath.Join(t.TempDir(), "a dir, with \"odd\" characters")
	_ = os.Mkdir(dir, 0o755)
	if mounted, err := m.IsMountPoint(dir); mounted || err != nil {
		t.Fatal(mounted, err)
	}
	if err := m.MountSensitiveWithoutSystemd("tmpfs", dir, "tmpfs", []string{"size=1048576", NoSwap}, nil); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Type != unix.TMPFS_MAGIC || int64(st.Blocks)*st.Bsize != 1<<20 {
		t.Errorf("statfs %+v, %v", st, err)
	}
	if mounted, err := m.IsMountPoint(dir); !mounted || err != nil {
		t.Error(mounted, err)
	}
	if err := m.Unmount(dir); err != nil {
		t.Error(err)
	}
	if err := m.Unmount(dir); !errors.Is(err, unix.EINVAL) {
		t.Errorf("second unmount: %v", err)
	}
}

func TestBindAndMissing(t *testing.T) {
	needRoot(t)
	m := New(mount.NewFakeMounter(nil))
	dir := t.TempDir()
	for _, n := range []string{"src", "dst"} {
		_ = os.WriteFile(filepath.Join(dir, n), []byte(n), 0o644)
	}
	if err := m.Mount(dir+"/src", dir+"/dst", "", []string{"bind"}); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir+"/dst", unix.MNT_DETACH)
	if b, _ := os.ReadFile(dir + "/dst"); string(b) != "src" {
		t.Errorf("read %q", b)
	}
	if not, err := m.IsLikelyNotMountPoint(dir + "/dst"); not || err != nil {
		t.Error("a bind-mounted file is a mount point", err)
	}
	if _, err := m.IsMountPoint(dir + "/none"); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestOtherFileSystemsGoToTheLibrary(t *testing.T) {
	fake := mount.NewFakeMounter(nil)
	m := New(fake)
	dir := t.TempDir()
	_ = m.Mount("host:/x", dir, "nfs", nil)
	_ = m.MountSensitive("/dev/x", dir, "", []string{"bind", "ro"}, nil)
	if len(fake.GetLog()) != 2 {
		t.Errorf("log %v", fake.GetLog())
	}
}
