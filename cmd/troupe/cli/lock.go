package cli

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// holdLock takes an exclusive lock on path and waits for it as long as it
// takes, as the kubelet does. With contention, the returned context ends when
// another process opens or removes the file. An empty path locks nothing.
func holdLock(ctx context.Context, path string, contention bool) (context.Context, func(), error) {
	if path == "" {
		return ctx, func() {}, nil
	}
	klog.FromContext(ctx).Info("Waiting for the lock file", "path", path)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return ctx, nil, fmt.Errorf("--lock-file: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		file.Close()
		return ctx, nil, fmt.Errorf("--lock-file %s: %w", path, err)
	}
	if !contention {
		return ctx, func() { file.Close() }, nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		file.Close()
		return ctx, nil, fmt.Errorf("--exit-on-lock-contention: %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN|unix.IN_DELETE_SELF); err != nil {
		events.Close()
		file.Close()
		return ctx, nil, fmt.Errorf("--exit-on-lock-contention: watch %s: %w", path, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		if _, err := events.Read(make([]byte, 4096)); err == nil {
			klog.FromContext(ctx).Info("Another process wants the lock file, ending", "path", path)
			cancel(context.Canceled)
		}
	}()
	return ctx, func() {
		cancel(nil)
		events.Close()
		file.Close()
	}, nil
}
