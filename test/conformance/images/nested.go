package images

import (
	"io"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// nest puts an image into a folder that the suite's test server serves as a registry: a file for each tag that names a
// digest, and manifests and blobs by digest.
func (f files) nest(folder, tag string, img v1.Image) error {
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	f.text(path.Join(folder, "manifests", tag), digest.String())
	f.bytes(byDigest(path.Join(folder, "manifests"), digest), manifest, 0o644)
	config, err := img.ConfigName()
	if err != nil {
		return err
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	f.bytes(byDigest(path.Join(folder, "blobs"), config), raw, 0o644)
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		hash, err := l.Digest()
		if err != nil {
			return err
		}
		r, err := l.Compressed()
		if err != nil {
			return err
		}
		content, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return err
		}
		f.bytes(byDigest(path.Join(folder, "blobs"), hash), content, 0o644)
	}
	return nil
}

// byDigest is where the test server looks for a digest: FOLDER/sha256/ab/abcdef.../data.
func byDigest(folder string, h v1.Hash) string {
	return path.Join(folder, h.Algorithm, h.Hex[:2], h.Hex, "data")
}
