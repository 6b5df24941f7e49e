package images

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Mirror is a read-only registry of the packed images: some specs pull although the image is there.
type Mirror struct {
	mu    sync.Mutex          // loading computes digests; one at a time
	files map[string]string   // archive by repository:tag, without the registry's host
	tags  map[string]name.Tag // by the same
	known map[string]v1.Image // by the same, and by repository@digest
}

// Hosts are the registries whose images the mirror has.
var Hosts = []string{"registry.k8s.io", "docker.io"}

// NewMirror serves the archives of a folder.
func NewMirror(dir string) (*Mirror, error) {
	m := &Mirror{files: map[string]string{}, tags: map[string]name.Tag{}, known: map[string]v1.Image{}}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil {
		return nil, err
	}
	for _, a := range archives {
		list, err := tarball.LoadManifest(opener(a))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Base(a), err)
		}
		for _, d := range list {
			for _, t := range d.RepoTags {
				tag, err := name.NewTag(t)
				if err != nil {
					return nil, err
				}
				key := tag.RepositoryStr() + ":" + tag.TagStr()
				m.files[key], m.tags[key] = a, tag
			}
		}
	}
	return m, nil
}

var request = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs)/([^/]+)$`)

// ServeHTTP answers what the distribution protocol asks to pull.
func (m *Mirror) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	p := request.FindStringSubmatch(q.URL.Path)
	switch {
	case q.Method != http.MethodGet && q.Method != http.MethodHead:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case q.URL.Path == "/v2/":
	case p == nil:
		http.NotFound(w, q)
	case p[2] == "manifests":
		m.manifest(w, q, p[1], p[3])
	default:
		m.blob(w, q, p[1], p[3])
	}
}

func (m *Mirror) manifest(w http.ResponseWriter, q *http.Request, repository, reference string) {
	img, err := m.image(repository, reference)
	if img == nil || err != nil {
		refuse(w, err)
		return
	}
	raw, err := img.RawManifest()
	if err != nil {
		refuse(w, err)
		return
	}
	kind, err := img.MediaType()
	if err != nil {
		refuse(w, err)
		return
	}
	digest, err := img.Digest()
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", string(kind))
	w.Header().Set("Docker-Content-Digest", digest.String())
	w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
	if q.Method == http.MethodGet {
		_, _ = w.Write(raw)
	}
}

// image finds one by tag, or by the digest under which it was found before; nil when there is none.
func (m *Mirror) image(repository, reference string) (v1.Image, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if strings.HasPrefix(reference, "sha256:") {
		return m.known[repository+"@"+reference], nil
	}
	key := repository + ":" + reference
	if img, ok := m.known[key]; ok {
		return img, nil
	}
	file, ok := m.files[key]
	if !ok {
		return nil, nil
	}
	tag := m.tags[key]
	img, err := tarball.ImageFromPath(file, &tag)
	if err != nil {
		return nil, err
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	m.known[key], m.known[repository+"@"+digest.String()] = img, img
	return img, nil
}

// blob sends a layer or a configuration of an image whose manifest was asked for before.
func (m *Mirror) blob(w http.ResponseWriter, q *http.Request, repository, digest string) {
	hash, err := v1.NewHash(digest)
	if err != nil {
		refuse(w, nil)
		return
	}
	m.mu.Lock()
	var found []v1.Image
	for k, img := range m.known {
		if strings.HasPrefix(k, repository+"@") {
			found = append(found, img)
		}
	}
	m.mu.Unlock()
	for _, img := range found {
		if c, err := img.ConfigName(); err == nil && c == hash {
			raw, err := img.RawConfigFile()
			if err != nil {
				refuse(w, err)
				return
			}
			_, _ = w.Write(raw)
			return
		}
		l, err := img.LayerByDigest(hash)
		if err != nil {
			continue
		}
		content, err := l.Compressed()
		if err != nil {
			refuse(w, err)
			return
		}
		defer content.Close()
		_, _ = io.Copy(w, content)
		return
	}
	refuse(w, nil)
}

func opener(file string) tarball.Opener {
	return func() (io.ReadCloser, error) { return os.Open(file) }
}

// refuse answers that there is no such thing, or that it cannot be had for a reason.
func refuse(w http.ResponseWriter, err error) {
	if err == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
