package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PullRule decides the pulls of one image.
type PullRule struct {
	// Takes is how long a pull takes, beside the call's latency.
	Takes time.Duration
	// Err fails the pull when it has taken its time; a gRPC status keeps its code.
	Err error
	// Username and Password are what the registry wants; empty for a public image.
	Username, Password string
	// Size of the image in bytes; 0 means 1 MiB.
	Size uint64
	// User of the image: a number or a name.
	User string
}

// image is one image in the store; it never changes.
type image struct {
	id      string
	tags    []string
	digests []string
	size    uint64
	user    string
	pinned  bool
}

func (i image) spec() string {
	if len(i.tags) > 0 {
		return i.tags[0]
	}
	return i.digest()
}

func (i image) digest() string {
	if len(i.digests) > 0 {
		return i.digests[0]
	}
	return i.id
}

type images struct {
	any   bool
	mu    sync.RWMutex
	byID  map[string]image
	byRef map[string]string // normal reference → id
	rules map[string]PullRule
}

func (s *images) init(cfg Config) {
	s.any = cfg.AnyImage
	s.byID, s.byRef, s.rules = map[string]image{}, map[string]string{}, map[string]PullRule{}
	for _, ref := range cfg.Images {
		s.add(ref)
	}
}

// normal is the full form of a reference, as registries know it.
func normal(ref string) string {
	if strings.HasPrefix(ref, "sha256:") {
		return ref
	}
	first, _, slash := strings.Cut(ref, "/")
	switch {
	case !slash:
		ref = "docker.io/library/" + ref
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		ref = "docker.io/" + ref
	}
	if !strings.Contains(ref, "@") && !strings.Contains(ref[strings.LastIndexByte(ref, '/'):], ":") {
		ref += ":latest"
	}
	return ref
}

func digestOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// add stores the image of a reference.
func (s *images) add(ref string) image {
	ref = normal(ref)
	rule := s.rules[ref]
	i := image{id: digestOf("image", ref), size: rule.Size, user: rule.User}
	if i.size == 0 {
		i.size = 1 << 20
	}
	if repo, _, ok := strings.Cut(ref, "@"); ok {
		i.digests = []string{ref}
		_ = repo
	} else {
		i.tags = []string{ref}
		i.digests = []string{ref[:strings.LastIndexByte(ref, ':')] + "@" + digestOf("manifest", ref)}
	}
	s.byID[i.id] = i
	s.byRef[ref] = i.id
	s.byRef[i.digests[0]] = i.id
	return i
}

// resolve finds an image by reference or id.
func (s *images) resolve(ref string) (image, bool) {
	s.mu.RLock()
	i, ok := s.byID[ref]
	if !ok {
		i, ok = s.byID[s.byRef[normal(ref)]]
	}
	s.mu.RUnlock()
	if !ok && s.any && ref != "" && !strings.HasPrefix(ref, "sha256:") {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.add(ref), true
	}
	return i, ok
}

// OnPull sets the rule for the pulls of an image; without a rule a pull succeeds.
func (r *Runtime) OnPull(ref string, rule PullRule) {
	r.images.mu.Lock()
	defer r.images.mu.Unlock()
	r.images.rules[normal(ref)] = rule
}

func criImage(i image) *runtimeapi.Image {
	out := &runtimeapi.Image{Id: i.id, RepoTags: i.tags, RepoDigests: i.digests, Size: i.size, Pinned: i.pinned}
	if i.user != "" {
		name, _, _ := strings.Cut(i.user, ":")
		if uid, ok := number(name); ok {
			out.Uid = &runtimeapi.Int64Value{Value: uid}
		} else {
			out.Username = name
		}
	}
	return out
}

func number(s string) (int64, bool) {
	var n int64
	for _, ch := range s {
		if ch < '0' || ch > '9' || n > 1<<40 {
			return 0, false
		}
		n = n*10 + int64(ch-'0')
	}
	return n, s != ""
}

// ImageStatus implements the CRI.
func (s imageService) ImageStatus(ctx context.Context, req *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	ref := req.GetImage().GetImage()
	return run(ctx, s.r, call{op: "ImageStatus", Match: Match{Container: ref}}, steps[*runtimeapi.ImageStatusResponse]{
		commit: func(context.Context) (*runtimeapi.ImageStatusResponse, error) {
			if i, ok := s.r.images.resolve(ref); ok {
				return &runtimeapi.ImageStatusResponse{Image: criImage(i)}, nil
			}
			return &runtimeapi.ImageStatusResponse{}, nil
		},
	})
}

// ListImages implements the CRI.
func (s imageService) ListImages(ctx context.Context, _ *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	return run(ctx, s.r, call{op: "ListImages"}, steps[*runtimeapi.ListImagesResponse]{
		commit: func(context.Context) (*runtimeapi.ListImagesResponse, error) {
			s.r.images.mu.RLock()
			defer s.r.images.mu.RUnlock()
			res := &runtimeapi.ListImagesResponse{}
			for _, i := range s.r.images.byID {
				res.Images = append(res.Images, criImage(i))
			}
			return res, nil
		},
	})
}

// PullImage implements the CRI.
func (s imageService) PullImage(ctx context.Context, req *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	ref := req.GetImage().GetImage()
	m := req.GetSandboxConfig().GetMetadata()
	k := call{op: "PullImage", Match: Match{UID: m.GetUid(), Pod: m.GetName(), Container: ref}}
	return run(ctx, s.r, k, steps[*runtimeapi.PullImageResponse]{
		commit: func(ctx context.Context) (*runtimeapi.PullImageResponse, error) {
			im := &s.r.images
			im.mu.RLock()
			rule := im.rules[normal(ref)]
			im.mu.RUnlock()
			if err := sleep(ctx, rule.Takes); err != nil {
				return nil, err
			}
			if rule.Err != nil {
				return nil, rule.Err
			}
			if rule.Username != "" && (req.GetAuth().GetUsername() != rule.Username || req.GetAuth().GetPassword() != rule.Password) {
				return nil, errors.New("failed to pull and unpack image \"" + ref + "\": failed to authorize: unexpected status: 401 Unauthorized")
			}
			im.mu.Lock()
			defer im.mu.Unlock()
			return &runtimeapi.PullImageResponse{ImageRef: im.add(ref).id}, nil
		},
	})
}

// RemoveImage implements the CRI.
func (s imageService) RemoveImage(ctx context.Context, req *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	ref := req.GetImage().GetImage()
	return run(ctx, s.r, call{op: "RemoveImage", Match: Match{Container: ref}}, steps[*runtimeapi.RemoveImageResponse]{
		commit: func(context.Context) (*runtimeapi.RemoveImageResponse, error) {
			im := &s.r.images
			im.mu.Lock()
			defer im.mu.Unlock()
			id := ref
			if _, ok := im.byID[id]; !ok {
				id = im.byRef[normal(ref)]
			}
			delete(im.byID, id)
			for k, v := range im.byRef {
				if v == id {
					delete(im.byRef, k)
				}
			}
			return &runtimeapi.RemoveImageResponse{}, nil
		},
	})
}

// ImageFsInfo implements the CRI.
func (s imageService) ImageFsInfo(ctx context.Context, _ *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	return run(ctx, s.r, call{op: "ImageFsInfo"}, steps[*runtimeapi.ImageFsInfoResponse]{
		commit: func(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
			im := &s.r.images
			im.mu.RLock()
			defer im.mu.RUnlock()
			var used uint64
			for _, i := range im.byID {
				used += i.size
			}
			fs := &runtimeapi.FilesystemUsage{
				Timestamp: time.Now().UnixNano(), FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: s.r.cfg.FSPath},
				UsedBytes: &runtimeapi.UInt64Value{Value: used}, InodesUsed: &runtimeapi.UInt64Value{Value: uint64(len(im.byID))},
			}
			return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{fs}, ContainerFilesystems: []*runtimeapi.FilesystemUsage{fs}}, nil
		},
	})
}
