package podvalidate

import (
	"reflect"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// volumes checks the list and returns it by name.
func volumes(list []v1.Volume, at *field.Path) (map[string]*v1.Volume, field.ErrorList) {
	byName := make(map[string]*v1.Volume, len(list))
	var errs field.ErrorList
	for i := range list {
		v, path := &list[i], at.Index(i)
		switch {
		case v.Name == "":
			errs = append(errs, field.Required(path.Child("name"), ""))
		case byName[v.Name] != nil:
			errs = append(errs, field.Duplicate(path.Child("name"), v.Name))
		default:
			errs = append(errs, label(path.Child("name"), v.Name)...)
		}
		byName[v.Name] = v
		switch n := sources(&v.VolumeSource); {
		case n == 0:
			errs = append(errs, field.Required(path, "must specify a volume type"))
		case n > 1:
			errs = append(errs, field.Forbidden(path, "may not specify more than 1 volume type"))
		}
		errs = append(errs, volumeSource(&v.VolumeSource, path)...)
	}
	return byName, errs
}

// sources counts the members that are set: VolumeSource is a union of pointers.
func sources(s *v1.VolumeSource) int {
	n, v := 0, reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			n++
		}
	}
	return n
}

func volumeSource(s *v1.VolumeSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	required := func(value string, path ...string) {
		if value == "" {
			errs = append(errs, field.Required(at.Child(path[0], path[1:]...), ""))
		}
	}
	switch {
	case s.HostPath != nil:
		required(s.HostPath.Path, "hostPath", "path")
		for _, part := range strings.Split(s.HostPath.Path, "/") {
			if part == ".." {
				errs = append(errs, field.Invalid(at.Child("hostPath", "path"), s.HostPath.Path, "must not contain '..'"))
			}
		}
	case s.ConfigMap != nil:
		required(s.ConfigMap.Name, "configMap", "name")
		errs = append(errs, keys(s.ConfigMap.Items, at.Child("configMap", "items"))...)
	case s.Secret != nil:
		required(s.Secret.SecretName, "secret", "secretName")
		errs = append(errs, keys(s.Secret.Items, at.Child("secret", "items"))...)
	case s.PersistentVolumeClaim != nil:
		required(s.PersistentVolumeClaim.ClaimName, "persistentVolumeClaim", "claimName")
	case s.EmptyDir != nil:
		if l := s.EmptyDir.SizeLimit; l != nil && l.Sign() < 0 {
			errs = append(errs, field.Invalid(at.Child("emptyDir", "sizeLimit"), l.String(), "must not be negative"))
		}
	case s.DownwardAPI != nil:
		for i, item := range s.DownwardAPI.Items {
			path := at.Child("downwardAPI", "items").Index(i)
			errs = append(errs, filePath(path.Child("path"), item.Path)...)
			if count(item.FieldRef != nil, item.ResourceFieldRef != nil) != 1 {
				errs = append(errs, field.Required(path, "one of fieldRef and resourceFieldRef is required"))
			}
		}
	case s.Projected != nil:
		for i, p := range s.Projected.Sources {
			path := at.Child("projected", "sources").Index(i)
			if n := count(p.Secret != nil, p.ConfigMap != nil, p.DownwardAPI != nil, p.ServiceAccountToken != nil, p.ClusterTrustBundle != nil, p.PodCertificate != nil); n != 1 {
				errs = append(errs, field.Required(path, "must specify exactly one source"))
			}
			if p.ServiceAccountToken != nil {
				errs = append(errs, filePath(path.Child("serviceAccountToken", "path"), p.ServiceAccountToken.Path)...)
			}
		}
	}
	return errs
}

func keys(items []v1.KeyToPath, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, item := range items {
		if item.Key == "" {
			errs = append(errs, field.Required(at.Index(i).Child("key"), ""))
		}
		errs = append(errs, filePath(at.Index(i).Child("path"), item.Path)...)
	}
	return errs
}

func filePath(at *field.Path, p string) field.ErrorList {
	if p == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	if strings.HasPrefix(p, "..") {
		return field.ErrorList{field.Invalid(at, p, "must not start with '..'")}
	}
	return insidePath(at, p)
}
