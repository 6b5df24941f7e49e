// Command pack writes a container image as a docker archive from files of this machine, without a registry or a daemon.
//
//	pack -o hello.tar -tag localhost/hello:1 -entrypoint /hello -file ./hello:/hello [-file …] [-link /bin/busybox:/bin/sh …]
//
// The same input gives the same bytes: the image has no time of its own.
package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sort"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	var o options
	flag.StringVar(&o.out, "o", "", "archive to write")
	flag.StringVar(&o.tag, "tag", "", "name of the image")
	flag.StringVar(&o.user, "user", "", "user that the image runs as")
	flag.Var(&o.entrypoint, "entrypoint", "entry point; repeat for arguments")
	flag.Var(&o.cmd, "cmd", "default arguments; repeat")
	flag.Var(&o.env, "env", "KEY=VALUE; repeat")
	flag.Var(&o.files, "file", "SOURCE:TARGET, mode 0755; repeat")
	flag.Var(&o.texts, "text", "TARGET=TEXT, mode 0644; repeat")
	flag.Var(&o.links, "link", "TARGET:NAME, a symbolic link; repeat")
	flag.Var(&o.dirs, "dir", "folder, mode 0755 (1777 for /tmp); repeat")
	flag.Parse()
	if err := o.write(); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

type options struct {
	out, tag, user                                  string
	entrypoint, cmd, env, files, texts, links, dirs list
}

func (o options) write() error {
	tag, err := name.NewTag(o.tag)
	if err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	content, err := o.layer()
	if err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	if err != nil {
		return fmt.Errorf("layer: %w", err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return fmt.Errorf("append layer: %w", err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture = "linux", runtime.GOARCH
	cf.Config = v1.Config{User: o.user, Entrypoint: o.entrypoint, Cmd: o.cmd, Env: append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}, o.env...)}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		return fmt.Errorf("write config: %w", err)
	}
	part := o.out + ".part"
	if err := tarball.WriteToFile(part, tag, img); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return os.Rename(part, o.out)
}

// layer is a tar of everything asked for, parents before children.
func (o options) layer() ([]byte, error) {
	var b bytes.Buffer
	w := &layerWriter{tar: tar.NewWriter(&b), seen: map[string]bool{}}
	for _, d := range o.dirs {
		w.folder(d)
	}
	for _, f := range sorted(o.files) {
		src, target, ok := strings.Cut(f, ":")
		if !ok {
			return nil, fmt.Errorf("-file %q: want SOURCE:TARGET", f)
		}
		data, err := os.ReadFile(src)
		if err != nil {
			return nil, err
		}
		w.file(target, 0o755, data)
	}
	for _, t := range sorted(o.texts) {
		target, text, ok := strings.Cut(t, "=")
		if !ok {
			return nil, fmt.Errorf("-text %q: want TARGET=TEXT", t)
		}
		w.file(target, 0o644, []byte(strings.ReplaceAll(text, `\n`, "\n")))
	}
	for _, l := range sorted(o.links) {
		target, at, ok := strings.Cut(l, ":")
		if !ok {
			return nil, fmt.Errorf("-link %q: want TARGET:NAME", l)
		}
		w.parents(at)
		w.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: rel(at), Linkname: target, Mode: 0o777}, nil)
	}
	if w.err == nil {
		w.err = w.tar.Close()
	}
	return b.Bytes(), w.err
}

type layerWriter struct {
	tar  *tar.Writer
	seen map[string]bool
	err  error
}

func (w *layerWriter) parents(p string) {
	if d := path.Dir(path.Clean("/" + p)); d != "/" {
		w.folder(d)
	}
}

func (w *layerWriter) folder(p string) {
	p = path.Clean("/" + p)
	if p == "/" || w.seen[p] {
		return
	}
	w.parents(p)
	w.seen[p] = true
	mode := int64(0o755)
	if p == "/tmp" {
		mode = 0o1777
	}
	w.add(&tar.Header{Typeflag: tar.TypeDir, Name: rel(p) + "/", Mode: mode}, nil)
}

func (w *layerWriter) file(p string, mode int64, data []byte) {
	w.parents(p)
	w.add(&tar.Header{Typeflag: tar.TypeReg, Name: rel(p), Mode: mode, Size: int64(len(data))}, data)
}

func (w *layerWriter) add(h *tar.Header, data []byte) {
	if w.err != nil {
		return
	}
	if w.err = w.tar.WriteHeader(h); w.err == nil && data != nil {
		_, w.err = w.tar.Write(data)
	}
}

func rel(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

func sorted(l []string) []string {
	out := append([]string(nil), l...)
	sort.Strings(out)
	return out
}
