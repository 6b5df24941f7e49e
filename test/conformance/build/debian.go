package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// packages are those whose programs the images contain, beside busybox. Their dependencies come along.
var packages = []string{"curl", "netcat-openbsd", "bind9-dnsutils", "iproute2", "util-linux", "bash", "hostname", "nginx-light"}

// DebianRoot fills cache/debian with the files of those packages, unpacked and never installed: nothing of this machine
// changes, and no service starts. Returns the folder.
func DebianRoot(ctx context.Context, cache string, say func(string, ...any)) (string, error) {
	root := filepath.Join(cache, "debian")
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	say("fetching %s from Debian's packages, for the images", strings.Join(packages, ", "))
	apt, err := newApt(ctx, filepath.Join(cache, ".apt"))
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(apt.dir)
	// Seen from an empty system, so that every library comes along and not only what this machine lacks.
	if err := os.WriteFile(filepath.Join(apt.dir, "status"), nil, 0o644); err != nil {
		return "", err
	}
	args := append([]string{"-o", "Dir::State::status=" + filepath.Join(apt.dir, "status"), "--download-only", "--yes", "--no-install-recommends", "install"}, packages...)
	if err := apt.get(ctx, args...); err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(apt.dir, "archives", "*.deb"))
	if err != nil || len(debs) == 0 {
		return "", fmt.Errorf("no packages were fetched (%v)", err)
	}
	part := filepath.Join(cache, ".debian.part")
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	for _, d := range debs {
		if err := run(ctx, apt.dir, nil, "dpkg-deb", "--extract", d, part); err != nil {
			return "", err
		}
	}
	return root, os.Rename(part, root)
}

// Busybox builds Debian's busybox source with every applet and its own shell, static, as the images of the suite have
// it; Debian's own build leaves some out. Returns the file.
func Busybox(ctx context.Context, cache string, say func(string, ...any)) (string, error) {
	out := filepath.Join(cache, "bin", "busybox")
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	say("building busybox from Debian's source, for the images")
	apt, err := newApt(ctx, filepath.Join(cache, ".apt-src"))
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(apt.dir)
	if err := apt.get(ctx, "source", "--download-only", "busybox"); err != nil {
		return "", err
	}
	archives, err := filepath.Glob(filepath.Join(apt.dir, "busybox_*.orig.tar.*"))
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("the source of busybox: want one archive, have %v (%v)", archives, err)
	}
	src := filepath.Join(apt.dir, "src")
	if err := os.Mkdir(src, 0o755); err != nil {
		return "", err
	}
	if err := run(ctx, src, nil, "tar", "--extract", "--strip-components=1", "--file", archives[0]); err != nil {
		return "", err
	}
	if err := run(ctx, src, nil, "make", "defconfig"); err != nil {
		return "", err
	}
	config := filepath.Join(src, ".config")
	b, err := os.ReadFile(config)
	if err != nil {
		return "", err
	}
	text := strings.Replace(string(b), "# CONFIG_STATIC is not set", "CONFIG_STATIC=y", 1)
	// tc needs kernel headers of its time
	text = regexp.MustCompile(`(?m)^CONFIG_(FEATURE_)?TC(_INGRESS)?=y$`).ReplaceAllString(text, "# CONFIG_${1}TC${2} is not set")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return "", err
	}
	if err := run(ctx, src, nil, "sh", "-c", "yes '' | make oldconfig && exec nice -n 10 make -s -j2 busybox"); err != nil {
		return "", err
	}
	return out, os.Rename(filepath.Join(src, "busybox"), out)
}

// apt calls apt-get with lists, archives and sources of its own.
type apt struct {
	dir     string
	options []string
}

func newApt(ctx context.Context, dir string) (*apt, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	for _, d := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	if err := copySources(filepath.Join(dir, "sources")); err != nil {
		return nil, err
	}
	a := &apt{dir: dir, options: []string{"-q",
		"-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=" + filepath.Join(dir, "sources"),
		"-o", "Dir::State::lists=" + filepath.Join(dir, "lists"), "-o", "Dir::Cache::archives=" + filepath.Join(dir, "archives"),
		"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1"}}
	return a, a.get(ctx, "update")
}

func (a *apt) get(ctx context.Context, args ...string) error {
	return run(ctx, a.dir, []string{"DEBIAN_FRONTEND=noninteractive"}, "apt-get", append(a.options[:len(a.options):len(a.options)], args...)...)
}

// copySources takes this machine's package sources, and asks each for source packages too.
func copySources(to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	files, err := filepath.Glob("/etc/apt/sources.list.d/*")
	if err != nil {
		return err
	}
	for _, f := range append(files, "/etc/apt/sources.list") {
		b, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		text := regexp.MustCompile(`(?m)^Types:.*$`).ReplaceAllString(string(b), "Types: deb deb-src")
		if !strings.HasSuffix(f, ".sources") {
			text += "\n" + regexp.MustCompile(`(?m)^deb(\s)`).ReplaceAllString(text, "deb-src$1")
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(f)), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
