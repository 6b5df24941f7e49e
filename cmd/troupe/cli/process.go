package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// onCgroupV1 is true unless /sys/fs/cgroup is the unified hierarchy.
func onCgroupV1() bool {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil {
		return false // the cgroups actor says what is wrong
	}
	return st.Type != unix.CGROUP2_SUPER_MAGIC
}

// prepareProcess sets what the process needs before it does anything else.
// What the kernel refuses without harm is only logged.
func prepareProcess(logger klog.Logger, o NodeOptions) error {
	if uid := os.Getuid(); uid != 0 {
		logger.Info("Warning: the agent needs root for cgroups, mounts and its folders", "uid", uid)
	}
	if err := setOpenFiles(uint64(o.Config.MaxOpenFiles)); err != nil {
		logger.Info("Warning: the limit of open files stays as it is", "want", o.Config.MaxOpenFiles, "err", err)
	}
	if err := setOOMScore(int(*o.Config.OOMScoreAdj)); err != nil {
		logger.Info("Warning: the OOM score of the agent stays as it is", "want", *o.Config.OOMScoreAdj, "err", err)
	}
	if *o.Config.FailSwapOn {
		if on, err := swapIsOn("/proc/swaps"); err != nil {
			return err
		} else if on {
			return errors.New("swap is on, and failSwapOn forbids that: turn it off (swapoff -a), or set failSwapOn: false (--fail-swap-on=false)")
		}
	}
	if err := os.MkdirAll(o.Flags.RootDir, 0o750); err != nil {
		return fmt.Errorf("--root-dir: %w", err)
	}
	return nil
}

// setOpenFiles raises or lowers the limit of open files to n. Where the hard
// limit may not be raised, as much as possible is taken and an error returned.
func setOpenFiles(n uint64) error {
	want := unix.Rlimit{Cur: n, Max: n}
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &want)
	if err == nil {
		return nil
	}
	var has unix.Rlimit
	if getErr := unix.Getrlimit(unix.RLIMIT_NOFILE, &has); getErr == nil && has.Cur < has.Max {
		has.Cur = min(n, has.Max)
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &has) == nil {
			return fmt.Errorf("set the hard limit to %d: %w (using %d)", n, err, has.Cur)
		}
	}
	return fmt.Errorf("set the hard limit to %d: %w", n, err)
}

func setOOMScore(score int) error {
	return os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(score)), 0)
}

// swapIsOn reads a table in the form of /proc/swaps: a header, then a line for
// each swap area.
func swapIsOn(path string) (bool, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a kernel without swap
	}
	if err != nil {
		return false, fmt.Errorf("look for swap: %w", err)
	}
	return bytes.Count(bytes.TrimSpace(raw), []byte("\n")) > 0, nil
}
