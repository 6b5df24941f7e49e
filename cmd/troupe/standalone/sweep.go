package standalone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// SweepRuntime removes every pod that the private runtime still has: after the pods have ended by themselves there is
// none, after a kill there may be some. Only for a runtime that is ours alone.
func SweepRuntime(ctx context.Context, rt cri.Runtime) error {
	sandboxes, err := rt.ListPodSandbox(ctx, cri.SandboxFilter{})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, s := range sandboxes {
		g.Go(func() error { return removeSandbox(ctx, rt, s.ID) })
	}
	return g.Wait()
}

func removeSandbox(ctx context.Context, rt cri.Runtime, id model.SandboxID) error {
	if err := rt.StopPodSandbox(ctx, id); err != nil && cri.ClassOf(err) != model.OutcomeNotFound {
		return err
	}
	if err := rt.RemovePodSandbox(ctx, id); err != nil && cri.ClassOf(err) != model.OutcomeNotFound {
		return err
	}
	return nil
}

// SweepHost removes what may be left of the private runtime on the host once it has ended: shims and their containers,
// mounts below the state folder, our cgroups, the bridge and packet filter chains that were not there before. In an
// orderly end it finds nothing but the bridge and the chains.
func SweepHost(ctx context.Context, l Layout, root CgroupRoot, before Filter) error {
	var errs []error
	errs = append(errs, killShims(ctx, l.ContainerdSocket()))
	errs = append(errs, root.Remove(ctx))
	errs = append(errs, unmountBelow(l.Dir))
	errs = append(errs, removeBridge(BridgeName))
	errs = append(errs, before.Restore(ctx))
	return errors.Join(errs...)
}

// killShims ends processes that were started with our containerd's socket as an argument, which is how a shim is found.
func killShims(ctx context.Context, socket string) error {
	for range 50 {
		pids := shimsOf(socket)
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill shim %d: %w", pid, err)
			}
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("container shims survive SIGKILL")
}

func shimsOf(socket string) []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		args := bytes.Split(b, []byte{0})
		if filepath.Base(string(args[0])) != "containerd-shim-runc-v2" {
			continue
		}
		for i, a := range args[1:] {
			if string(a) == "-address" && i+2 < len(args) && string(args[i+2]) == socket {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// unmountBelow unmounts everything below dir, deepest first, lazily where it is busy.
func unmountBelow(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("read the mount table: %w", err)
	}
	sort.Slice(mounts, func(i, j int) bool { return len(mounts[i].Mountpoint) > len(mounts[j].Mountpoint) })
	var errs []error
	for _, m := range mounts {
		if m.Mountpoint == dir {
			continue // the state folder may be a mount of the machine's owner
		}
		if err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m.Mountpoint, err))
		}
	}
	return errors.Join(errs...)
}

// removeBridge takes a bridge down and deletes it (netdevice(7) and the bridge ioctls: no ip command is needed).
func removeBridge(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		if errors.Is(err, unix.ENODEV) {
			return nil
		}
		return fmt.Errorf("look at bridge %s: %w", name, err)
	}
	ifr.SetUint16(ifr.Uint16() &^ unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("take bridge %s down: %w", name, err)
	}
	return bridgeDelete(fd, name)
}

// pause waits, or says why not.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
