package volumeplan

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/troupe-dev/troupe/messages/model"
)

// Refs returns the objects that the volumes of the pod are filled from, without repetitions. Environment variables and pull
// secrets are not among them: their change alters no file.
func Refs(pod *v1.Pod) []model.ObjectKey {
	var out []model.ObjectKey
	add := func(kind model.ObjectKind, name string) {
		k := model.ObjectKey{Kind: kind, Namespace: pod.Namespace, Name: name}
		if name != "" && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	for i := range pod.Spec.Volumes {
		src := &pod.Spec.Volumes[i].VolumeSource
		switch {
		case src.ConfigMap != nil:
			add(model.ConfigMapObject, src.ConfigMap.Name)
		case src.Secret != nil:
			add(model.SecretObject, src.Secret.SecretName)
		case src.Projected != nil:
			for j := range src.Projected.Sources {
				if p := src.Projected.Sources[j].ConfigMap; p != nil {
					add(model.ConfigMapObject, p.Name)
				}
				if p := src.Projected.Sources[j].Secret; p != nil {
					add(model.SecretObject, p.Name)
				}
			}
		}
	}
	return out
}

// Differs tells whether the files of the pod's volumes may differ between two objects of one pod. Volumes are immutable;
// what downward API items show of the pod is not.
func Differs(a, b *v1.Pod) bool {
	if a == b {
		return false
	}
	if len(a.Spec.Volumes) != len(b.Spec.Volumes) {
		return true
	}
	if len(a.Spec.EphemeralContainers) != len(b.Spec.EphemeralContainers) && !maps.Equal(Mounted(a), Mounted(b)) {
		return true
	}
	fields, resources := shows(b)
	if fields && (!maps.Equal(a.Labels, b.Labels) || !maps.Equal(a.Annotations, b.Annotations)) {
		return true
	}
	return resources && !sameResources(a, b)
}

// shows tells what kinds of downward API items the pod's volumes have.
func shows(pod *v1.Pod) (fields, resources bool) {
	look := func(items []v1.DownwardAPIVolumeFile) {
		for i := range items {
			fields = fields || items[i].FieldRef != nil
			resources = resources || items[i].ResourceFieldRef != nil
		}
	}
	for i := range pod.Spec.Volumes {
		src := &pod.Spec.Volumes[i].VolumeSource
		if src.DownwardAPI != nil {
			look(src.DownwardAPI.Items)
		}
		if src.Projected != nil {
			for j := range src.Projected.Sources {
				if p := src.Projected.Sources[j].DownwardAPI; p != nil {
					look(p.Items)
				}
			}
		}
	}
	return fields, resources
}

func sameResources(a, b *v1.Pod) bool {
	same := func(x, y []v1.Container) bool {
		return slices.EqualFunc(x, y, func(p, q v1.Container) bool {
			return equality.Semantic.DeepEqual(p.Resources, q.Resources)
		})
	}
	return same(a.Spec.Containers, b.Spec.Containers) && same(a.Spec.InitContainers, b.Spec.InitContainers) &&
		equality.Semantic.DeepEqual(a.Spec.Resources, b.Spec.Resources)
}

// Mounted returns the volumes that some container mounts or maps, as the kubelet sets up no others. A volume that
// nobody uses cannot block its pod.
func Mounted(pod *v1.Pod) map[string]bool {
	used := map[string]bool{}
	visit(pod, func(mounts []v1.VolumeMount, devices []v1.VolumeDevice) {
		for i := range mounts {
			used[mounts[i].Name] = true
		}
		for i := range devices {
			used[devices[i].Name] = true
		}
	})
	return used
}

func visit(pod *v1.Pod, f func([]v1.VolumeMount, []v1.VolumeDevice)) {
	for i := range pod.Spec.InitContainers {
		f(pod.Spec.InitContainers[i].VolumeMounts, pod.Spec.InitContainers[i].VolumeDevices)
	}
	for i := range pod.Spec.Containers {
		f(pod.Spec.Containers[i].VolumeMounts, pod.Spec.Containers[i].VolumeDevices)
	}
	for i := range pod.Spec.EphemeralContainers {
		f(pod.Spec.EphemeralContainers[i].VolumeMounts, pod.Spec.EphemeralContainers[i].VolumeDevices)
	}
}

// NestedMountPoints returns, relative to the volume's root, the directories on which other volumes of a container are
// mounted inside this one. They must exist before a read-only volume is mounted. Of mounts nested in each other only the
// outermost counts.
func NestedMountPoints(pod *v1.Pod, volume string) []string {
	found := map[string]bool{}
	visit(pod, func(mounts []v1.VolumeMount, _ []v1.VolumeDevice) {
		paths := make([]string, 0, len(mounts))
		for i := range mounts {
			paths = append(paths, filepath.Clean(mounts[i].MountPath))
		}
		slices.Sort(paths)
		for i := range mounts {
			if mounts[i].Name != volume {
				continue
			}
			// Clean of an absolute path leaves no "..": nothing leads out of the volume.
			base := filepath.Clean("/"+mounts[i].MountPath) + "/"
			var outer []string
			for _, p := range paths {
				rel, inside := strings.CutPrefix(p, base)
				if !inside || slices.ContainsFunc(outer, func(o string) bool { return strings.HasPrefix(p, o) }) {
					continue
				}
				outer = append(outer, p+"/")
				found[rel] = true
			}
		}
	})
	return slices.Sorted(maps.Keys(found))
}

// Unsupported returns the name of the API field of a volume source, for a message that says what is not supported.
func Unsupported(v *v1.Volume) string {
	s := &v.VolumeSource
	for _, f := range []struct {
		set  bool
		name string
	}{
		{s.PersistentVolumeClaim != nil, "persistentVolumeClaim"}, {s.CSI != nil, "csi"}, {s.Ephemeral != nil, "ephemeral"},
		{s.NFS != nil, "nfs"}, {s.ISCSI != nil, "iscsi"}, {s.FC != nil, "fc"}, {s.FlexVolume != nil, "flexVolume"},
		{s.GitRepo != nil, "gitRepo"}, {s.CephFS != nil, "cephfs"}, {s.RBD != nil, "rbd"}, {s.Cinder != nil, "cinder"},
		{s.Glusterfs != nil, "glusterfs"}, {s.AWSElasticBlockStore != nil, "awsElasticBlockStore"},
		{s.GCEPersistentDisk != nil, "gcePersistentDisk"}, {s.AzureDisk != nil, "azureDisk"}, {s.AzureFile != nil, "azureFile"},
		{s.VsphereVolume != nil, "vsphereVolume"}, {s.PhotonPersistentDisk != nil, "photonPersistentDisk"},
		{s.PortworxVolume != nil, "portworxVolume"}, {s.Quobyte != nil, "quobyte"}, {s.ScaleIO != nil, "scaleIO"},
		{s.StorageOS != nil, "storageos"}, {s.Flocker != nil, "flocker"},
	} {
		if f.set {
			return f.name
		}
	}
	return "volume source"
}

// Mounts is by volume name.
type Mounts = map[string]model.VolumeMount
