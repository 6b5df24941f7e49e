// Package podvalidate says what is wrong with a pod that no API server has looked at: static pods and pods given in
// memory. It is pure and expects defaulted pods (poddefaults). It checks what the rest of the agent relies on; it is
// not the API server's whole validation.
package podvalidate

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Pod returns every fault found, each with the path of its field.
func Pod(pod *v1.Pod) field.ErrorList {
	meta := field.NewPath("metadata")
	errs := apivalidation.ValidateObjectMeta(&pod.ObjectMeta, true, apivalidation.NameIsDNSSubdomain, meta)
	return append(errs, spec(&pod.Spec, field.NewPath("spec"))...)
}

// PodName returns what is wrong with a pod's name, nil when nothing is.
func PodName(name string) []string { return apivalidation.NameIsDNSSubdomain(name, false) }

func spec(s *v1.PodSpec, at *field.Path) field.ErrorList {
	volumes, errs := volumes(s.Volumes, at.Child("volumes"))
	errs = append(errs, oneOf(at.Child("restartPolicy"), s.RestartPolicy, v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever)...)
	errs = append(errs, oneOf(at.Child("dnsPolicy"), s.DNSPolicy, v1.DNSClusterFirst, v1.DNSClusterFirstWithHostNet, v1.DNSDefault, v1.DNSNone)...)
	if s.DNSPolicy == v1.DNSNone && (s.DNSConfig == nil || len(s.DNSConfig.Nameservers) == 0) {
		errs = append(errs, field.Required(at.Child("dnsConfig", "nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None"))
	}
	if g := s.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"), *g, "must be greater than or equal to 0"))
	}
	if d := s.ActiveDeadlineSeconds; d != nil && *d < 1 {
		errs = append(errs, field.Invalid(at.Child("activeDeadlineSeconds"), *d, "must be greater than 0"))
	}
	errs = append(errs, label(at.Child("hostname"), s.Hostname)...)
	errs = append(errs, label(at.Child("subdomain"), s.Subdomain)...)
	if s.Resources != nil {
		errs = append(errs, resources(*s.Resources, at.Child("resources"))...)
	}
	names := sets.New[string]()
	ports := map[hostPort]*field.Path{}
	if len(s.Containers) == 0 {
		errs = append(errs, field.Required(at.Child("containers"), "a pod needs at least one container"))
	}
	for i := range s.Containers {
		errs = append(errs, container(s, &s.Containers[i], at.Child("containers").Index(i), volumes, names, ports, true)...)
	}
	for i := range s.InitContainers {
		c := &s.InitContainers[i]
		path := at.Child("initContainers").Index(i)
		sidecar := c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
		initPorts := map[hostPort]*field.Path{}
		if sidecar {
			initPorts = ports
		} else {
			errs = append(errs, plainInit(c, path)...)
		}
		errs = append(errs, container(s, c, path, volumes, names, initPorts, sidecar)...)
	}
	if len(s.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(at.Child("ephemeralContainers"), "cannot be set on create"))
	}
	return errs
}

// plainInit: an init container that runs to its end has no probes and no lifecycle hooks.
func plainInit(c *v1.Container, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	const why = "may not be set for init containers without restartPolicy=Always"
	for name, set := range map[string]bool{
		"livenessProbe": c.LivenessProbe != nil, "readinessProbe": c.ReadinessProbe != nil,
		"startupProbe": c.StartupProbe != nil, "lifecycle": c.Lifecycle != nil,
	} {
		if set {
			errs = append(errs, field.Forbidden(at.Child(name), why))
		}
	}
	return errs
}

func label(at *field.Path, value string) field.ErrorList {
	if value == "" {
		return nil
	}
	return invalid(at, value, validation.IsDNS1123Label(value))
}

func invalid(at *field.Path, value any, faults []string) field.ErrorList {
	var errs field.ErrorList
	for _, f := range faults {
		errs = append(errs, field.Invalid(at, value, f))
	}
	return errs
}

func oneOf[T ~string](at *field.Path, value T, allowed ...T) field.ErrorList {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return field.ErrorList{field.NotSupported(at, value, allowed)}
}

func isExtended(name v1.ResourceName) bool {
	return strings.Contains(string(name), "/") && !strings.HasPrefix(string(name), v1.ResourceDefaultNamespacePrefix)
}
