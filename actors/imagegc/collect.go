package imagegc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"

	"golang.org/x/sys/unix"

	"github.com/troupe-dev/troupe/actors/imagegc/imagegcplan"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// The functions of this file run in the runner's goroutines: they touch no actor's state.

// errNoRoom says that everything unused is gone and the disk is still too full.
type errNoRoom struct{ text string }

// Error implements error.
func (e errNoRoom) Error() string { return e.text }

// errCapacity says that the file system of the images has no size.
var errCapacity = errors.New("invalid capacity 0 on image filesystem")

// result is what a round found and did.
type result struct {
	state   imagegcplan.State
	freed   model.Bytes
	err     error
	removed int
}

// collect looks at the images and removes what may go. Whatever the mode, an image that has only just come stays.
func (d *Deps) collect(ctx context.Context, cfg Config, state imagegcplan.State, how mode) (r result) {
	now := time.Now()
	r.state = state
	images, used, err := d.look(ctx)
	if err != nil {
		r.err = err
		return r
	}
	r.state = imagegcplan.Observe(state, now, images, used)
	if how == observe {
		return r
	}
	removed := map[string]struct{}{}
	var errs []error
	remove := func(list []imagegcplan.Candidate, enough model.Bytes) (freed model.Bytes) {
		for _, c := range list {
			if _, gone := removed[c.ID]; gone {
				continue
			}
			if ctx.Err() != nil || enough >= 0 && freed >= enough {
				break
			}
			d.Logger.Info("Removing image to free bytes", "imageID", c.ID, "size", c.Size)
			if err := d.removeImage(ctx, cfg, c.ID); err != nil {
				errs = append(errs, err)
				continue
			}
			removed[c.ID] = struct{}{}
			freed += c.Size
		}
		return freed
	}
	unused := imagegcplan.Unused(r.state, images, used)
	r.freed = remove(imagegcplan.Old(unused, cfg.Policy, now, cfg.Began), -1)
	switch {
	case how == everything:
		r.freed += remove(imagegcplan.Ripe(unused, cfg.Policy, now), -1)
	case cfg.Policy.High < 100:
		disk, err := d.disk(ctx)
		if err != nil {
			errs = append(errs, err)
			break
		}
		if need := imagegcplan.Need(disk, cfg.Policy); need > 0 {
			d.Logger.Info("Disk usage on image filesystem is over the high threshold, trying to free bytes down to the low threshold",
				"usage", disk.Usage(), "highThreshold", cfg.Policy.High, "amountToFree", need, "lowThreshold", cfg.Policy.Low)
			freed := remove(imagegcplan.Ripe(unused, cfg.Policy, now), need)
			r.freed += freed
			if freed < need && len(errs) == 0 && ctx.Err() == nil {
				errs = append(errs, errNoRoom{fmt.Sprintf("Insufficient free disk space on the node's image filesystem (%d%% of %s used). "+
					"Failed to free sufficient space by deleting unused images (freed %d bytes). "+
					"Investigate disk usage, as it could be used by active images, logs, volumes, or other data.", disk.Usage(), size(disk.Capacity), freed)})
			}
		}
	}
	r.state, r.removed = imagegcplan.Without(r.state, removed), len(removed)
	r.err = errors.Join(append(errs, ctx.Err())...)
	if d.Records != nil && len(removed) > 0 {
		left := make(map[string]struct{}, len(images))
		for _, i := range images {
			if _, gone := removed[i.ID]; !gone {
				left[i.ID] = struct{}{}
			}
		}
		d.Records.Prune(left, now)
	}
	return r
}

func (d *Deps) removeImage(ctx context.Context, cfg Config, id string) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.CallTimeout)
	defer cancel()
	if err := d.Images.RemoveImage(ctx, id); err != nil && cri.ClassOf(err) != model.OutcomeNotFound {
		return fmt.Errorf("remove image %s: %w", id, err)
	}
	return nil
}

// look lists the images and finds those in use. Images first: one that comes meanwhile is seen the next time, and a
// container that comes meanwhile is seen now.
func (d *Deps) look(ctx context.Context) ([]model.ImageInfo, map[string]struct{}, error) {
	images, err := d.Images.ListImages(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list images: %w", err)
	}
	containers, err := d.Runtime.ListContainers(ctx, cri.ContainerFilter{})
	if err != nil {
		return nil, nil, fmt.Errorf("list containers: %w", err)
	}
	used := map[string]struct{}{}
	for i := range containers {
		used[containers[i].ImageID], used[containers[i].ImageRef] = struct{}{}, struct{}{}
	}
	ids := map[string]string{}
	for _, i := range images {
		ids[i.ID] = i.ID
		for _, list := range [][]string{i.RepoTags, i.RepoDigests} {
			for _, name := range list {
				ids[name] = i.ID
			}
		}
	}
	for name := range used {
		if id := ids[name]; id != "" { // a runtime may name a container's image by its digest
			used[id] = struct{}{}
		}
	}
	for _, pod := range d.Pods.List() {
		for _, name := range volumeImages(pod) {
			if id := ids[name]; id != "" {
				used[id] = struct{}{}
			}
		}
	}
	return images, used, nil
}

// volumeImages are the images that a pod mounts, as the runtime names them.
func volumeImages(pod *v1.Pod) []string {
	var out []string
	for i := range pod.Spec.Volumes {
		v := pod.Spec.Volumes[i].Image
		if v == nil || v.Reference == "" {
			continue
		}
		out = append(out, v.Reference)
		if named, err := reference.ParseNormalizedNamed(v.Reference); err == nil {
			out = append(out, named.String(), reference.TagNameOnly(named).String())
		}
	}
	return out
}

// disk is the file system of the images.
func (d *Deps) disk(ctx context.Context) (imagegcplan.Disk, error) {
	info, err := d.Images.ImageFsInfo(ctx)
	if err != nil {
		return imagegcplan.Disk{}, fmt.Errorf("image filesystem: %w", err)
	}
	if len(info.GetImageFilesystems()) == 0 {
		return imagegcplan.Disk{}, errors.New("image filesystem: the runtime names none")
	}
	path := info.ImageFilesystems[0].GetFsId().GetMountpoint()
	stat := d.Stat
	if stat == nil {
		stat = statfs
	}
	disk, err := stat(path)
	if err != nil {
		return disk, fmt.Errorf("image filesystem %s: %w", path, err)
	}
	if disk.Capacity <= 0 {
		return disk, errCapacity
	}
	return disk, nil
}

func statfs(path string) (imagegcplan.Disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return imagegcplan.Disk{}, err
	}
	block := model.Bytes(s.Bsize)
	return imagegcplan.Disk{Capacity: model.Bytes(s.Blocks) * block, Available: model.Bytes(s.Bavail) * block}, nil
}

// size is in the words of the kubelet's event.
func size(b model.Bytes) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	if b < 1024 {
		return fmt.Sprintf("%d B", b)
	}
	f, i := float64(b)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
