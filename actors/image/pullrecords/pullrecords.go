// Package pullrecords remembers on disk with which credentials the node pulled its images, so that a pod gets a private
// image that is there only if it could have pulled it itself (KEP-2535). Files and format are the kubelet's:
//
//	<root>/image_manager/pulling/sha256-<of the image's name>   ImagePullIntent: a pull began
//	<root>/image_manager/pulled/sha256-<of the image's ref>     ImagePulledRecord: with what it was pulled
//
// An intent that was found at start is a pull whose end was not recorded: if its image is there, it counts as pulled, with
// credentials that nobody knows.
package pullrecords

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"

	"github.com/troupe-dev/troupe/actors/image/keyring"
	"github.com/troupe-dev/troupe/actors/node/durable"
	"github.com/troupe-dev/troupe/messages/model"
)

const (
	prefix    = "sha256-"
	temporary = ".tmp" // of a kubelet that was killed while it wrote
	group     = "kubelet.config.k8s.io/"
)

// Lister lists the images of the node.
type Lister interface {
	ListImages(ctx context.Context) ([]model.ImageInfo, error)
}

// Store keeps the records. It is safe for concurrent use; its methods read and write files.
type Store struct {
	pulling, pulled string
	policy          Policy
	images          Lister
	logger          klog.Logger

	mu      sync.Mutex
	flying  map[string]int // pulls of this run, by image
	pending []string       // images of intents that an earlier run left
}

// Open makes the directories and reads what an earlier run left under way.
func Open(rootDir string, policy Policy, images Lister, logger klog.Logger) (*Store, error) {
	dir := filepath.Join(rootDir, "image_manager")
	s := &Store{pulling: filepath.Join(dir, "pulling"), pulled: filepath.Join(dir, "pulled"), policy: policy, images: images, logger: logger, flying: map[string]int{}}
	for _, d := range []string{s.pulling, s.pulled} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("image pull records: %w", err)
		}
	}
	err := each(s.pulling, func(text []byte) error {
		var intent kubeletconfig.ImagePullIntent
		if err := decode(text, &intent, &intent.TypeMeta, "ImagePullIntent"); err != nil {
			return err
		}
		s.pending = append(s.pending, intent.Image)
		return nil
	})
	if err != nil {
		logger.Error(err, "Some records of image pulls cannot be read")
	}
	return s, nil
}

// Intend records that a pull begins. Without that record the image would count as one that was put there.
func (s *Store) Intend(image string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	intent := kubeletconfig.ImagePullIntent{TypeMeta: metav1.TypeMeta{Kind: "ImagePullIntent", APIVersion: kubeletconfig.SchemeGroupVersion.String()}, Image: image}
	if err := write(filepath.Join(s.pulling, filename(image)), intent); err != nil {
		return fmt.Errorf("failed to record image pull intent: %w", err)
	}
	s.flying[image]++
	return nil
}

// Pulled records what a pull used. When that fails, the intent stays, so that the image does not count as put there.
func (s *Store) Pulled(image, ref string, by *keyring.Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	credentials := used(by)
	if err := s.record(image, ref, &credentials); err != nil {
		s.logger.Error(err, "Failed to write image pulled record", "image", image, "imageRef", ref)
		return
	}
	s.landed(image)
}

// Failed records that a pull came to nothing.
func (s *Store) Failed(image string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.landed(image)
}

func (s *Store) landed(image string) {
	if s.flying[image]--; s.flying[image] > 0 {
		return
	}
	delete(s.flying, image)
	if err := os.Remove(filepath.Join(s.pulling, filename(image))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.logger.Error(err, "Failed to remove image pull intent", "image", image)
	}
}

// MayUse says whether a pod may use an image that is there. What cannot be decided is pulled again.
func (s *Store) MayUse(ctx context.Context, image, ref string, creds func() ([]keyring.Credential, error)) (bool, error) {
	s.recover(ctx)
	s.mu.Lock()
	record, err := s.read(ref)
	pulled := record != nil || s.flying[image] > 0
	if err == nil && !pulled {
		_, err = os.Stat(filepath.Join(s.pulling, filename(image)))
		pulled = err == nil
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	s.mu.Unlock()
	if err != nil {
		s.logger.Error(err, "Unable to read the records of image pulls, the image will be pulled", "image", image)
		return false, nil
	}
	if !s.policy.verify(image, pulled) {
		return true, nil
	}
	if record == nil {
		return false, nil
	}
	name, err := withoutTag(image)
	if err != nil {
		return false, nil
	}
	have, known := record.CredentialMapping[name]
	switch {
	case !known:
		return false, nil
	case have.NodePodsAccessible:
		return true, nil
	case len(have.KubernetesSecrets) == 0 && len(have.KubernetesServiceAccounts) == 0:
		return false, nil
	}
	list, err := creds()
	if err != nil {
		return false, err
	}
	ok, learn := judge(have, list)
	if learn != nil {
		credentials := used(learn)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.record(image, ref, &credentials); err != nil {
			s.logger.Error(err, "Failed to write image pulled record", "image", image, "imageRef", ref)
		}
	}
	return ok, nil
}

// Prune removes records of images that are not there any more and that were last written before a moment, the beginning
// of the look that found them gone.
func (s *Store) Prune(refs map[string]struct{}, before time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := each(s.pulled, func(text []byte) error {
		var record kubeletconfig.ImagePulledRecord
		if err := decode(text, &record, &record.TypeMeta, "ImagePulledRecord"); err != nil {
			return err
		}
		if _, there := refs[record.ImageRef]; there || !record.LastUpdatedTime.Time.Before(before) {
			return nil
		}
		return os.Remove(filepath.Join(s.pulled, filename(record.ImageRef)))
	})
	if err != nil {
		s.logger.Error(err, "Some records of pulled images cannot be removed")
	}
}

// recover turns intents of an earlier run into records, once the runtime says which of their images are there.
func (s *Store) recover(ctx context.Context) {
	s.mu.Lock()
	pending := s.pending
	s.mu.Unlock()
	if len(pending) == 0 {
		return
	}
	images, err := s.images.ListImages(ctx)
	if err != nil {
		s.logger.Info("Cannot tell what became of image pulls of an earlier run, trying again later", "err", err)
		return
	}
	refs := map[string]string{}
	for _, info := range images {
		for _, names := range [][]string{info.RepoTags, info.RepoDigests} {
			for _, name := range names {
				refs[name] = info.ID
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = nil
	for _, image := range pending {
		ref := refs[image]
		if ref == "" || s.flying[image] > 0 {
			continue // the intent stays: should the image appear under another name, it was pulled
		}
		if err := s.record(image, ref, nil); err != nil {
			s.logger.Error(err, "Failed to write image pulled record", "image", image, "imageRef", ref)
			continue
		}
		s.landed(image)
	}
}

// record adds what a pull used to the image's record; nil makes one that lets nobody in without a pull.
func (s *Store) record(image, ref string, credentials *kubeletconfig.ImagePullCredentials) error {
	name, err := withoutTag(image)
	if err != nil {
		return fmt.Errorf("invalid image name %q: %w", image, err)
	}
	record, err := s.read(ref)
	if err != nil {
		s.logger.Error(err, "A record of a pulled image cannot be read and is replaced", "imageRef", ref)
	}
	next, changed := kubeletconfig.ImagePulledRecord{ImageRef: ref}, record == nil
	if record != nil {
		next = *record
	}
	if credentials != nil {
		var added bool
		next, added = merge(next, name, *credentials)
		changed = changed || added
	}
	if !changed {
		return nil
	}
	next.TypeMeta = metav1.TypeMeta{Kind: "ImagePulledRecord", APIVersion: kubeletconfig.SchemeGroupVersion.String()}
	next.LastUpdatedTime = metav1.Now()
	return write(filepath.Join(s.pulled, filename(ref)), next)
}

// read returns the image's record, nil without one.
func (s *Store) read(ref string) (*kubeletconfig.ImagePulledRecord, error) {
	text, err := os.ReadFile(filepath.Join(s.pulled, filename(ref)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var record kubeletconfig.ImagePulledRecord
	if err := decode(text, &record, &record.TypeMeta, "ImagePulledRecord"); err != nil {
		return nil, fmt.Errorf("record of image %s: %w", ref, err)
	}
	if record.ImageRef != ref {
		return nil, nil
	}
	return &record, nil
}

func filename(of string) string { return fmt.Sprintf("%s%x", prefix, sha256.Sum256([]byte(of))) }

// decode reads a record of any version that the kubelet has written; they differ in nothing but their names.
func decode(text []byte, into any, meta *metav1.TypeMeta, kind string) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	version, ours := strings.CutPrefix(meta.APIVersion, group)
	if !ours || version != "v1beta1" && version != "v1alpha1" || meta.Kind != kind {
		return fmt.Errorf("holds %s %s, want %s of %sv1beta1", meta.APIVersion, meta.Kind, kind, group)
	}
	return nil
}

// each calls f with the content of every record in a directory.
func each(dir string, f func(text []byte) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() || !strings.HasPrefix(e.Name(), prefix) || strings.HasSuffix(e.Name(), temporary) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		text, err := os.ReadFile(path)
		if err == nil {
			err = f(text)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// write puts a record in place, whole or not at all, and not before it would survive a crash.
func write(path string, record any) error {
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return durable.Replace(path, append(text, '\n'))
}
