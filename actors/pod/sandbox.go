package pod

import (
	"context"
	"os"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/actors/container"
	"github.com/troupe-dev/troupe/actors/pod/sandboxspec"
)

// SandboxBuilder makes sandbox configs: it adds to the pure spec what is read from the node.
type SandboxBuilder struct {
	LogsRoot      string
	ClusterDNS    []string
	ClusterDomain string
	// ResolvConf is the node's file that pods inherit from; "" makes none.
	ResolvConf      string
	HostIPs         func() []string
	CFSQuota        bool
	CFSPeriodMicros uint64
	// Classes resolves runtime classes; nil knows only the default one.
	Classes Classes
	// Users has the user ids of pods with a user namespace of their own; nil refuses such pods.
	Users Users
	// UserNamespaces says whether a runtime handler can make user namespaces; an error names what is wrong.
	UserNamespaces func(handler string) (bool, error)
}

// Classes resolves a runtime class to the runtime's handler. An unknown class is an error that names it.
type Classes interface {
	Handler(ctx context.Context, class string) (string, error)
}

// Config makes the config of a sandbox. userns is nil for a pod that shares the node's user namespace. events may be nil.
func (b *SandboxBuilder) Config(pod *v1.Pod, attempt uint32, parent string, userns *runtimeapi.UserNamespace, events record.EventRecorder) (*runtimeapi.PodSandboxConfig, error) {
	in := sandboxspec.Input{Pod: pod, Attempt: attempt, Userns: userns, CgroupParent: parent, LogsRoot: b.LogsRoot, CFSQuota: b.CFSQuota, CFSPeriodMicros: b.CFSPeriodMicros}
	r := sandboxspec.Resolver{ClusterDNS: b.ClusterDNS, ClusterDomain: b.ClusterDomain, HostSet: b.ResolvConf != "", HostIPs: b.HostIPs()}
	if b.ResolvConf != "" {
		text, err := os.ReadFile(b.ResolvConf)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		r.Host = string(text)
	}
	var notes []string
	in.DNS, notes = sandboxspec.DNS(pod, r)
	if events != nil {
		for _, n := range notes {
			reason, message, _ := strings.Cut(n, ": ")
			events.Event(container.Reference(pod, ""), v1.EventTypeWarning, reason, message)
		}
	}
	if !pod.Spec.HostNetwork {
		host, domain, err := sandboxspec.Hostname(pod, b.ClusterDomain)
		if err != nil {
			return nil, err
		}
		if in.Hostname, err = sandboxspec.KernelHostname(pod, host, domain); err != nil {
			return nil, err
		}
	}
	return sandboxspec.Config(in), nil
}

// Handler is the runtime handler of the pod's class.
func (b *SandboxBuilder) Handler(ctx context.Context, pod *v1.Pod) (string, error) {
	if pod.Spec.RuntimeClassName == nil || *pod.Spec.RuntimeClassName == "" || b.Classes == nil {
		return "", nil
	}
	return b.Classes.Handler(ctx, *pod.Spec.RuntimeClassName)
}
