// Package nodelocal holds the kinds of volumes that need nothing but this node and the API server's small objects:
// emptyDir, configMap, secret, downwardAPI, projected, hostPath and image.
package nodelocal

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"k8s.io/mount-utils"

	"github.com/troupe-dev/troupe/actors/volume/plugin"
)

// Objects gives the API objects that volumes are filled from. A missing object is an error for which apierrors.IsNotFound
// holds.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
}

// Tokens gives service-account tokens that are bound to a pod. Refresh is when to ask again.
type Tokens interface {
	PodToken(ctx context.Context, pod *v1.Pod, audience string, seconds *int64) (token string, refresh time.Time, err error)
}

// Deps is what the volumes need from outside.
type Deps struct {
	Mounts  mount.Interface
	Objects Objects
	Tokens  Tokens
	// Allocatable is the node's allocatable now; it must not block. It sizes memory volumes and stands in for limits.
	Allocatable func() v1.ResourceList
	Logger      klog.Logger
}

// All returns every kind of this package.
func All(d Deps) []plugin.Plugin {
	return []plugin.Plugin{emptyDir{d}, configMap{d}, secret{d}, downwardAPI{d}, projected{d}, hostPath{}, image{}}
}

func (d Deps) configMap(ctx context.Context, ns, name string, optional bool) (*v1.ConfigMap, error) {
	cm, err := d.Objects.ConfigMap(ctx, ns, name)
	if err != nil && optional && apierrors.IsNotFound(err) {
		return nil, nil
	}
	return cm, err
}

func (d Deps) secret(ctx context.Context, ns, name string, optional bool) (*v1.Secret, error) {
	s, err := d.Objects.Secret(ctx, ns, name)
	if err != nil && optional && apierrors.IsNotFound(err) {
		return nil, nil
	}
	return s, err
}

func isTrue(b *bool) bool { return b != nil && *b }
