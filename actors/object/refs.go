// Package object keeps the ConfigMaps, Secrets and service-account tokens that the pods of this node refer to, in volumes,
// environment variables and pull secrets.
//
// Three stores share one shape (Track, Release, ConfigMap, Secret, Subscribe): Watched follows each object by a watch of
// its own, which is all that the Node authorizer allows a node; Polled asks the API server again when a copy is too old,
// or every time; Static holds what it was given, for a node without API server. Objects that they return are shared and
// read only. A missing object is an error for which apierrors.IsNotFound holds.
//
// Tokens asks for service-account tokens and keeps them until they are due for renewal.
package object

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/troupe-dev/troupe/messages/model"
)

// Key names one object; Kind is one of the two kinds.
type (
	Key  = model.ObjectKey
	Kind = model.ObjectKind
)

// The kinds.
const (
	ConfigMap = model.ConfigMapObject
	Secret    = model.SecretObject
)

// notFound has the kubelet's text: configmap "x" not found.
func notFound(k Key) error { return apierrors.NewNotFound(v1.Resource(k.Kind.String()), k.Name) }

// Refs returns every object that the pod refers to, sorted and without repetitions: pull secrets, environment variables of
// all containers, and volumes.
func Refs(pod *v1.Pod) []Key {
	var keys []Key
	add := func(kind Kind, name string) {
		if name != "" {
			keys = append(keys, Key{Kind: kind, Namespace: pod.Namespace, Name: name})
		}
	}
	for _, s := range pod.Spec.ImagePullSecrets {
		add(Secret, s.Name)
	}
	for i := range pod.Spec.InitContainers {
		envRefs(pod.Spec.InitContainers[i].Env, pod.Spec.InitContainers[i].EnvFrom, add)
	}
	for i := range pod.Spec.Containers {
		envRefs(pod.Spec.Containers[i].Env, pod.Spec.Containers[i].EnvFrom, add)
	}
	for i := range pod.Spec.EphemeralContainers {
		envRefs(pod.Spec.EphemeralContainers[i].Env, pod.Spec.EphemeralContainers[i].EnvFrom, add)
	}
	for i := range pod.Spec.Volumes {
		volumeRefs(&pod.Spec.Volumes[i].VolumeSource, add)
	}
	slices.SortFunc(keys, func(a, b Key) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return slices.Compact(keys)
}

func envRefs(env []v1.EnvVar, from []v1.EnvFromSource, add func(Kind, string)) {
	for i := range from {
		if r := from[i].ConfigMapRef; r != nil {
			add(ConfigMap, r.Name)
		}
		if r := from[i].SecretRef; r != nil {
			add(Secret, r.Name)
		}
	}
	for i := range env {
		if env[i].ValueFrom == nil {
			continue
		}
		if r := env[i].ValueFrom.ConfigMapKeyRef; r != nil {
			add(ConfigMap, r.Name)
		}
		if r := env[i].ValueFrom.SecretKeyRef; r != nil {
			add(Secret, r.Name)
		}
	}
}

func volumeRefs(s *v1.VolumeSource, add func(Kind, string)) {
	local := func(r *v1.LocalObjectReference) {
		if r != nil {
			add(Secret, r.Name)
		}
	}
	switch {
	case s.ConfigMap != nil:
		add(ConfigMap, s.ConfigMap.Name)
	case s.Secret != nil:
		add(Secret, s.Secret.SecretName)
	case s.Projected != nil:
		for i := range s.Projected.Sources {
			if r := s.Projected.Sources[i].ConfigMap; r != nil {
				add(ConfigMap, r.Name)
			}
			if r := s.Projected.Sources[i].Secret; r != nil {
				add(Secret, r.Name)
			}
		}
	case s.CSI != nil:
		local(s.CSI.NodePublishSecretRef)
	case s.ISCSI != nil:
		local(s.ISCSI.SecretRef)
	case s.FlexVolume != nil:
		local(s.FlexVolume.SecretRef)
	case s.RBD != nil:
		local(s.RBD.SecretRef)
	case s.CephFS != nil:
		local(s.CephFS.SecretRef)
	case s.ScaleIO != nil:
		local(s.ScaleIO.SecretRef)
	case s.AzureFile != nil:
		add(Secret, s.AzureFile.SecretName)
	}
}
