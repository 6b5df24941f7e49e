package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestLayerIsOneOrderParentsFirst(t *testing.T) {
	f := files{}
	f.text("/etc/passwd", "root")
	f.symlink("/bin/sh", "/bin/busybox")
	f.bytes("/usr/bin/nnp", []byte("x"), 0o6755)
	f.folder("/tmp", 0o1777)
	first, err := f.layer()
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.clone().layer()
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the same files give other bytes (%v)", err)
	}
	var got []string
	modes := map[string]int64{}
	for r := tar.NewReader(bytes.NewReader(first)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name)
		modes[h.Name] = h.Mode
	}
	want := []string{"bin/", "bin/sh", "etc/", "etc/passwd", "tmp/", "usr/", "usr/bin/", "usr/bin/nnp"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if modes["usr/bin/nnp"] != 0o6755 || modes["tmp/"] != 0o1777 {
		t.Errorf("modes: %v", modes)
	}
}

func TestResolveStaysInsideTheRoot(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"usr/lib/real", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "usr/lib/real/a.so"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{"/usr/lib/real/a.so": "etc/a", "../lib/real": "usr/short"} {
		if err := os.Symlink(to, filepath.Join(root, from)); err != nil {
			t.Fatal(err)
		}
	}
	want := filepath.Join(root, "usr/lib/real/a.so")
	for _, p := range []string{"/usr/lib/real/a.so", "/etc/a", "/usr/short/a.so", "/lib/real/a.so"} {
		if got, err := resolve(root, p); err != nil || got != want {
			t.Errorf("%s: got %s, %v", p, got, err)
		}
	}
	if _, err := resolve(root, "/etc/hostname"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file of this machine: %v", err)
	}
}

func TestMirrorServesWhatWasPacked(t *testing.T) {
	dir := t.TempDir()
	f := files{}
	f.text("/hello", "world")
	i := image{name: "a", tags: []string{"registry.k8s.io/team/a:1", "registry.k8s.io/team/a:2"}, files: f, conf: v1.Config{Cmd: []string{"x"}}}
	if err := i.write(filepath.Join(dir, "a.tar")); err != nil {
		t.Fatal(err)
	}
	m, err := NewMirror(dir)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, []byte, http.Header) {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.Bytes(), w.Header()
	}
	digests := map[string]bool{}
	for _, tag := range []string{"1", "2"} {
		code, raw, header := get("/v2/team/a/manifests/" + tag)
		if code != http.StatusOK {
			t.Fatalf("manifest of tag %s: %d %s", tag, code, raw)
		}
		digests[header.Get("Docker-Content-Digest")] = true
		if code, same, _ := get("/v2/team/a/manifests/" + header.Get("Docker-Content-Digest")); code != http.StatusOK || !bytes.Equal(same, raw) {
			t.Errorf("manifest by digest: %d", code)
		}
		manifest, err := v1.ParseManifest(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range append(manifest.Layers, manifest.Config) {
			code, content, _ := get("/v2/team/a/blobs/" + d.Digest.String())
			got, _, err := v1.SHA256(bytes.NewReader(content))
			if code != http.StatusOK || err != nil || got != d.Digest {
				t.Errorf("blob %s: %d, is %s (%v)", d.Digest, code, got, err)
			}
		}
	}
	if len(digests) != 2 {
		t.Errorf("tags share an image: %v", digests)
	}
	for _, p := range []string{"/v2/team/a/manifests/3", "/v2/team/b/manifests/1", "/v2/team/a/blobs/sha256:00", "/other"} {
		if code, _, _ := get(p); code != http.StatusNotFound {
			t.Errorf("%s: %d", p, code)
		}
	}
	if code, _, _ := get("/v2/"); code != http.StatusOK {
		t.Errorf("the protocol's own page: %d", code)
	}
}
