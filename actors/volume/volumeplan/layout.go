// Package volumeplan decides about the volumes of one pod: where they live on disk, what they need, and what is to be done
// next. It is pure.
package volumeplan

import (
	"path/filepath"
	"strings"

	"github.com/troupe-dev/troupe/messages/model"
)

// The names of the volume plugins, which are part of the paths that the kubelet uses.
const (
	EmptyDir    = "kubernetes.io/empty-dir"
	ConfigMap   = "kubernetes.io/configmap"
	Secret      = "kubernetes.io/secret"
	DownwardAPI = "kubernetes.io/downward-api"
	Projected   = "kubernetes.io/projected"
	HostPath    = "kubernetes.io/host-path"
	Image       = "kubernetes.io/image"
)

// PodsDir is the folder of all pod directories below the agent's root.
func PodsDir(root string) string { return filepath.Join(root, "pods") }

// PodDir is the pod's own directory.
func PodDir(root string, uid model.UID) string { return filepath.Join(root, "pods", string(uid)) }

// VolumeDir is the root of one volume.
func VolumeDir(root string, uid model.UID, plugin, name string) string {
	return filepath.Join(root, "pods", string(uid), "volumes", escape(plugin), name)
}

// ReadyDir is where an emptyDir, or one that another volume wraps, notes that it was set up completely.
func ReadyDir(root string, uid model.UID, name string, wrapped bool) string {
	if wrapped {
		name = "wrapped_" + name
	}
	return filepath.Join(root, "pods", string(uid), "plugins", escape(EmptyDir), name)
}

// escape makes a plugin's qualified name one path element.
func escape(plugin string) string { return strings.ReplaceAll(plugin, "/", "~") }
