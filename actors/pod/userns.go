package pod

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Users gives pods ranges of the node's user ids. Implementations are safe for concurrent use.
type Users interface {
	// Range is the pod's range; it is given one when it has none. It may wait until ctx ends.
	Range(ctx context.Context, uid model.UID) (model.IDRange, error)
	// Recorded is the range that the pod was given before. It does not wait.
	Recorded(uid model.UID) (model.IDRange, error)
}

func ownUsers(pod *v1.Pod) bool { return pod.Spec.HostUsers != nil && !*pod.Spec.HostUsers }

// userns is the user namespace of a new sandbox; nil shares the node's. The words of its refusals are the kubelet's.
func (b *SandboxBuilder) userns(ctx context.Context, pod *v1.Pod, handler string) (*runtimeapi.UserNamespace, error) {
	if !ownUsers(pod) {
		return nil, nil
	}
	able, err := false, error(nil)
	if b.Users != nil && b.UserNamespaces != nil {
		able, err = b.UserNamespaces(handler)
	}
	if !able || err != nil {
		text := "can't set `spec.hostUsers: false`, runtime does not support user namespaces"
		if handler != "" {
			text = fmt.Sprintf("can't set `spec.hostUsers: false`, RuntimeClass handler %q does not support user namespaces", handler)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		return nil, errors.New(text)
	}
	r, err := b.Users.Range(ctx, pod.UID)
	if err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	return mapped(r), nil
}

// recorded is the user namespace of a sandbox that was made before.
func (b *SandboxBuilder) recorded(pod *v1.Pod) (*runtimeapi.UserNamespace, error) {
	if !ownUsers(pod) || b.Users == nil {
		return nil, nil
	}
	r, err := b.Users.Recorded(pod.UID)
	if err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	return mapped(r), nil
}

func mapped(r model.IDRange) *runtimeapi.UserNamespace {
	ids := func() []*runtimeapi.IDMapping { return []*runtimeapi.IDMapping{{HostId: r.First, Length: r.Length}} }
	return &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: ids(), Gids: ids()}
}
