// Package build makes the programs of the conformance rig from Go modules and from Debian's sources, once, into a cache.
package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// program is one executable of the rig.
type program struct {
	module  string // folder below test/conformance
	pkg     string // import path
	name    string // file in bin/
	ldflags string
	test    bool // a test binary: the end-to-end suite is one
}

// KubernetesVersion is what the control plane, the stock kubelet and the suite are built from; kubernetes/go.mod pins it.
const KubernetesVersion = "v1.36.3"

func programs() []program {
	const v = "k8s.io/component-base/version"
	// As a release stamps them; without it servers call themselves v0.0.0-master and the suite skips what looks too new.
	stamp := fmt.Sprintf("-X %s.gitVersion=%s -X %s.gitMajor=1 -X %s.gitMinor=36", v, KubernetesVersion, v, v)
	ps := []program{{module: "etcd", pkg: "go.etcd.io/etcd/server/v3", name: "etcd"}}
	for _, n := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet"} {
		ps = append(ps, program{module: "kubernetes", pkg: "k8s.io/kubernetes/cmd/" + n, name: n, ldflags: stamp})
	}
	return append(ps,
		program{module: "kubernetes", pkg: "k8s.io/kubernetes/test/images/agnhost", name: "agnhost", ldflags: "-s -w"},
		program{module: "kubernetes", pkg: "github.com/onsi/ginkgo/v2/ginkgo", name: "ginkgo"},
		program{module: "kubernetes", pkg: "k8s.io/kubernetes/test/e2e", name: "e2e.test", ldflags: stamp, test: true},
	)
}

// CacheDir is the folder for what is built: its name follows the pinned module versions.
func CacheDir(top string) (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the cache folder: %w", err)
		}
		base = filepath.Join(home, ".cache")
	}
	h := sha256.New()
	for _, f := range []string{"kubernetes/go.mod", "kubernetes/go.sum", "etcd/go.mod", "etcd/go.sum"} {
		b, err := os.ReadFile(filepath.Join(top, "test/conformance", f))
		if err != nil {
			return "", fmt.Errorf("hash the pinned versions: %w", err)
		}
		h.Write(b)
	}
	return filepath.Join(base, "troupe", fmt.Sprintf("conformance-%s-%x", KubernetesVersion, h.Sum(nil)[:4])), nil
}

// Programs builds what is missing in cache/bin. say gets one line for each step.
func Programs(ctx context.Context, top, cache string, say func(string, ...any)) error {
	bin := filepath.Join(cache, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	var missing []program
	for _, p := range programs() {
		if _, err := os.Stat(filepath.Join(bin, p.name)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		say("building the Kubernetes %s control plane, kubelet and test suite: about ten minutes on two cores, once", KubernetesVersion)
	}
	for i, p := range missing {
		started := time.Now()
		if err := p.build(ctx, filepath.Join(top, "test/conformance", p.module), bin); err != nil {
			return err
		}
		say("  [%d/%d] %s (%.0f s)", i+1, len(missing), p.name, time.Since(started).Seconds())
	}
	return nil
}

func (p program) build(ctx context.Context, dir, bin string) error {
	// A build goes to a temporary name first: an interrupted one leaves nothing that looks finished.
	part := filepath.Join(bin, "."+p.name+".part")
	args := []string{"-n", "10", "go"}
	if p.test {
		args = append(args, "test", "-c")
	} else {
		args = append(args, "build")
	}
	args = append(args, "-mod=readonly", "-ldflags", p.ldflags, "-o", part, p.pkg)
	if err := run(ctx, dir, []string{"CGO_ENABLED=0"}, "nice", args...); err != nil {
		return fmt.Errorf("build %s: %w", p.name, err)
	}
	return os.Rename(part, filepath.Join(bin, p.name))
}

// run calls a program and gives the end of its output when it fails.
func run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	return nil
}
