package container

import (
	"context"
	"fmt"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/container/containerspec"
)

// maxImageUsers bounds how many images' users are remembered; a node lists 50 images and rarely has as many hundreds.
const maxImageUsers = 512

// imageUsers remembers the users of images by what names their content and nothing else, so that an entry is true for
// ever. The zero value is empty.
type imageUsers struct {
	mu    sync.Mutex
	known map[string]containerspec.User
}

func (u *imageUsers) get(ref string) (containerspec.User, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	user, ok := u.known[ref]
	return user, ok
}

func (u *imageUsers) put(ref string, user containerspec.User) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.known == nil || len(u.known) >= maxImageUsers {
		u.known = map[string]containerspec.User{}
	}
	u.known[ref] = user
}

// imageUser is whom the image's processes run as, for a container that does not say so itself. The runtime is told, as
// the kubelet tells it, even root: without a user it takes the image's group too, and refuses a runAsGroup.
func (b *Builder) imageUser(ctx context.Context, pod *v1.Pod, c *v1.Container, ref string) (containerspec.User, error) {
	if sc := pod.Spec.SecurityContext; sc != nil && sc.RunAsUser != nil {
		return containerspec.User{}, nil
	}
	if sc := c.SecurityContext; sc != nil && sc.RunAsUser != nil {
		return containerspec.User{}, nil
	}
	if user, ok := b.users.get(ref); ok {
		return user, nil
	}
	info, err := b.Images.ImageStatus(ctx, ref)
	if err != nil {
		return containerspec.User{}, fmt.Errorf("read the user of image %s: %w", ref, err)
	}
	root := int64(0)
	user := containerspec.User{UID: &root}
	switch {
	case info == nil: // it is gone: creating the container will say so
		return user, nil
	case info.UID != nil:
		user.UID = info.UID
	case info.Username != "":
		user = containerspec.User{Name: info.Username}
	}
	if info.ID == ref || strings.Contains(ref, "@") { // not a tag, which may be moved
		b.users.put(ref, user)
	}
	return user, nil
}
