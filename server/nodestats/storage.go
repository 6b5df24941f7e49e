package nodestats

import (
	"context"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// fileSystem measures the file system that a directory is on; nil when it is not there.
func fileSystem(dir string, at time.Time) *statsapi.FsStats {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil
	}
	size := uint64(st.Bsize)
	return &statsapi.FsStats{
		Time: stamp(at), CapacityBytes: ptrTo(st.Blocks * size), AvailableBytes: ptrTo(st.Bavail * size), UsedBytes: ptrTo((st.Blocks - st.Bfree) * size),
		Inodes: ptrTo(st.Files), InodesFree: ptrTo(st.Ffree), InodesUsed: ptrTo(st.Files - st.Ffree),
	}
}

// runtimeFs asks the runtime what its images and containers take.
func (s *measurement) runtimeFs(ctx context.Context, at time.Time) *statsapi.RuntimeStats {
	if s.deps.Images == nil {
		return nil
	}
	info, err := s.deps.Images.ImageFsInfo(ctx)
	if err != nil {
		s.complain(err)
		return nil
	}
	of := func(list []*runtimeapi.FilesystemUsage) *statsapi.FsStats {
		if len(list) == 0 {
			return nil
		}
		u := list[0]
		st := fileSystem(u.GetFsId().GetMountpoint(), at)
		if st == nil {
			st = &statsapi.FsStats{Time: stamp(at)}
		}
		st.UsedBytes = ptrTo(u.GetUsedBytes().GetValue())
		if u.InodesUsed != nil {
			st.InodesUsed = ptrTo(u.InodesUsed.Value)
		}
		return st
	}
	r := &statsapi.RuntimeStats{ImageFs: of(info.GetImageFilesystems()), ContainerFs: of(info.GetContainerFilesystems())}
	if r.ContainerFs == nil {
		r.ContainerFs = r.ImageFs
	}
	return r
}

// sized is the size of a directory at some time.
type sized struct {
	stats statsapi.FsStats
	at    time.Time
}

// storage adds the sizes of logs and volumes to a pod.
func (s *measurement) storage(pod *v1.Pod, st *statsapi.PodStats, node *statsapi.NodeStats) {
	now := time.Now()
	local := statsapi.FsStats{Time: stamp(now), UsedBytes: ptrTo(uint64(0)), InodesUsed: ptrTo(uint64(0))}
	if node.Fs != nil {
		local.AvailableBytes, local.CapacityBytes, local.Inodes, local.InodesFree = node.Fs.AvailableBytes, node.Fs.CapacityBytes, node.Fs.Inodes, node.Fs.InodesFree
	}
	count := func(bytes, inodes uint64) { *local.UsedBytes += bytes; *local.InodesUsed += inodes }
	logs := filepath.Join(s.cfg.LogsRoot, pod.Namespace+"_"+pod.Name+"_"+string(pod.UID))
	for i := range st.Containers {
		bytes, inodes := walk(filepath.Join(logs, st.Containers[i].Name))
		count(bytes, inodes)
		own := local
		own.UsedBytes, own.InodesUsed = &bytes, &inodes
		st.Containers[i].Logs = &own
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		plugin, isLocal := pluginOf(v)
		if plugin == "" {
			continue
		}
		dir := filepath.Join(s.cfg.RootDir, "pods", string(pod.UID), "volumes", plugin, v.Name)
		if v.HostPath != nil {
			continue // it is the node's, and may be all of it
		}
		size, ok := s.volume(dir, now)
		if !ok {
			continue
		}
		s.keep[dir] = true
		if isLocal && (v.EmptyDir == nil || v.EmptyDir.Medium == v1.StorageMediumDefault) {
			count(*size.UsedBytes, *size.InodesUsed)
		}
		st.VolumeStats = append(st.VolumeStats, statsapi.VolumeStats{Name: v.Name, FsStats: size})
	}
	st.EphemeralStorage = &local
}

// pluginOf is the directory of the plugin that keeps a volume on this node, and whether what it holds counts as the pod's
// ephemeral storage; "" for one that has no directory of its own to measure.
func pluginOf(v *v1.Volume) (plugin string, ephemeral bool) {
	switch {
	case v.EmptyDir != nil:
		return "kubernetes.io~empty-dir", true
	case v.ConfigMap != nil:
		return "kubernetes.io~configmap", true
	case v.Secret != nil:
		return "kubernetes.io~secret", false
	case v.Projected != nil:
		return "kubernetes.io~projected", false
	case v.DownwardAPI != nil:
		return "kubernetes.io~downward-api", false
	}
	return "", false
}

// volume is the size of a volume: what lies in it, and of the file system that it is on.
func (s *measurement) volume(dir string, now time.Time) (statsapi.FsStats, bool) {
	if old, ok := s.volumes[dir]; ok && now.Sub(old.at) < volumesFresh {
		return old.stats, true
	}
	st := fileSystem(dir, now)
	if st == nil {
		return statsapi.FsStats{}, false
	}
	bytes, inodes := walk(dir)
	st.UsedBytes, st.InodesUsed = &bytes, &inodes
	s.volumes[dir] = sized{*st, now}
	return *st, true
}

// walk adds up the blocks of a directory's files, each inode once, without leaving its file system.
func walk(dir string) (bytes, inodes uint64) {
	seen := map[uint64]bool{}
	var device uint64
	_ = filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it vanished, or is not ours to read
		}
		var st unix.Stat_t
		if unix.Lstat(p, &st) != nil {
			return nil
		}
		if p == dir {
			device = st.Dev
		} else if st.Dev != device {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !seen[st.Ino] {
			seen[st.Ino] = true
			bytes, inodes = bytes+uint64(st.Blocks)*512, inodes+1
		}
		return nil
	})
	return bytes, inodes
}
