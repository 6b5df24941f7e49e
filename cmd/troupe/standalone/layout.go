// Package standalone is `troupe run` and what belongs to it (ps, logs, stop): pods from files on this machine, without
// an API server, on a container runtime that is ours alone or on one that is there already.
//
// What a run makes lives in one state folder, so that the end of the run (or the next one, when it was killed) finds
// everything again: the runtime's data and sockets, volumes, logs, the record of who runs.
package standalone

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
)

// DefaultStateDir is where a run keeps its state.
const DefaultStateDir = "/var/lib/troupe/run"

// Layout names the paths below the state folder.
type Layout struct{ Dir string }

// maxSocketPath is the size of sun_path minus its end mark (unix(7)).
const maxSocketPath = 107

// NewLayout makes the state folder. Only root may read it: it holds secrets of pods.
func NewLayout(dir string) (Layout, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Layout{}, err
	}
	l := Layout{Dir: abs}
	if n := len(l.ContainerdSocket() + ".ttrpc"); n > maxSocketPath {
		return l, fmt.Errorf("the state folder %s makes a socket path of %d bytes, the kernel takes %d: choose a shorter one", abs, n, maxSocketPath)
	}
	if err := os.MkdirAll(abs, 0o711); err != nil {
		return l, fmt.Errorf("make the state folder: %w", err)
	}
	if err := os.MkdirAll(l.AgentRoot(), 0o750); err != nil {
		return l, fmt.Errorf("make the state folder: %w", err)
	}
	return l, nil
}

func (l Layout) path(p ...string) string { return filepath.Join(append([]string{l.Dir}, p...)...) }

// ContainerdSocket is where the private containerd listens.
func (l Layout) ContainerdSocket() string { return l.path("containerd.sock") }

// ControlSocket serves ps, logs and stop.
func (l Layout) ControlSocket() string { return l.path("control.sock") }

// InspectSocket is the agent's root-only inspection socket: where tree and explain look by themselves, unless the run
// has a state folder of its own.
func (l Layout) InspectSocket() string {
	if l.Dir == DefaultStateDir {
		return kubeletconfig.DefaultSocket
	}
	return l.path("inspect", "troupe.sock") // a folder that is the socket's alone
}

// AgentRoot is the agent's root folder (--root-dir of the daemon): volumes of pods.
func (l Layout) AgentRoot() string { return l.path("agent") }

// PodLogs holds the containers' logs.
func (l Layout) PodLogs() string { return l.path("logs") }

// RecordFile says who runs; LockFile is held while somebody does.
func (l Layout) RecordFile() string { return l.path("run.json") }

// LockFile is locked (flock) by the process that runs the pods.
func (l Layout) LockFile() string { return l.path("lock") }

// AgentLog is the agent's log.
func (l Layout) AgentLog() string { return l.path("agent.log") }

// RunLog is the output of a detached run, RuntimeLog containerd's.
func (l Layout) RunLog() string { return l.path("run.log") }

// RuntimeLog is containerd's log.
func (l Layout) RuntimeLog() string { return l.path("containerd.log") }

// FindRuntime finds the folder with containerd and its friends (bin/, cni/): the one asked for, else what
// TROUPE_RUNTIME_DIR names, else the newest that was built into the cache folder, else what is in PATH and /opt/cni/bin.
func FindRuntime(asked string) (Toolset, error) {
	if asked == "" {
		asked = os.Getenv("TROUPE_RUNTIME_DIR")
	}
	if asked != "" {
		abs, err := filepath.Abs(asked)
		if err != nil {
			return Toolset{}, err
		}
		t := toolsetIn(abs)
		return t, t.check()
	}
	cache, err := os.UserCacheDir()
	if err == nil {
		built, _ := filepath.Glob(filepath.Join(cache, "troupe", "runtime-*", ".complete"))
		sort.Slice(built, func(i, j int) bool { return modTime(built[i]) > modTime(built[j]) })
		for _, b := range built {
			if t := toolsetIn(filepath.Dir(b)); t.check() == nil {
				return t, nil
			}
		}
	}
	t := toolsetFromPath()
	if err := t.check(); err != nil {
		return t, fmt.Errorf("no container runtime: %w; build one with test/rig/runtime.sh, or use an existing one with --container-runtime-endpoint", err)
	}
	return t, nil
}

func modTime(p string) int64 {
	st, err := os.Stat(p)
	if err != nil {
		return 0
	}
	return st.ModTime().UnixNano()
}

// Toolset is a set of runtime programs.
type Toolset struct {
	Containerd, Runc, Ctr string
	BinDir                string // goes first in containerd's PATH: its shim is found there
	CNIDir                string
}

func toolsetIn(dir string) Toolset {
	bin := filepath.Join(dir, "bin")
	return Toolset{
		Containerd: filepath.Join(bin, "containerd"), Runc: filepath.Join(bin, "runc"), Ctr: filepath.Join(bin, "ctr"),
		BinDir: bin, CNIDir: filepath.Join(dir, "cni"),
	}
}

func toolsetFromPath() Toolset {
	t := Toolset{Containerd: lookPath("containerd"), Runc: lookPath("runc"), Ctr: lookPath("ctr"), CNIDir: "/opt/cni/bin"}
	t.BinDir = filepath.Dir(t.Containerd)
	return t
}

// check names what is missing.
func (t Toolset) check() error {
	var missing []string
	for name, p := range map[string]string{
		"containerd": t.Containerd, "runc": t.Runc, "ctr": t.Ctr, "containerd-shim-runc-v2": filepath.Join(t.BinDir, "containerd-shim-runc-v2"),
		"CNI bridge": filepath.Join(t.CNIDir, "bridge"), "CNI host-local": filepath.Join(t.CNIDir, "host-local"),
		"CNI portmap": filepath.Join(t.CNIDir, "portmap"), "CNI loopback": filepath.Join(t.CNIDir, "loopback"),
	} {
		if st, err := os.Stat(p); p == "" || err != nil || st.Mode()&0o111 == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		sort.Strings(missing)
		return fmt.Errorf("missing: %s", strings.Join(missing, ", "))
	}
	return nil
}
