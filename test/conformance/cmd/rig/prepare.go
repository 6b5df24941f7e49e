package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/troupe-dev/troupe/test/conformance/build"
	"github.com/troupe-dev/troupe/test/conformance/images"
	"github.com/troupe-dev/troupe/test/conformance/report"
	"github.com/troupe-dev/troupe/test/conformance/suite"
)

func prepare(what string, args []string) error {
	o, err := parse(what, args)
	if err != nil {
		return err
	}
	if what == "page" {
		return report.WritePage(o.results(), o.page())
	}
	ctx, stop := interruptible()
	defer stop()
	_, _, err = o.build(ctx)
	return err
}

func (o options) results() string { return filepath.Join(o.top, "test/conformance/results") }
func (o options) page() string    { return filepath.Join(o.top, "docs/conformance.md") }

// build makes all that a run needs, and returns the folders of the container runtime and of the images.
func (o options) build(ctx context.Context) (runtime, archives string, err error) {
	if err := os.MkdirAll(o.cache, 0o755); err != nil {
		return "", "", err
	}
	lock, err := os.OpenFile(filepath.Join(o.cache, ".build-lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", "", err
	}
	c := exec.CommandContext(ctx, filepath.Join(o.top, "test/rig/runtime.sh"))
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, os.Stderr
	if err := c.Run(); err != nil {
		return "", "", fmt.Errorf("build the container runtime: %w", err)
	}
	runtime = strings.TrimSpace(out.String())
	if err := build.Programs(ctx, o.top, o.cache, say); err != nil {
		return "", "", err
	}
	debian, err := build.DebianRoot(ctx, o.cache, say)
	if err != nil {
		return "", "", fmt.Errorf("fetch Debian's packages: %w", err)
	}
	busybox, err := build.Busybox(ctx, o.cache, say)
	if err != nil {
		return "", "", fmt.Errorf("build busybox: %w", err)
	}
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes")
	list.Dir = filepath.Join(o.top, "test/conformance/kubernetes")
	dir, err := list.Output()
	if err != nil {
		return "", "", fmt.Errorf("find the Kubernetes module: %w", err)
	}
	archives, err = images.Archives(o.cache, images.Sources{Debian: debian, Busybox: busybox,
		Agnhost: filepath.Join(o.cache, "bin/agnhost"), Kubernetes: strings.TrimSpace(string(dir))}, say)
	return runtime, archives, err
}

// specs lists the suites and the versions of all parts, and keeps both for the page.
func (o options) specs(ctx context.Context, runtime string) ([]string, error) {
	all, err := suite.List(ctx, o.cache)
	if err != nil {
		return nil, err
	}
	s := report.Specs{Kubernetes: build.KubernetesVersion, Versions: map[string]string{"Kubernetes (control plane, suite, stock kubelet)": build.KubernetesVersion}}
	for _, c := range []suite.Suite{suite.Conformance, suite.Serial} {
		s.Suites = append(s.Suites, report.SuiteSpecs{Name: c.Name, Specs: c.Select(all)})
	}
	for _, p := range []struct{ name, file string }{
		{"containerd", filepath.Join(runtime, "bin/containerd")}, {"runc", filepath.Join(runtime, "bin/runc")}, {"CNI plugins", filepath.Join(runtime, "cni/bridge")},
		{"etcd", filepath.Join(o.cache, "bin/etcd")}, {"ginkgo", filepath.Join(o.cache, "bin/ginkgo")},
	} {
		info, err := buildinfo.ReadFile(p.file)
		if err != nil {
			return nil, fmt.Errorf("version of %s: %w", p.name, err)
		}
		for _, d := range append(info.Deps, &info.Main) {
			if strings.HasPrefix(info.Path, d.Path+"/") || info.Path == d.Path {
				s.Versions[p.name] = d.Version
			}
		}
		s.Versions["Go"] = strings.TrimPrefix(info.GoVersion, "go")
	}
	if o.keep {
		err = s.Save(o.results())
	}
	return all, err
}

// machine says what the runs ran on.
func machine(unified bool) string {
	var u unix.Utsname
	kernel := "an unknown kernel"
	if unix.Uname(&u) == nil {
		kernel = "Linux " + strings.Split(unix.ByteSliceToString(u.Release[:]), "-")[0]
	}
	cgroup := "cgroup v1 (hybrid)"
	if unified {
		cgroup = "cgroup v2"
	}
	var set unix.CPUSet
	cores := 0
	if unix.SchedGetaffinity(0, &set) == nil {
		cores = set.Count()
	}
	return fmt.Sprintf("%d cores, %s, %s", cores, kernel, cgroup)
}

// lockFile holds the process of the run that goes on. It is the machine's, whatever cache a run uses: runs share a cgroup path.
const lockFile = "/run/troupe-conformance.lock"

// onlyRun holds the machine for one run at a time.
func onlyRun() (*os.File, error) {
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		b, _ := os.ReadFile(f.Name())
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another conformance run goes on (process %s)", strings.TrimSpace(string(b)))
		}
		return nil, err
	}
	return f, nil
}
