package containerspec

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/volume/fieldpath"
)

// Sources are the objects and facts that environment variables are made of. Maps are by object name in the pod's
// namespace; a nil entry is an object that does not exist.
type Sources struct {
	ConfigMaps map[string]*v1.ConfigMap
	Secrets    map[string]*v1.Secret
	Services   []*v1.Service
	PodIPs     []string
	HostIPs    []string
	// Allocatable stands in for limits that are not set.
	Allocatable v1.ResourceList
	// Files reads one key of an env file in a volume (fileKeyRef); found is false when the key is not in it.
	Files func(volume, path, key string) (value string, found bool, err error)
}

// Variable is one environment variable.
type Variable struct{ Name, Value string }

// Env makes a container's environment: envFrom first, then env in order (each may refer to what was declared before and
// to service variables), then the service variables that nothing overrode. The order is stable.
func Env(pod *v1.Pod, c *v1.Container, src Sources) ([]Variable, error) {
	links := pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks
	services := serviceEnv(pod.Namespace, src.Services, links)
	e := environment{pod: pod, c: c, src: src, values: map[string]string{}, services: services}
	for i := range c.EnvFrom {
		if err := e.from(&c.EnvFrom[i]); err != nil {
			return nil, err
		}
	}
	for i := range c.Env {
		if err := e.declare(&c.Env[i]); err != nil {
			return nil, err
		}
	}
	out := make([]Variable, 0, len(e.order)+len(services))
	for _, name := range e.order {
		out = append(out, Variable{name, e.values[name]})
	}
	names := make([]string, 0, len(services))
	for name := range services {
		if _, taken := e.values[name]; !taken {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		out = append(out, Variable{name, services[name]})
	}
	return out, nil
}

type environment struct {
	pod      *v1.Pod
	c        *v1.Container
	src      Sources
	values   map[string]string
	services map[string]string
	order    []string
}

func (e *environment) put(name, value string) {
	if _, known := e.values[name]; !known {
		e.order = append(e.order, name)
	}
	e.values[name] = value
}

func (e *environment) from(f *v1.EnvFromSource) error {
	switch {
	case f.ConfigMapRef != nil:
		m := e.src.ConfigMaps[f.ConfigMapRef.Name]
		if m == nil {
			if isTrue(f.ConfigMapRef.Optional) {
				return nil
			}
			return fmt.Errorf("configmap %q not found", f.ConfigMapRef.Name)
		}
		for _, k := range sortedKeys(m.Data) {
			e.put(f.Prefix+k, m.Data[k])
		}
	case f.SecretRef != nil:
		s := e.src.Secrets[f.SecretRef.Name]
		if s == nil {
			if isTrue(f.SecretRef.Optional) {
				return nil
			}
			return fmt.Errorf("secret %q not found", f.SecretRef.Name)
		}
		for _, k := range sortedKeys(s.Data) {
			e.put(f.Prefix+k, string(s.Data[k]))
		}
	}
	return nil
}

func (e *environment) declare(v *v1.EnvVar) error {
	if v.ValueFrom == nil || v.Value != "" {
		e.put(v.Name, Expand(v.Value, e.lookup))
		return nil
	}
	value, skip, err := e.resolve(v.ValueFrom)
	if err != nil || skip {
		return err
	}
	e.put(v.Name, value)
	return nil
}

func (e *environment) lookup(name string) (string, bool) {
	if v, ok := e.values[name]; ok {
		return v, true
	}
	v, ok := e.services[name]
	return v, ok
}

// resolve reads a variable's source; skip says that it is optional and not there.
func (e *environment) resolve(from *v1.EnvVarSource) (value string, skip bool, err error) {
	ns := e.pod.Namespace
	switch {
	case from.FieldRef != nil:
		value, err = fieldpath.ExtractEnv(e.pod, from.FieldRef.FieldPath, fieldpath.Addresses{PodIPs: e.src.PodIPs, HostIPs: e.src.HostIPs})
		return value, false, err
	case from.ResourceFieldRef != nil:
		value, err = fieldpath.Resource(from.ResourceFieldRef, e.pod, e.c.Name, fieldpath.DefaultLimits(e.pod, e.src.Allocatable))
		return value, false, err
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		m := e.src.ConfigMaps[r.Name]
		if m == nil {
			return "", isTrue(r.Optional), unless(r.Optional, "configmap %q not found", r.Name)
		}
		value, ok := m.Data[r.Key]
		if !ok {
			return "", isTrue(r.Optional), unless(r.Optional, "couldn't find key %v in ConfigMap %v/%v", r.Key, ns, r.Name)
		}
		return value, false, nil
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		s := e.src.Secrets[r.Name]
		if s == nil {
			return "", isTrue(r.Optional), unless(r.Optional, "secret %q not found", r.Name)
		}
		data, ok := s.Data[r.Key]
		if !ok {
			return "", isTrue(r.Optional), unless(r.Optional, "couldn't find key %v in Secret %v/%v", r.Key, ns, r.Name)
		}
		return string(data), false, nil
	case from.FileKeyRef != nil:
		r := from.FileKeyRef
		value, found, err := e.src.Files(r.VolumeName, r.Path, r.Key)
		if err != nil {
			return "", false, err
		}
		if !found {
			return "", isTrue(r.Optional), unless(r.Optional, "environment variable key %q not found in file %q of volume %q", r.Key, r.Path, r.VolumeName)
		}
		return value, false, nil
	}
	return "", false, nil
}

func unless(optional *bool, format string, args ...any) error {
	if isTrue(optional) {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func isTrue(b *bool) bool { return b != nil && *b }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Objects lists the ConfigMaps and Secrets that a container's environment refers to.
func Objects(c *v1.Container) (configMaps, secrets []string) {
	cm, sec := map[string]struct{}{}, map[string]struct{}{}
	for i := range c.EnvFrom {
		if r := c.EnvFrom[i].ConfigMapRef; r != nil {
			cm[r.Name] = struct{}{}
		}
		if r := c.EnvFrom[i].SecretRef; r != nil {
			sec[r.Name] = struct{}{}
		}
	}
	for i := range c.Env {
		from := c.Env[i].ValueFrom
		if from == nil {
			continue
		}
		if from.ConfigMapKeyRef != nil {
			cm[from.ConfigMapKeyRef.Name] = struct{}{}
		}
		if from.SecretKeyRef != nil {
			sec[from.SecretKeyRef.Name] = struct{}{}
		}
	}
	return sortedKeys(cm), sortedKeys(sec)
}

// serviceEnv makes the variables that announce services: the API's own always, the namespace's when links are on.
func serviceEnv(ns string, services []*v1.Service, links bool) map[string]string {
	out := map[string]string{}
	for _, s := range services {
		if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == v1.ClusterIPNone || len(s.Spec.Ports) == 0 {
			continue
		}
		master := s.Namespace == "default" && s.Name == "kubernetes"
		if master && ns != "default" && links && shadowed(ns, services) {
			continue
		}
		if !master && (s.Namespace != ns || !links) {
			continue
		}
		announce(out, s)
	}
	return out
}

// shadowed: the namespace has a service of its own that is called kubernetes, which then counts.
func shadowed(ns string, services []*v1.Service) bool {
	for _, s := range services {
		if s.Namespace == ns && s.Name == "kubernetes" && s.Spec.ClusterIP != "" && s.Spec.ClusterIP != v1.ClusterIPNone {
			return true
		}
	}
	return false
}

func announce(out map[string]string, s *v1.Service) {
	prefix := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
	ip := s.Spec.ClusterIP
	out[prefix+"_SERVICE_HOST"] = ip
	out[prefix+"_SERVICE_PORT"] = strconv.Itoa(int(s.Spec.Ports[0].Port))
	for i, p := range s.Spec.Ports {
		port := strconv.Itoa(int(p.Port))
		if p.Name != "" {
			out[prefix+"_SERVICE_PORT_"+strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_"))] = port
		}
		protocol := string(p.Protocol)
		if protocol == "" {
			protocol = string(v1.ProtocolTCP)
		}
		host := ip
		if strings.Contains(ip, ":") {
			host = "[" + ip + "]"
		}
		url := strings.ToLower(protocol) + "://" + host + ":" + port
		if i == 0 {
			out[prefix+"_PORT"] = url
		}
		one := prefix + "_PORT_" + port + "_" + strings.ToUpper(protocol)
		out[one], out[one+"_PROTO"], out[one+"_PORT"], out[one+"_ADDR"] = url, strings.ToLower(protocol), port, ip
	}
}
