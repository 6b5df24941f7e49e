package root

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/actors/container"
	"github.com/troupe-dev/troupe/actors/node"
	"github.com/troupe-dev/troupe/actors/node/machine"
	"github.com/troupe-dev/troupe/actors/node/nodestatus"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/cgroups/systemd"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/nodemsg"
)

// Host is what the agent knows of its machine. What is set here once never changes; the rest is in atomics.
type Host struct {
	Cgroups                      *cgroupfs.Host
	Machine                      nodestatus.Machine
	Capacity                     v1.ResourceList
	KubeReserved, SystemReserved v1.ResourceList
	Allocatable                  v1.ResourceList

	ips     atomic.Pointer[[]string]
	runtime atomic.Pointer[string]
	// handlers is what the runtime's handlers can do; nil before the runtime has said.
	handlers atomic.Pointer[handlers]
	base     container.NodeFacts
}

// inspectHost reads the machine once.
func inspectHost(ctx context.Context, cfg Config) (*Host, error) {
	h := &Host{}
	var err error
	if h.Cgroups, err = cgroupfs.Detect(cgroupfs.DefaultRoot); err != nil {
		return nil, err
	}
	if h.Machine, err = machine.Read("/", cfg.RootDir); err != nil {
		return nil, fmt.Errorf("read what the machine is made of: %w", err)
	}
	if h.KubeReserved, err = quantities(cfg.Kubelet.KubeReserved, "kubeReserved"); err != nil {
		return nil, err
	}
	if h.SystemReserved, err = quantities(cfg.Kubelet.SystemReserved, "systemReserved"); err != nil {
		return nil, err
	}
	var st v1.NodeStatus
	nodestatus.Capacity(&st, statusConfig(cfg, h), h.Machine)
	h.Capacity, h.Allocatable = st.Capacity, st.Allocatable
	ips := addresses(ctx, nodeConfig(cfg, h))
	h.ips.Store(&ips)
	h.base.Limits = limits(cfg, h)
	return h, nil
}

// listening passes on what is told to the node actor and keeps what others read of it.
type listening struct {
	host *Host
	next messages.Sink
}

// Tell implements messages.Sink.
func (l listening) Tell(msg any) {
	if m, ok := msg.(nodemsg.RuntimeState); ok {
		if name := m.State.Name; name != "" {
			l.host.runtime.Store(&name)
		}
		if m.State.Handlers != nil {
			l.host.handlers.Store(abilities(m.State.Handlers))
		}
	}
	l.next.Tell(msg)
}

func (h *Host) hostIPs() []string {
	if p := h.ips.Load(); p != nil {
		return *p
	}
	return nil
}

// runtimeName is the scheme of container ids.
func (h *Host) runtimeName() string {
	if p := h.runtime.Load(); p != nil {
		return *p
	}
	return "containerd"
}

func (h *Host) allocatable() v1.ResourceList { return h.Allocatable }

func (h *Host) facts() container.NodeFacts {
	f := h.base
	f.HostIPs, f.Allocatable = h.hostIPs(), h.Allocatable
	f.RecursiveReadOnly = h.abilities().recursiveReadOnly
	return f
}

func quantities(m map[string]string, field string) (v1.ResourceList, error) {
	out := v1.ResourceList{}
	for name, text := range m {
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return nil, fmt.Errorf("%s[%s]: %q is not a quantity such as 500m or 1Gi", field, name, text)
		}
		out[v1.ResourceName(name)] = q
	}
	return out, nil
}

// addresses are the node's own, as its status shows them; a look-up that fails leaves the interfaces.
func addresses(ctx context.Context, c node.Config) []string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	list, _ := node.Addresses(ctx, c) // the node actor tries again and tells
	var out []string
	for _, a := range list {
		if a.Type == v1.NodeInternalIP {
			out = append(out, a.Address)
		}
	}
	if len(out) > 0 {
		return out
	}
	interfaces, _ := net.InterfaceAddrs() // none is no reason not to start
	for _, a := range interfaces {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return []string{n.IP.String()}
		}
	}
	return []string{"127.0.0.1"}
}

// cgroupDriver asks the runtime which driver it uses, as both have to agree; a runtime that does not say leaves it to the
// configuration.
func cgroupDriver(ctx context.Context, d Deps, cfg Config) (cgroups.Driver, error) {
	fallback, err := cgroups.ParseDriver(cfg.Kubelet.CgroupDriver)
	if err != nil {
		return "", fmt.Errorf("cgroupDriver: %w", err)
	}
	if d.Child != nil {
		return fallback, nil // our own runtime is configured to agree
	}
	deadline := time.Now().Add(cfg.WaitRuntime)
	for {
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		rc, err := d.Runtime.RuntimeConfig(call)
		cancel()
		switch {
		case err == nil:
			if rc.GetLinux().GetCgroupDriver() == runtimeapi.CgroupDriver_SYSTEMD {
				return cgroups.Systemd, nil
			}
			return cgroups.Cgroupfs, nil
		case errors.Is(err, cri.ErrUnimplemented):
			return fallback, nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case time.Now().After(deadline):
			d.Logger.Info("The runtime does not say which cgroup driver it uses; the configured one is used", "driver", fallback, "err", err)
			return fallback, nil
		}
		select {
		case <-time.After(100 * time.Millisecond): // the runtime's socket is not there yet: nothing announces it
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func newApplier(h *Host, driver cgroups.Driver) cgroups.Applier {
	if driver == cgroups.Systemd {
		return systemd.New(h.Cgroups, systemd.Dial)
	}
	return cgroupfs.New(h.Cgroups)
}
