package container

import (
	"context"
	"errors"
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

// shelf is an image store that counts the questions.
type shelf struct {
	cri.Images
	has   map[string]model.ImageInfo
	asked int
}

func (s *shelf) ImageStatus(_ context.Context, ref string) (*model.ImageInfo, error) {
	s.asked++
	if ref == "broken" {
		return nil, errors.New("no answer")
	}
	if i, ok := s.has[ref]; ok {
		return &i, nil
	}
	return nil, nil
}

func ptrTo[T any](v T) *T { return &v }

// TestImageUser: a container that names no user is created with the image's, and with root's number for an image that
// names none; a group of its own goes along.
func TestImageUser(t *testing.T) {
	images := map[string]model.ImageInfo{
		"id-number": {ID: "id-number", UID: ptrTo[int64](1000)}, "id-name": {ID: "id-name", Username: "web"}, "id-none": {ID: "id-none"},
		"example.org/web:1": {ID: "id-number", UID: ptrTo[int64](1000)}, "example.org/web@sha256:1": {ID: "id-number", UID: ptrTo[int64](1000)},
	}
	user := func(n int64) func(*v1.PodSpec) {
		return func(s *v1.PodSpec) { s.SecurityContext = &v1.PodSecurityContext{RunAsUser: &n} }
	}
	own := func(n int64) func(*v1.PodSpec) {
		return func(s *v1.PodSpec) { s.Containers[0].SecurityContext = &v1.SecurityContext{RunAsUser: &n} }
	}
	group := func(s *v1.PodSpec) { s.SecurityContext = &v1.PodSecurityContext{RunAsGroup: ptrTo[int64](7)} }
	nonRoot := func(s *v1.PodSpec) { s.SecurityContext = &v1.PodSecurityContext{RunAsNonRoot: ptrTo(true)} }
	for name, c := range map[string]struct {
		ref  string
		edit func(*v1.PodSpec)
		want string
		// asks is how often the store is asked for two containers.
		asks int
	}{
		"a number":               {"id-number", nil, "1000", 1},
		"a name":                 {"id-name", nil, "web", 1},
		"nothing":                {"id-none", nil, "0", 1},
		"nothing, and a group":   {"id-none", group, "0:7", 1},
		"a digest":               {"example.org/web@sha256:1", nil, "1000", 1},
		"a tag may be moved":     {"example.org/web:1", nil, "1000", 2},
		"gone":                   {"id-gone", nil, "0", 2},
		"broken":                 {"broken", nil, "error", 2},
		"the pod's own":          {"broken", user(5), "5", 0},
		"the container's own":    {"broken", own(6), "6", 0},
		"a number that is not 0": {"id-number", nonRoot, "1000", 1},
		"not root, a name":       {"id-name", nonRoot, "error", 1},
		"not root, nothing":      {"id-none", nonRoot, "error", 1},
	} {
		store := &shelf{has: images}
		b := &Builder{Images: store, Facts: func() NodeFacts { return NodeFacts{} }, LogsRoot: t.TempDir()}
		for range 2 {
			pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c"}}}}
			if c.edit != nil {
				c.edit(&pod.Spec)
			}
			cfg, err := b.config(t.Context(), CreateInput{Pod: pod, Container: &pod.Spec.Containers[0], ImageRef: c.ref, Grant: containermsg.Grant{}})
			got := "error"
			if err == nil {
				got = said(cfg.Linux.SecurityContext)
			}
			if got != c.want {
				t.Errorf("%s: %s (%v), want %s", name, got, err, c.want)
			}
		}
		if store.asked != c.asks {
			t.Errorf("%s: the store was asked %d times", name, store.asked)
		}
	}
}

func said(s *runtimeapi.LinuxContainerSecurityContext) string {
	out := s.RunAsUsername
	if s.RunAsUser != nil {
		out += fmt.Sprint(s.RunAsUser.Value)
	}
	if s.RunAsGroup != nil {
		out += fmt.Sprintf(":%d", s.RunAsGroup.Value)
	}
	return out
}

// TestImageUsersAreBounded: what is remembered does not grow with the images that ever ran.
func TestImageUsersAreBounded(t *testing.T) {
	store := &shelf{has: map[string]model.ImageInfo{}}
	b := &Builder{Images: store}
	for i := range 3 * maxImageUsers {
		ref := fmt.Sprint("id-", i)
		store.has[ref] = model.ImageInfo{ID: ref}
		if _, err := b.imageUser(t.Context(), &v1.Pod{}, &v1.Container{}, ref); err != nil {
			t.Fatal(err)
		}
		if n := len(b.users.known); n > maxImageUsers {
			t.Fatalf("%d users after %d images", n, i+1)
		}
	}
}
