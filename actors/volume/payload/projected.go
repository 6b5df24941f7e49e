package payload

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// Source answers for the objects of one projected volume. A nil object with a nil error means: missing, and the source
// said that this may be. The errors carry the text that the event will show.
type Source struct {
	ConfigMap func(name string, optional bool) (*v1.ConfigMap, error)
	Secret    func(name string, optional bool) (*v1.Secret, error)
	Token     func(p *v1.ServiceAccountTokenProjection) (string, error)
}

// Projected returns the files of a projected volume. All sources are tried, so that the error names everything that is
// missing; where two sources name one path, the later one wins.
func Projected(src *v1.ProjectedVolumeSource, pod *v1.Pod, allocatable v1.ResourceList, fsUser, fsGroup *int64, from Source) (Files, error) {
	if src.DefaultMode == nil {
		return nil, errNoMode
	}
	out := Files{}
	var errs []error
	for i := range src.Sources {
		files, err := projection(&src.Sources[i], i, src.DefaultMode, pod, allocatable, fsUser, fsGroup, from)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for path, f := range files {
			out[path] = f
		}
	}
	return out, Join(errs)
}

func projection(p *v1.VolumeProjection, i int, mode *int32, pod *v1.Pod, allocatable v1.ResourceList, fsUser, fsGroup *int64, from Source) (Files, error) {
	switch {
	case p.Secret != nil:
		optional := p.Secret.Optional != nil && *p.Secret.Optional
		s, err := from.Secret(p.Secret.Name, optional)
		if err != nil {
			return nil, err
		}
		return Secret(p.Secret.Items, s, mode, optional)
	case p.ConfigMap != nil:
		optional := p.ConfigMap.Optional != nil && *p.ConfigMap.Optional
		cm, err := from.ConfigMap(p.ConfigMap.Name, optional)
		if err != nil {
			return nil, err
		}
		return ConfigMap(p.ConfigMap.Items, cm, mode, optional)
	case p.DownwardAPI != nil:
		return DownwardAPI(p.DownwardAPI.Items, pod, allocatable, mode)
	case p.ServiceAccountToken != nil:
		token, err := from.Token(p.ServiceAccountToken)
		if err != nil {
			return nil, err
		}
		return Files{p.ServiceAccountToken.Path: {Data: []byte(token), Mode: SecretMode(*mode, fsUser, fsGroup), Owner: fsUser}}, nil
	case p.ClusterTrustBundle != nil:
		return nil, fmt.Errorf("projected.sources[%d].clusterTrustBundle is not supported by this node", i)
	case p.PodCertificate != nil:
		return nil, fmt.Errorf("projected.sources[%d].podCertificate is not supported by this node", i)
	}
	return nil, fmt.Errorf("projected.sources[%d] names no source that this node knows", i)
}
