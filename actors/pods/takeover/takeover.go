// Package takeover decides whether a static pod is the continuation of one that runs under another UID. An agent computes
// the UID of a static pod from its manifest, each in its own way; so that a node can change over from the kubelet and back
// without restarting its control plane, a static pod takes the UID of what runs under its full name. It is pure.
package takeover

import (
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/container/containerplan"
	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/messages/model"
)

// Stale says that what runs came from a manifest of the same full name: static pods take turns, so it is this one, or an
// earlier one that has to end first.
func Stale(static *v1.Pod, seen model.PodObserved) bool {
	if seen.UID == static.UID || seen.UID == "" || seen.Name != static.Name || seen.Namespace != static.Namespace {
		return false
	}
	for i := range seen.Sandboxes {
		if source := seen.Sandboxes[i].Annotations[podchange.ConfigSource]; source == "file" || source == "http" {
			return true
		}
	}
	return false
}

// Fits says whether the static pod may continue as what runs: it has a ready sandbox that is younger than the manifest
// (modified; a zero time never fits), and each container's newest instance was made of what the manifest says.
func Fits(static *v1.Pod, modified time.Time, seen model.PodObserved) bool {
	if modified.IsZero() || !Stale(static, seen) {
		return false
	}
	ready := slices.IndexFunc(seen.Sandboxes, func(b model.Sandbox) bool { return b.State == model.SandboxReady })
	if ready < 0 || !modified.Before(seen.Sandboxes[ready].CreatedAt) {
		return false
	}
	want := map[string]string{}
	for _, list := range [][]v1.Container{static.Spec.InitContainers, static.Spec.Containers} {
		for i := range list {
			want[list[i].Name] = containerplan.Hash(&list[i])
		}
	}
	have := map[string]bool{}
	for i := range seen.Containers { // newest first
		c := &seen.Containers[i]
		if have[c.Name] || c.Sandbox != seen.Sandboxes[ready].ID {
			continue
		}
		have[c.Name] = true
		if want[c.Name] == "" || want[c.Name] != c.Annotations[containerplan.AnnotationHash] {
			return false
		}
	}
	return len(have) > 0
}

// HashOf is the hash under which the API server may have the mirror of what runs.
func HashOf(seen model.PodObserved) string {
	for i := range seen.Sandboxes {
		if h := seen.Sandboxes[i].Annotations[podchange.ConfigHash]; h != "" {
			return h
		}
	}
	return string(seen.UID)
}

// As is the static pod with the identity of what runs.
func As(static *v1.Pod, uid model.UID, hash string) *v1.Pod {
	pod := *static
	pod.UID = uid
	pod.Annotations = maps.Clone(pod.Annotations)
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[podchange.ConfigHash] = hash
	return &pod
}
