package nodelocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/volume/mounts"
	"github.com/troupe-dev/troupe/actors/volume/ownership"
	"github.com/troupe-dev/troupe/actors/volume/plugin"
	"github.com/troupe-dev/troupe/actors/volume/volumeplan"
	"github.com/troupe-dev/troupe/messages/model"
)

type emptyDir struct{ Deps }

func (emptyDir) Name() string { return volumeplan.EmptyDir }

// A volume without any source is an emptyDir.
func (emptyDir) Supports(v *v1.Volume) bool {
	return v.EmptyDir != nil || v.VolumeSource == (v1.VolumeSource{})
}

func (emptyDir) Remote(*v1.Volume) bool { return false }

func (e emptyDir) Gather(_ context.Context, r plugin.Request) (plugin.Write, error) {
	return func(context.Context) (plugin.Result, error) {
		dir := volumeplan.VolumeDir(r.Root, r.Pod.UID, volumeplan.EmptyDir, r.Volume.Name)
		ready := volumeplan.ReadyDir(r.Root, r.Pod.UID, r.Volume.Name, false)
		var medium v1.StorageMedium
		var limit *resource.Quantity
		if r.Volume.EmptyDir != nil {
			medium, limit = r.Volume.EmptyDir.Medium, r.Volume.EmptyDir.SizeLimit
		}
		if err := e.empty(r, dir, ready, medium, limit); err != nil {
			return plugin.Result{}, err
		}
		return plugin.Result{Mount: model.VolumeMount{HostPath: dir, SELinuxRelabel: true}}, nil
	}, nil
}

// everyone is the mode of a fresh volume: any user of the pod may write.
const everyone = fs.FileMode(0o777)

// empty makes an empty directory on the medium, once: the ready file tells a directory that is complete from one that a
// crash left half made, so that its owners are not changed behind the pod's back. A tmpfs is gone after a reboot and is
// then made again. sizeLimit on disk is kept by eviction, not here.
func (d Deps) empty(r plugin.Request, dir, ready string, medium v1.StorageMedium, limit *resource.Quantity) error {
	done := exists(filepath.Join(ready, "ready"))
	fresh, err := makeDir(dir)
	if err != nil {
		return err
	}
	mounted := false
	if medium != v1.StorageMediumDefault {
		if !fresh {
			if mounted, err = d.Mounts.IsMountPoint(dir); err != nil {
				return fmt.Errorf("check the mount at %s: %w", dir, err)
			}
		}
	}
	if done && !fresh && (medium == v1.StorageMediumDefault || mounted) {
		return nil
	}
	if !mounted {
		if err := d.mountMedium(r, dir, medium, limit); err != nil {
			return err
		}
	}
	if r.FSGroup != nil {
		// What the medium refuses (hugetlbfs knows few modes) does not keep the pod from running.
		if err := ownership.Apply(dir, *r.FSGroup, false, nil); err != nil {
			d.Logger.Error(err, "Could not give the volume to the fsGroup", "pod", klog.KObj(r.Pod), "volume", r.Volume.Name)
		}
	}
	return markReady(ready)
}

func (d Deps) mountMedium(r plugin.Request, dir string, medium v1.StorageMedium, limit *resource.Quantity) error {
	switch {
	case medium == v1.StorageMediumDefault:
		return nil
	case medium == v1.StorageMediumMemory:
		var options []string
		if size := volumeplan.TmpfsSize(r.Pod, d.Allocatable(), limit); size > 0 {
			options = append(options, fmt.Sprintf("size=%d", size))
		}
		return d.Mounts.MountSensitiveWithoutSystemd("tmpfs", dir, "tmpfs", append(options, mounts.NoSwap), nil)
	case strings.HasPrefix(string(medium), string(v1.StorageMediumHugePages)):
		size, err := volumeplan.HugePageSize(r.Pod, medium)
		if err != nil {
			return err
		}
		return d.Mounts.MountSensitiveWithoutSystemd("nodev", dir, "hugetlbfs", []string{"pagesize=" + size.String()}, nil)
	}
	return fmt.Errorf("unknown storage medium %q", medium)
}

// makeDir makes dir with mode 0777 whatever the umask; fresh is false when it existed.
func makeDir(dir string) (fresh bool, err error) {
	err = os.Mkdir(dir, everyone)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(dir), 0o750); err == nil {
			err = os.Mkdir(dir, everyone)
		}
	}
	switch {
	case err == nil:
		return true, os.Chmod(dir, everyone)
	case errors.Is(err, fs.ErrExist):
		return false, nil
	}
	return false, err
}

func markReady(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "ready"))
	if err != nil {
		return err
	}
	return f.Close()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
