package containerspec

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// HostsPath is the file that the agent keeps for a pod unless a container mounts something there itself.
const HostsPath = "/etc/hosts"

// Mount is one volume mount of a container with the place it comes from.
type Mount struct {
	Spec   *v1.VolumeMount
	Index  int
	Volume model.VolumeMount
	// SubPath is what the spec asks for, expanded; "" for the whole volume. The caller turns it into a safe host path.
	SubPath string
}

// Mounts resolves a container's volume mounts. A volume that the pod does not have is an error that names it.
func Mounts(c *v1.Container, volumes map[string]model.VolumeMount, env []Variable) ([]Mount, error) {
	out := make([]Mount, 0, len(c.VolumeMounts))
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		v, ok := volumes[m.Name]
		if !ok {
			return nil, fmt.Errorf("cannot find volume %q to mount into container %q", m.Name, c.Name)
		}
		sub, err := SubPath(m, env)
		if err != nil {
			return nil, err
		}
		out = append(out, Mount{Spec: m, Index: i, Volume: v, SubPath: sub})
	}
	return out, nil
}

// Runtime is the mount as CRI wants it; hostPath is the volume's root or the safe path of its subPath.
func (m Mount) Runtime(hostPath string, recursiveReadOnly bool) (*runtimeapi.Mount, error) {
	to := m.Spec.MountPath
	if !path.IsAbs(to) {
		to = "/" + to
	}
	r := &runtimeapi.Mount{
		ContainerPath: to, HostPath: hostPath, Readonly: m.Spec.ReadOnly || m.Volume.ReadOnly, SelinuxRelabel: m.Volume.SELinuxRelabel,
	}
	if m.Volume.ImageRef != "" {
		r.HostPath, r.Image, r.ImageSubPath = "", &runtimeapi.ImageSpec{Image: m.Volume.ImageRef}, m.SubPath
	}
	if p := m.Spec.MountPropagation; p != nil {
		switch *p {
		case v1.MountPropagationHostToContainer:
			r.Propagation = runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
		case v1.MountPropagationBidirectional:
			r.Propagation = runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
		case v1.MountPropagationNone:
		}
	}
	if rr := m.Spec.RecursiveReadOnly; rr != nil && m.Spec.ReadOnly {
		switch *rr {
		case v1.RecursiveReadOnlyEnabled:
			if !recursiveReadOnly {
				return nil, fmt.Errorf("volume %q requested recursive read-only mode, but it is not supported by the runtime", m.Spec.Name)
			}
			r.RecursiveReadOnly = true
		case v1.RecursiveReadOnlyIfPossible:
			r.RecursiveReadOnly = recursiveReadOnly
		case v1.RecursiveReadOnlyDisabled:
		}
	}
	return r, nil
}

// MountsHosts says whether a container mounts something at /etc/hosts itself.
func MountsHosts(c *v1.Container) bool {
	for i := range c.VolumeMounts {
		if path.Clean(c.VolumeMounts[i].MountPath) == HostsPath {
			return true
		}
	}
	return false
}

// ManagedHosts is the content of a pod's own hosts file. The header line is the kubelet's: programs look for it.
func ManagedHosts(ips []string, host, domain string, aliases []v1.HostAlias) []byte {
	var b bytes.Buffer
	b.WriteString("# Kubernetes-managed hosts file.\n")
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
	for _, ip := range ips {
		if domain != "" {
			fmt.Fprintf(&b, "%s\t%s.%s\t%s\n", ip, host, domain, host)
		} else {
			fmt.Fprintf(&b, "%s\t%s\n", ip, host)
		}
	}
	writeAliases(&b, aliases)
	return b.Bytes()
}

// NodeHosts is the content of a host-network pod's hosts file: the node's with the pod's aliases.
func NodeHosts(node []byte, aliases []v1.HostAlias) []byte {
	var b bytes.Buffer
	b.WriteString("# Kubernetes-managed hosts file (host network).\n")
	b.Write(node)
	writeAliases(&b, aliases)
	return b.Bytes()
}

func writeAliases(b *bytes.Buffer, aliases []v1.HostAlias) {
	if len(aliases) == 0 {
		return
	}
	b.WriteString("\n# Entries added by HostAliases.\n")
	for _, a := range aliases {
		fmt.Fprintf(b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
	}
}

func parseSize(text string) (model.Bytes, bool) {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, false
	}
	return model.Bytes(q.Value()), true
}
