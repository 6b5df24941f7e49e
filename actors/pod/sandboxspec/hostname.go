package sandboxspec

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// maxHostname is the kernel's limit of a node name (HOST_NAME_MAX less one).
const maxHostname = 63

// Hostname is a pod's short host name and, with a subdomain, its DNS domain.
func Hostname(pod *v1.Pod, clusterDomain string) (host, domain string, err error) {
	if o := pod.Spec.HostnameOverride; o != nil {
		if msgs := validation.IsDNS1123Subdomain(*o); len(msgs) > 0 {
			return "", "", fmt.Errorf("pod HostnameOverride %q is not a valid DNS subdomain: %s", *o, strings.Join(msgs, ";"))
		}
		host, err := cut(*o)
		return host, "", err
	}
	host = pod.Name
	if h := pod.Spec.Hostname; h != "" {
		if msgs := validation.IsDNS1123Label(h); len(msgs) > 0 {
			return "", "", fmt.Errorf("pod Hostname %q is not a valid DNS label: %s", h, strings.Join(msgs, ";"))
		}
		host = h
	}
	if host, err = cut(host); err != nil {
		return "", "", err
	}
	if sub := pod.Spec.Subdomain; sub != "" {
		if msgs := validation.IsDNS1123Label(sub); len(msgs) > 0 {
			return "", "", fmt.Errorf("pod Subdomain %q is not a valid DNS label: %s", sub, strings.Join(msgs, ";"))
		}
		domain = sub + "." + pod.Namespace + ".svc." + clusterDomain
	}
	return host, domain, nil
}

// cut shortens a host name to the kernel's limit; what is left must not end in a separator.
func cut(host string) (string, error) {
	if len(host) <= maxHostname {
		return host, nil
	}
	short := strings.TrimRight(host[:maxHostname], "-.")
	if short == "" {
		return "", fmt.Errorf("hostname for pod was invalid: %q", host)
	}
	return short, nil
}

// KernelHostname is the node name that the sandbox's kernel is told: the fully qualified one when the pod asks for it.
func KernelHostname(pod *v1.Pod, host, domain string) (string, error) {
	if pod.Spec.SetHostnameAsFQDN == nil || !*pod.Spec.SetHostnameAsFQDN || domain == "" {
		return host, nil
	}
	full := host + "." + domain
	if len(full) > 64 {
		return "", fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (64 characters is the max, %d characters requested)", full, len(full))
	}
	return full, nil
}
