// Package images packs the container images that the end-to-end suite names, from Debian's packages and the suite's own
// test server, as docker archives. The suite finds them under upstream's names; their bytes are not upstream's.
package images

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

//go:embed c.go content.go elf.go images.go layer.go nested.go
var recipe embed.FS

// Archives packs the images into cache/images-<hash of the recipe> unless they are there, and returns that folder.
func Archives(cache string, s Sources, say func(string, ...any)) (string, error) {
	h := sha256.New()
	entries, err := recipe.ReadDir(".")
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		b, err := recipe.ReadFile(e.Name())
		if err != nil {
			return "", err
		}
		h.Write(b)
	}
	dir := filepath.Join(cache, fmt.Sprintf("images-%x", h.Sum(nil)[:4]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	say("packing the images")
	part := filepath.Join(cache, ".images.part")
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	if err := os.MkdirAll(part, 0o755); err != nil {
		return "", err
	}
	list, err := all(s)
	if err != nil {
		return "", err
	}
	for _, i := range list {
		if err := i.write(filepath.Join(part, i.name+".tar")); err != nil {
			return "", fmt.Errorf("pack %s: %w", i.name, err)
		}
	}
	old, err := filepath.Glob(filepath.Join(cache, "images-*"))
	if err != nil {
		return "", err
	}
	for _, o := range old {
		if err := os.RemoveAll(o); err != nil {
			return "", err
		}
	}
	return dir, os.Rename(part, dir)
}

// write makes one archive with one image for each tag. They share the layer and differ in a label: a runtime that sees
// one image under several names reports any of them, and specs compare names.
func (i image) write(to string) error {
	set := map[name.Tag]v1.Image{}
	for _, t := range i.tags {
		tag, err := name.NewTag(t)
		if err != nil {
			return err
		}
		if set[tag], err = i.pack(t); err != nil {
			return err
		}
	}
	return tarball.MultiWriteToFile(to, set)
}

// pack makes the image of one tag.
func (i image) pack(tag string) (v1.Image, error) {
	content, err := i.files.layer()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	if err != nil {
		return nil, err
	}
	stacked, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	cf, err := stacked.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture, cf.Config = "linux", runtime.GOARCH, i.conf
	cf.Config.Labels = map[string]string{"tag": tag}
	return mutate.ConfigFile(stacked, cf)
}
