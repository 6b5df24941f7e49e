package admission

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
)

// Sysctls is which sysctls pods may set. The zero value allows none.
type Sysctls struct {
	names    map[string]namespace
	prefixes map[string]namespace
}

type namespace string

const (
	netNamespace namespace = "net"
	ipcNamespace namespace = "ipc"
)

// safeSysctls are those that are namespaced and touch no other pod, with the kernel version from which on they are
// ("" for every one that is supported; documentation of the API's sysctls).
var safeSysctls = []struct{ name, kernel string }{
	{"kernel.shm_rmid_forced", ""},
	{"net.ipv4.ip_local_port_range", ""},
	{"net.ipv4.tcp_syncookies", ""},
	{"net.ipv4.ping_group_range", ""},
	{"net.ipv4.ip_unprivileged_port_start", ""},
	{"net.ipv4.ip_local_reserved_ports", "3.16"},
	{"net.ipv4.tcp_keepalive_time", "4.5"},
	{"net.ipv4.tcp_fin_timeout", "4.6"},
	{"net.ipv4.tcp_keepalive_intvl", "4.5"},
	{"net.ipv4.tcp_keepalive_probes", "4.5"},
	{"net.ipv4.tcp_rmem", "4.15"},
	{"net.ipv4.tcp_wmem", "4.15"},
}

// NewSysctls allows the safe ones that this kernel has (release as uname gives it) and the given names and patterns
// ending in *. A pattern that is known not to be namespaced is an error: it would reach every pod.
func NewSysctls(release string, unsafe []string) (Sysctls, error) {
	s := Sysctls{names: map[string]namespace{}, prefixes: map[string]namespace{}}
	kernel, _ := version.ParseGeneric(release)
	for _, safe := range safeSysctls {
		if safe.kernel == "" || kernel != nil && kernel.AtLeast(version.MustParseGeneric(safe.kernel)) {
			s.names[safe.name], _ = namespaceOf(safe.name)
		}
	}
	for _, pattern := range unsafe {
		name, isPrefix := strings.CutSuffix(normal(pattern), "*")
		ns, ok := namespaceOf(name)
		if !ok {
			return Sysctls{}, fmt.Errorf("the sysctls %q are not known to be namespaced", pattern)
		}
		if isPrefix {
			s.prefixes[name] = ns
		} else {
			s.names[name] = ns
		}
	}
	return s, nil
}

// Check refuses a pod that sets a sysctl which is not allowed, or one of a namespace that it shares with the host.
func (s Sysctls) Check(pod *v1.Pod) *Refusal {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	for _, set := range pod.Spec.SecurityContext.Sysctls {
		if err := s.check(normal(set.Name), pod.Spec.HostNetwork, pod.Spec.HostIPC); err != nil {
			return &Refusal{Reason: SysctlForbidden, Message: fmt.Sprintf("forbidden sysctl: %v", err)}
		}
	}
	return nil
}

func (s Sysctls) check(name string, hostNetwork, hostIPC bool) error {
	ns, ok := s.names[name]
	if !ok {
		for prefix, of := range s.prefixes {
			if strings.HasPrefix(name, prefix) {
				ns, ok = of, true
				break
			}
		}
	}
	switch {
	case !ok:
		return fmt.Errorf("%q not allowlisted", name)
	case ns == ipcNamespace && hostIPC, ns == netNamespace && hostNetwork:
		return fmt.Errorf("%q not allowed with host %s enabled", name, ns)
	}
	return nil
}

// namespaceOf says which kernel namespace holds the sysctl (sysctl(5), namespaces(7)).
func namespaceOf(name string) (namespace, bool) {
	switch {
	case name == "kernel.sem", strings.HasPrefix(name, "kernel.shm"), strings.HasPrefix(name, "kernel.msg"), strings.HasPrefix(name, "fs.mqueue."):
		return ipcNamespace, true
	case strings.HasPrefix(name, "net."):
		return netNamespace, true
	}
	return "", false
}

// normal turns slashes into dots where the first separator is a slash, as sysctl(8) reads names.
func normal(name string) string {
	i := strings.IndexAny(name, "./")
	if i < 0 || name[i] == '.' {
		return name
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, name)
}
