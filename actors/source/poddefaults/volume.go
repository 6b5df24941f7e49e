package poddefaults

import v1 "k8s.io/api/core/v1"

// tokenExpiration is the lifetime of a projected service account token that names none, in seconds.
const tokenExpiration = 3600

func applyVolume(v *v1.Volume) {
	if v.VolumeSource == (v1.VolumeSource{}) {
		v.EmptyDir = &v1.EmptyDirVolumeSource{}
	}
	switch {
	case v.HostPath != nil:
		fillPtr(&v.HostPath.Type, v1.HostPathUnset)
	case v.Secret != nil:
		fillPtr(&v.Secret.DefaultMode, v1.SecretVolumeSourceDefaultMode)
	case v.ConfigMap != nil:
		fillPtr(&v.ConfigMap.DefaultMode, v1.ConfigMapVolumeSourceDefaultMode)
	case v.DownwardAPI != nil:
		fillPtr(&v.DownwardAPI.DefaultMode, v1.DownwardAPIVolumeSourceDefaultMode)
		downwardItems(v.DownwardAPI.Items)
	case v.Projected != nil:
		applyProjected(v.Projected)
	case v.ISCSI != nil:
		fill(&v.ISCSI.ISCSIInterface, "default")
	case v.Image != nil:
		fill(&v.Image.PullPolicy, ImagePullPolicy(v.Image.Reference))
	case v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil:
		fillPtr(&v.Ephemeral.VolumeClaimTemplate.Spec.VolumeMode, v1.PersistentVolumeFilesystem)
	}
}

func applyProjected(p *v1.ProjectedVolumeSource) {
	fillPtr(&p.DefaultMode, v1.ProjectedVolumeSourceDefaultMode)
	for i := range p.Sources {
		if d := p.Sources[i].DownwardAPI; d != nil {
			downwardItems(d.Items)
		}
		if t := p.Sources[i].ServiceAccountToken; t != nil {
			fillPtr(&t.ExpirationSeconds, int64(tokenExpiration))
		}
	}
}

func downwardItems(items []v1.DownwardAPIVolumeFile) {
	for i := range items {
		fieldRef(items[i].FieldRef)
	}
}
