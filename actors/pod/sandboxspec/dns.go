package sandboxspec

import (
	"slices"
	"sort"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Limits of a pod's resolv.conf, those of Kubernetes' validation (core/validation MaxDNSNameservers, MaxDNSSearchPaths,
// MaxDNSSearchListChars).
const (
	maxServers       = 3
	maxSearches      = 32
	maxSearchesChars = 2048
	maxSearch        = 253 // of one search path: some resolvers abort on longer ones
)

// Resolver is what the node knows about name resolution.
type Resolver struct {
	ClusterDNS    []string
	ClusterDomain string
	// Host is the content of the node's resolv.conf; HostSet is false when the agent was told to use none
	// (resolvConf: ""), and then HostIPs decide the family of the loopback server.
	Host    string
	HostSet bool
	HostIPs []string
}

// DNS composes a pod's resolv.conf. notes are warnings for events: limits exceeded, no cluster DNS.
func DNS(pod *v1.Pod, r Resolver) (cfg *runtimeapi.DNSConfig, notes []string) {
	cfg = parse(r.Host)
	policy := pod.Spec.DNSPolicy
	if policy == v1.DNSClusterFirst && pod.Spec.HostNetwork {
		policy = v1.DNSDefault
	}
	switch policy {
	case v1.DNSNone:
		cfg = &runtimeapi.DNSConfig{}
	case v1.DNSDefault:
		r.loopback(cfg)
	default: // ClusterFirst and ClusterFirstWithHostNet, and what is not known
		if len(r.ClusterDNS) == 0 {
			notes = append(notes, "MissingClusterDNS: no clusterDNS is configured, so a pod with dnsPolicy ClusterFirst gets the node's name servers (Default)")
			r.loopback(cfg)
			break
		}
		cfg.Servers = slices.Clone(r.ClusterDNS)
		if r.ClusterDomain != "" {
			cfg.Searches = unique(append([]string{pod.Namespace + ".svc." + r.ClusterDomain, "svc." + r.ClusterDomain, r.ClusterDomain}, cfg.Searches...))
		}
		cfg.Options = []string{"ndots:5"}
	}
	if extra := pod.Spec.DNSConfig; extra != nil {
		cfg.Servers = unique(append(cfg.Servers, extra.Nameservers...))
		cfg.Searches = unique(append(cfg.Searches, extra.Searches...))
		cfg.Options = options(cfg.Options, extra.Options)
	}
	return cfg, append(notes, limit(cfg)...)
}

// loopback names a local server when the agent was told to use no resolv.conf of the node.
func (r Resolver) loopback(cfg *runtimeapi.DNSConfig) {
	if r.HostSet {
		return
	}
	for _, ip := range r.HostIPs {
		if strings.Contains(ip, ":") {
			cfg.Servers = append(cfg.Servers, "::1")
		} else {
			cfg.Servers = append(cfg.Servers, "127.0.0.1")
		}
	}
	if len(cfg.Servers) == 0 {
		cfg.Servers = []string{"127.0.0.1"}
	}
	cfg.Searches = []string{"."}
}

// parse reads a resolv.conf: name servers add up, of search lines the last one counts, options merge.
func parse(text string) *runtimeapi.DNSConfig {
	cfg := &runtimeapi.DNSConfig{}
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], ";") {
			continue
		}
		switch f[0] {
		case "nameserver":
			if len(f) > 1 {
				cfg.Servers = append(cfg.Servers, f[1])
			}
		case "search":
			cfg.Searches = nil
			for _, s := range f[1:] {
				if s != "." {
					cfg.Searches = append(cfg.Searches, strings.TrimSuffix(s, "."))
				}
			}
		case "options":
			for _, o := range f[1:] {
				name, value, _ := strings.Cut(o, ":")
				cfg.Options = options(cfg.Options, []v1.PodDNSConfigOption{{Name: name, Value: &value}})
			}
		}
	}
	return cfg
}

// options merges: a later option of the same name wins.
func options(have []string, more []v1.PodDNSConfigOption) []string {
	merged := map[string]string{}
	for _, o := range have {
		name, value, _ := strings.Cut(o, ":")
		merged[name] = value
	}
	for _, o := range more {
		merged[o.Name] = ""
		if o.Value != nil {
			merged[o.Name] = *o.Value
		}
	}
	out := make([]string, 0, len(merged))
	for name, value := range merged {
		if value != "" {
			name += ":" + value
		}
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

func limit(cfg *runtimeapi.DNSConfig) (notes []string) {
	if len(cfg.Servers) > maxServers {
		cfg.Servers = cfg.Servers[:maxServers]
		notes = append(notes, "DNSConfigForming: Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "+strings.Join(cfg.Servers, " "))
	}
	kept := cfg.Searches
	if len(kept) > maxSearches {
		kept = kept[:maxSearches]
	}
	kept = slices.DeleteFunc(slices.Clone(kept), func(s string) bool { return len(s) > maxSearch })
	for len(kept) > 0 && len(strings.Join(kept, " ")) > maxSearchesChars {
		kept = kept[:len(kept)-1]
	}
	if len(kept) < len(cfg.Searches) {
		cfg.Searches = kept
		notes = append(notes, "DNSConfigForming: Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "+strings.Join(kept, " "))
	}
	return notes
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
