package staticpod

import v1 "k8s.io/api/core/v1"

// APIReference names the kind of API object that the pod refers to, "" when it refers to none. A static pod must not:
// it runs with no API server to serve or authorize the object (the API's documentation of static pods).
func APIReference(pod *v1.Pod) string {
	spec := &pod.Spec
	switch {
	case spec.ServiceAccountName != "":
		return "serviceaccounts"
	case len(spec.ImagePullSecrets) > 0:
		return "secrets"
	case len(spec.ResourceClaims) > 0:
		return "resourceclaims"
	}
	for _, list := range [][]v1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			if what := containerReference(&list[i]); what != "" {
				return what
			}
		}
	}
	for i := range spec.Volumes {
		if what := volumeReference(&spec.Volumes[i].VolumeSource); what != "" {
			return what
		}
	}
	return ""
}

func containerReference(c *v1.Container) string {
	for _, e := range c.EnvFrom {
		switch {
		case e.SecretRef != nil:
			return "secrets"
		case e.ConfigMapRef != nil:
			return "configmaps"
		}
	}
	for _, e := range c.Env {
		switch from := e.ValueFrom; {
		case from == nil:
		case from.SecretKeyRef != nil:
			return "secrets"
		case from.ConfigMapKeyRef != nil:
			return "configmaps"
		}
	}
	return ""
}

func volumeReference(v *v1.VolumeSource) string {
	switch {
	case v.ConfigMap != nil:
		return "configmaps (via configmap volumes)"
	case v.Secret != nil:
		return "secrets (via secret volumes)"
	case v.CSI != nil:
		return "csidrivers (via CSI volumes)"
	case v.Glusterfs != nil:
		return "endpoints (via glusterFS volumes)"
	case v.PersistentVolumeClaim != nil:
		return "persistentvolumeclaims"
	case v.Ephemeral != nil:
		return "persistentvolumeclaims (via ephemeral volumes)"
	case v.AzureFile != nil:
		return "secrets (via azureFile volumes)"
	case v.FlexVolume != nil && v.FlexVolume.SecretRef != nil,
		v.ISCSI != nil && v.ISCSI.SecretRef != nil,
		v.CephFS != nil && v.CephFS.SecretRef != nil,
		v.RBD != nil && v.RBD.SecretRef != nil,
		v.Cinder != nil && v.Cinder.SecretRef != nil,
		v.ScaleIO != nil && v.ScaleIO.SecretRef != nil,
		v.StorageOS != nil && v.StorageOS.SecretRef != nil:
		return "secrets"
	case v.Projected != nil:
		return projectedReference(v.Projected)
	}
	return ""
}

func projectedReference(p *v1.ProjectedVolumeSource) string {
	for _, s := range p.Sources {
		switch {
		case s.ConfigMap != nil:
			return "configmaps (via projected volumes)"
		case s.Secret != nil:
			return "secrets (via projected volumes)"
		case s.ServiceAccountToken != nil:
			return "serviceaccounts (via projected volumes)"
		case s.ClusterTrustBundle != nil:
			return "clustertrustbundles"
		case s.PodCertificate != nil:
			return "podcertificates"
		}
	}
	return ""
}
