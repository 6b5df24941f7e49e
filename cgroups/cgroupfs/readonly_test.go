package cgroupfs_test

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
)

// In a container the cgroups are usually mounted read-only; the agent has to say so, and what helps.
func TestReadOnlyMountIsExplained(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount")
	}
	h, err := cgroupfs.Detect(cgroupfs.DefaultRoot)
	if err != nil {
		t.Fatal(err)
	}
	result, werr := make(chan error), make(chan error)
	go func() {
		// The thread keeps its own mounts, so it must end with this goroutine: it stays locked.
		runtime.LockOSThread()
		mount := h.Dir("memory", "/")
		err := errors.Join(
			unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS),
			unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
			unix.Mount("", mount, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""),
		)
		if err != nil {
			result <- err
			werr <- err
			return
		}
		_, err = cgroupfs.Detect(cgroupfs.DefaultRoot)
		result <- err
		werr <- cgroupfs.New(h).Apply(t.Context(), memoryOnly())
	}()
	if err := <-result; !errors.Is(err, cgroups.ErrReadOnly) || !strings.Contains(err.Error(), "privileged") {
		t.Errorf("detection says %v", err)
	}
	if err := <-werr; !errors.Is(err, cgroups.ErrReadOnly) {
		t.Errorf("a write says %v", err)
	}
	cgroupfs.New(h).Remove(t.Context(), memoryOnly().Name) // what other hierarchies took
}

func memoryOnly() cgroups.Desired {
	return cgroups.Desired{Name: cgroups.Name{"troupe-test-readonly"}}
}
