// Package podchange tells what differs between two objects of one pod. It is pure.
package podchange

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StatusOnly says that nothing a node acts on differs: spec, labels, annotations and the deletion are the same, so that
// only the status or metadata of others (finalizers, owners) can have changed.
//
// The API server raises metadata.generation with every change of a pod's spec (KEP-5067), so equal generations spare
// the comparison of specs; objects without one (older servers, static pods) are compared in full.
func StatusOnly(old, new *v1.Pod) bool {
	return SameDeletion(old, new) &&
		maps.Equal(old.Labels, new.Labels) && maps.Equal(old.Annotations, new.Annotations) &&
		sameSpec(old, new)
}

// SameDeletion says that both objects are asked to end in the same way, or not at all.
func SameDeletion(old, new *v1.Pod) bool {
	return old.DeletionTimestamp.Equal(new.DeletionTimestamp) && equalInt64(old.DeletionGracePeriodSeconds, new.DeletionGracePeriodSeconds)
}

func sameSpec(old, new *v1.Pod) bool {
	if old.Generation != 0 && old.Generation == new.Generation {
		return true
	}
	return equality.Semantic.DeepEqual(old.Spec, new.Spec)
}

func equalInt64(a, b *int64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// IsMirror says that the object is the API's image of a static pod.
func IsMirror(pod *v1.Pod) bool {
	_, ok := pod.Annotations[v1.MirrorPodAnnotationKey]
	return ok
}

// The annotations with which a node marks where a pod came from; sandboxes and downward API files show them.
const (
	// ConfigSource names the source: api, file or http.
	ConfigSource = "kubernetes.io/config.source"
	// ConfigSeen is when this agent first saw the pod (RFC 3339 with nanoseconds).
	ConfigSeen = "kubernetes.io/config.seen"
	// ConfigHash identifies a static pod's manifest.
	ConfigHash = "kubernetes.io/config.hash"
)

// Mark writes the annotations of origin into meta, whose map it replaces when it has none.
func Mark(meta *metav1.ObjectMeta, source, seen string) {
	if meta.Annotations == nil {
		meta.Annotations = make(map[string]string, 2)
	}
	meta.Annotations[ConfigSource] = source
	meta.Annotations[ConfigSeen] = seen
}
