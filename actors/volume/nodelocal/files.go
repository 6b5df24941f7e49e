package nodelocal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/volume/atomicwriter"
	"github.com/troupe-dev/troupe/actors/volume/ownership"
	"github.com/troupe-dev/troupe/actors/volume/payload"
	"github.com/troupe-dev/troupe/actors/volume/plugin"
	"github.com/troupe-dev/troupe/actors/volume/volumeplan"
	"github.com/troupe-dev/troupe/messages/model"
)

type (
	configMap   struct{ Deps }
	secret      struct{ Deps }
	downwardAPI struct{ Deps }
	projected   struct{ Deps }
)

func (configMap) Name() string   { return volumeplan.ConfigMap }
func (secret) Name() string      { return volumeplan.Secret }
func (downwardAPI) Name() string { return volumeplan.DownwardAPI }
func (projected) Name() string   { return volumeplan.Projected }

func (configMap) Remote(*v1.Volume) bool   { return true }
func (secret) Remote(*v1.Volume) bool      { return true }
func (downwardAPI) Remote(*v1.Volume) bool { return false }
func (projected) Remote(*v1.Volume) bool   { return true }

func (configMap) Supports(v *v1.Volume) bool   { return v.ConfigMap != nil }
func (secret) Supports(v *v1.Volume) bool      { return v.Secret != nil }
func (downwardAPI) Supports(v *v1.Volume) bool { return v.DownwardAPI != nil }
func (projected) Supports(v *v1.Volume) bool   { return v.Projected != nil }

func (p configMap) Gather(ctx context.Context, r plugin.Request) (plugin.Write, error) {
	src := r.Volume.ConfigMap
	optional := isTrue(src.Optional)
	cm, err := p.configMap(ctx, r.Pod.Namespace, src.Name, optional)
	if err != nil {
		return nil, err
	}
	files, err := payload.ConfigMap(src.Items, cm, src.DefaultMode, optional)
	if err != nil {
		return nil, err
	}
	// On disk, as the kubelet does: a tmpfs would be charged to nobody's cgroup.
	return p.write(r, volumeplan.ConfigMap, v1.StorageMediumDefault, files, time.Time{}), nil
}

func (p secret) Gather(ctx context.Context, r plugin.Request) (plugin.Write, error) {
	src := r.Volume.Secret
	optional := isTrue(src.Optional)
	s, err := p.secret(ctx, r.Pod.Namespace, src.SecretName, optional)
	if err != nil {
		return nil, err
	}
	files, err := payload.Secret(src.Items, s, src.DefaultMode, optional)
	if err != nil {
		return nil, err
	}
	return p.write(r, volumeplan.Secret, v1.StorageMediumMemory, files, time.Time{}), nil
}

func (p downwardAPI) Gather(_ context.Context, r plugin.Request) (plugin.Write, error) {
	src := r.Volume.DownwardAPI
	files, err := payload.DownwardAPI(src.Items, r.Pod, p.Allocatable(), src.DefaultMode)
	if err != nil {
		return nil, err
	}
	return p.write(r, volumeplan.DownwardAPI, v1.StorageMediumMemory, files, time.Time{}), nil
}

func (p projected) Gather(ctx context.Context, r plugin.Request) (plugin.Write, error) {
	var refresh time.Time
	from := payload.Source{
		ConfigMap: func(name string, optional bool) (*v1.ConfigMap, error) {
			return p.configMap(ctx, r.Pod.Namespace, name, optional)
		},
		Secret: func(name string, optional bool) (*v1.Secret, error) {
			return p.secret(ctx, r.Pod.Namespace, name, optional)
		},
		Token: func(t *v1.ServiceAccountTokenProjection) (string, error) {
			token, at, err := p.Tokens.PodToken(ctx, r.Pod, t.Audience, t.ExpirationSeconds)
			if !at.IsZero() && (refresh.IsZero() || at.Before(refresh)) {
				refresh = at
			}
			return token, err
		},
	}
	files, err := payload.Projected(r.Volume.Projected, r.Pod, p.Allocatable(), r.FSUser, r.FSGroup, from)
	if err != nil {
		return nil, err
	}
	return p.write(r, volumeplan.Projected, v1.StorageMediumMemory, files, refresh), nil
}

// write puts files into a volume that wraps an emptyDir on the medium.
func (d Deps) write(r plugin.Request, kind string, medium v1.StorageMedium, files payload.Files, refresh time.Time) plugin.Write {
	return func(context.Context) (plugin.Result, error) {
		mount, err := d.writeNow(r, kind, medium, files)
		return plugin.Result{Mount: mount, Refresh: refresh}, err
	}
}

func (d Deps) writeNow(r plugin.Request, kind string, medium v1.StorageMedium, files payload.Files) (model.VolumeMount, error) {
	dir := volumeplan.VolumeDir(r.Root, r.Pod.UID, kind, r.Volume.Name)
	if err := d.empty(r, dir, volumeplan.ReadyDir(r.Root, r.Pod.UID, r.Volume.Name, true), medium, nil); err != nil {
		return model.VolumeMount{}, err
	}
	for _, n := range volumeplan.NestedMountPoints(r.Pod, r.Volume.Name) {
		if err := os.MkdirAll(filepath.Join(dir, n), 0o755); err != nil {
			return model.VolumeMount{}, fmt.Errorf("unable to create nested volume mountpoints: %w", err)
		}
	}
	var finish func() error
	if r.FSGroup != nil {
		// The whole volume: the first write also makes what lies beside the version's directory.
		finish = func() error {
			if err := ownership.Apply(dir, *r.FSGroup, true, nil); err != nil {
				d.Logger.Error(err, "Could not give the volume to the fsGroup", "pod", klog.KObj(r.Pod), "volume", r.Volume.Name)
			}
			return nil
		}
	}
	if _, err := atomicwriter.Write(dir, files, finish); err != nil {
		return model.VolumeMount{}, err
	}
	return model.VolumeMount{HostPath: dir, ReadOnly: true, SELinuxRelabel: true}, nil
}
