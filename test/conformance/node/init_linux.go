package node

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A run lives in mount, process, network, IPC and host name namespaces of its own. Its first process is this one: when
// it ends, or the program that started it is killed, the kernel ends every process inside, and with the last of them
// the mounts, interfaces and addresses are gone. Cgroups and files are all that is left to remove; see Sweep.

// Enter starts argv as the only command of new namespaces and returns its exit status. The caller must hold its OS
// thread locked: the namespaces' first process dies with that thread.
func Enter(argv []string) (*os.Process, error) {
	return os.StartProcess("/proc/self/exe", argv, &os.ProcAttr{
		Env:   os.Environ(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			Pdeathsig:  unix.SIGKILL,
			Setsid:     true, // Ctrl-C reaches the outer program alone, which decides
		},
	})
}

// Init is the first process of the namespaces: it makes the mounts, starts argv, reaps orphans, and ends with argv's status.
func Init(l Layout, argv []string) (int, error) {
	if err := mounts(l); err != nil {
		return 0, err
	}
	if err := unix.Sethostname([]byte(Name)); err != nil {
		return 0, fmt.Errorf("set the host name: %w", err)
	}
	child, err := os.StartProcess("/proc/self/exe", argv, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 0, err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	go func() {
		for range stop {
			_ = child.Signal(unix.SIGTERM)
		}
	}()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait for children: %w", err)
		case pid == child.Pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case pid == child.Pid:
			return status.ExitStatus(), nil
		}
	}
}

// mounts gives the node its own /proc, /run, /dev/shm, /var/log and /var/lib/kubelet, so that its paths are those of
// any node while nothing of this machine is seen or changed by it.
func mounts(l Layout) error {
	// Nothing that is mounted from here on is seen outside. Must come first.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := dropForeign(l); err != nil {
		return err
	}
	// What pods see of the node's mounts follows them, as the agents require of a node's root.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make the mounts shared: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for dir, options := range map[string]string{"/run": "mode=0755", "/dev/shm": "mode=1777"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	for from, to := range map[string]string{l.Work: Home, filepath.Join(l.Work, "log"): "/var/log", filepath.Join(l.Work, "kubelet"): KubeletRoot} {
		for _, d := range []string{from, to} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", to, err)
		}
		// A peer group of its own: a volume mounted below must not show up a second time below the source.
		for _, how := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
			if err := unix.Mount("", to, "", how, ""); err != nil {
				return fmt.Errorf("mount %s: %w", to, err)
			}
		}
	}
	return os.MkdirAll("/run/lock", 0o1777)
}

// dropForeign detaches what other container runtimes of this machine have mounted, in this namespace only: a copy kept
// here would keep their network namespaces and file systems alive after they removed them.
func dropForeign(l Layout) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	var points []string
	for s := bufio.NewScanner(f); s.Scan(); {
		head, tail, ok := strings.Cut(s.Text(), " - ")
		if !ok {
			continue
		}
		point := unescape(strings.Fields(head)[4])
		switch strings.Fields(tail)[0] {
		case "nsfs", "overlay", "tmpfs":
			if !l.uses(point) {
				points = append(points, point)
			}
		}
	}
	for i := len(points) - 1; i >= 0; i-- {
		if err := unix.Unmount(points[i], unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
			return fmt.Errorf("detach %s: %w", points[i], err)
		}
	}
	return nil
}

// uses tells mount points that this run needs: the system's, and those above its own files.
func (l Layout) uses(point string) bool {
	for _, system := range []string{"/proc", "/sys", "/dev"} {
		if point == system || strings.HasPrefix(point, system+"/") {
			return true
		}
	}
	self, _ := os.Executable()
	for _, own := range []string{l.Cache, l.Runtime, l.Agent, self, "/run", "/tmp", "/etc", "/var/log"} {
		if point == "/" || own == point || strings.HasPrefix(own, point+"/") {
			return true
		}
	}
	return false
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
