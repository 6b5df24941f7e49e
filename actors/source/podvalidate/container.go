package podvalidate

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type hostPort struct {
	ip       string
	protocol v1.Protocol
	port     int32
}

// container checks one container. names and ports are what the containers before it took.
func container(s *v1.PodSpec, c *v1.Container, at *field.Path, volumes map[string]*v1.Volume, names sets.Set[string], ports map[hostPort]*field.Path, longRunning bool) field.ErrorList {
	var errs field.ErrorList
	switch {
	case c.Name == "":
		errs = append(errs, field.Required(at.Child("name"), ""))
	case names.Has(c.Name):
		errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
	default:
		errs = append(errs, label(at.Child("name"), c.Name)...)
	}
	names.Insert(c.Name)
	switch {
	case c.Image == "":
		errs = append(errs, field.Required(at.Child("image"), ""))
	case strings.TrimSpace(c.Image) != c.Image:
		errs = append(errs, field.Invalid(at.Child("image"), c.Image, "must not have leading or trailing whitespace"))
	}
	errs = append(errs, oneOf(at.Child("imagePullPolicy"), c.ImagePullPolicy, v1.PullAlways, v1.PullIfNotPresent, v1.PullNever)...)
	errs = append(errs, oneOf(at.Child("terminationMessagePolicy"), c.TerminationMessagePolicy, v1.TerminationMessageReadFile, v1.TerminationMessageFallbackToLogsOnError)...)
	errs = append(errs, containerPorts(s, c.Ports, at.Child("ports"), ports)...)
	errs = append(errs, env(c, at)...)
	errs = append(errs, mounts(c, at, volumes)...)
	errs = append(errs, resources(c.Resources, at.Child("resources"))...)
	if longRunning {
		errs = append(errs, probe(c.LivenessProbe, at.Child("livenessProbe"), true)...)
		errs = append(errs, probe(c.ReadinessProbe, at.Child("readinessProbe"), false)...)
		errs = append(errs, probe(c.StartupProbe, at.Child("startupProbe"), true)...)
	}
	return errs
}

func containerPorts(s *v1.PodSpec, list []v1.ContainerPort, at *field.Path, taken map[hostPort]*field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i, p := range list {
		path := at.Index(i)
		if p.Name != "" {
			errs = append(errs, invalid(path.Child("name"), p.Name, validation.IsValidPortName(p.Name))...)
			if names.Has(p.Name) {
				errs = append(errs, field.Duplicate(path.Child("name"), p.Name))
			}
			names.Insert(p.Name)
		}
		errs = append(errs, oneOf(path.Child("protocol"), p.Protocol, v1.ProtocolTCP, v1.ProtocolUDP, v1.ProtocolSCTP)...)
		errs = append(errs, invalid(path.Child("containerPort"), p.ContainerPort, validation.IsValidPortNum(int(p.ContainerPort)))...)
		if p.HostPort == 0 {
			continue
		}
		errs = append(errs, invalid(path.Child("hostPort"), p.HostPort, validation.IsValidPortNum(int(p.HostPort)))...)
		if s.HostNetwork && p.HostPort != p.ContainerPort {
			errs = append(errs, field.Invalid(path.Child("hostPort"), p.HostPort, "must match `containerPort` when `hostNetwork` is true"))
		}
		key := hostPort{p.HostIP, p.Protocol, p.HostPort}
		if _, ok := taken[key]; ok {
			errs = append(errs, field.Duplicate(path.Child("hostPort"), p.HostPort))
		}
		taken[key] = path
	}
	return errs
}

func env(c *v1.Container, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, e := range c.Env {
		path := at.Child("env").Index(i)
		if e.Name == "" {
			errs = append(errs, field.Required(path.Child("name"), ""))
		} else {
			errs = append(errs, invalid(path.Child("name"), e.Name, validation.IsRelaxedEnvVarName(e.Name))...)
		}
		if e.ValueFrom == nil {
			continue
		}
		if e.Value != "" {
			errs = append(errs, field.Invalid(path.Child("valueFrom"), "", "may not be specified when `value` is not empty"))
		}
		f := e.ValueFrom
		if n := count(f.FieldRef != nil, f.ResourceFieldRef != nil, f.ConfigMapKeyRef != nil, f.SecretKeyRef != nil, f.FileKeyRef != nil); n != 1 {
			errs = append(errs, field.Invalid(path.Child("valueFrom"), n, "must name exactly one source"))
		}
	}
	for i, e := range c.EnvFrom {
		if count(e.ConfigMapRef != nil, e.SecretRef != nil) != 1 {
			errs = append(errs, field.Invalid(at.Child("envFrom").Index(i), "", "must name exactly one of configMapRef, secretRef"))
		}
	}
	return errs
}

func mounts(c *v1.Container, at *field.Path, volumes map[string]*v1.Volume) field.ErrorList {
	var errs field.ErrorList
	paths := sets.New[string]()
	for i, m := range c.VolumeMounts {
		path := at.Child("volumeMounts").Index(i)
		if m.Name == "" {
			errs = append(errs, field.Required(path.Child("name"), ""))
		} else if volumes[m.Name] == nil {
			errs = append(errs, field.NotFound(path.Child("name"), m.Name))
		}
		if m.MountPath == "" {
			errs = append(errs, field.Required(path.Child("mountPath"), ""))
		} else if paths.Has(m.MountPath) {
			errs = append(errs, field.Invalid(path.Child("mountPath"), m.MountPath, "must be unique"))
		}
		paths.Insert(m.MountPath)
		if m.SubPath != "" && m.SubPathExpr != "" {
			errs = append(errs, field.Invalid(path.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
		}
		for name, sub := range map[string]string{"subPath": m.SubPath, "subPathExpr": m.SubPathExpr} {
			if sub != "" {
				errs = append(errs, insidePath(path.Child(name), sub)...)
			}
		}
	}
	for i, d := range c.VolumeDevices {
		path := at.Child("volumeDevices").Index(i)
		if v := volumes[d.Name]; v == nil {
			errs = append(errs, field.NotFound(path.Child("name"), d.Name))
		} else if v.PersistentVolumeClaim == nil && v.Ephemeral == nil {
			errs = append(errs, field.Invalid(path.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
		}
		if d.DevicePath == "" {
			errs = append(errs, field.Required(path.Child("devicePath"), ""))
		}
	}
	return errs
}

// insidePath: a path relative to a volume that cannot leave it.
func insidePath(at *field.Path, p string) field.ErrorList {
	if strings.HasPrefix(p, "/") {
		return field.ErrorList{field.Invalid(at, p, "must be a relative path")}
	}
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return field.ErrorList{field.Invalid(at, p, "must not contain '..'")}
		}
	}
	return nil
}

func resources(r v1.ResourceRequirements, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for name, q := range r.Limits {
		if q.Sign() < 0 {
			errs = append(errs, field.Invalid(at.Child("limits").Key(string(name)), q.String(), "must be greater than or equal to 0"))
		}
	}
	for name, q := range r.Requests {
		path := at.Child("requests").Key(string(name))
		if q.Sign() < 0 {
			errs = append(errs, field.Invalid(path, q.String(), "must be greater than or equal to 0"))
		}
		limit, limited := r.Limits[name]
		whole := strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) || isExtended(name)
		switch {
		case limited && whole && q.Cmp(limit) != 0:
			errs = append(errs, field.Invalid(path, q.String(), "must be equal to "+string(name)+" limit of "+limit.String()))
		case limited && q.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(path, q.String(), "must be less than or equal to "+string(name)+" limit of "+limit.String()))
		case !limited && whole:
			errs = append(errs, field.Required(at.Child("limits"), "limit must be set for non overcommitable resources"))
		}
	}
	return errs
}

func probe(p *v1.Probe, at *field.Path, once bool) field.ErrorList {
	if p == nil {
		return nil
	}
	var errs field.ErrorList
	for name, n := range map[string]int32{"initialDelaySeconds": p.InitialDelaySeconds, "timeoutSeconds": p.TimeoutSeconds,
		"periodSeconds": p.PeriodSeconds, "successThreshold": p.SuccessThreshold, "failureThreshold": p.FailureThreshold} {
		if n < 0 {
			errs = append(errs, field.Invalid(at.Child(name), n, "must be greater than or equal to 0"))
		}
	}
	if once && p.SuccessThreshold != 1 {
		errs = append(errs, field.Invalid(at.Child("successThreshold"), p.SuccessThreshold, "must be 1"))
	}
	if count(p.Exec != nil, p.HTTPGet != nil, p.TCPSocket != nil, p.GRPC != nil) != 1 {
		errs = append(errs, field.Required(at, "must specify exactly one handler type"))
	}
	return errs
}

func count(set ...bool) int {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}
