package node

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/troupe-dev/troupe/actors/node/nodestatus"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Messages of the shell to itself.
type (
	resolved struct {
		addresses []v1.NodeAddress
		err       error
	}
	listed struct {
		images []v1.ContainerImage
		count  uint64
		err    error
	}
)

// resolve finds the node's addresses; names may have to be looked up, so it is a job.
func (s *shell) resolve(c *spawn.Cell) {
	if s.resolving {
		return
	}
	s.resolving = true
	self, config := c.Self(), s.config
	s.deps.Runner.Do(c.Context(), runner.Job{Lane: runner.Disk, Op: "find addresses", Owner: config.NodeName, Timeout: callTimeout,
		Fn: func(ctx context.Context) error {
			addresses, err := Addresses(ctx, config)
			self.Tell(resolved{addresses, err})
			return err
		},
		OnPanic: func(v any) { self.Tell(resolved{nil, fmt.Errorf("panicked: %v", v)}) },
	})
}

func (s *shell) resolveDone(c *spawn.Cell, m resolved) {
	s.resolving, s.resolvedAt = false, time.Now()
	if m.err != nil {
		if fault := m.err.Error(); fault != s.addressFault { // once, not at each tick
			s.addressFault = fault
			s.deps.Logger.Error(m.err, "Failed to find the addresses of the node")
		}
		s.resolvedAt = time.Time{} // again at the next tick
	} else {
		s.facts.Addresses, s.addressFault = m.addresses, ""
	}
	if s.deps.Client == nil {
		return
	}
	if !s.registered && s.attempts == 0 {
		s.register(c)
		return
	}
	s.write(c)
}

// Addresses are the node's addresses: those of --node-ip, or else the one that its name stands for, or that of the
// interface with the default route.
func Addresses(ctx context.Context, c Config) ([]v1.NodeAddress, error) {
	host := v1.NodeAddress{Type: v1.NodeHostName, Address: c.Hostname}
	var ip net.IP
	if len(c.NodeIPs) > 0 {
		ip = c.NodeIPs[0]
	}
	given := ip != nil && !ip.IsUnspecified()
	switch {
	case c.ExternalCloudProvider && ip == nil:
		return []v1.NodeAddress{host}, nil // the cloud will tell
	case given:
		var list []v1.NodeAddress
		for _, ip := range c.NodeIPs {
			if ip.IsUnspecified() {
				continue
			}
			if err := usable(ip); err != nil {
				return nil, fmt.Errorf("failed to validate nodeIP: %w", err)
			}
			list = append(list, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip.String()})
		}
		return append(list, host), nil
	}
	found := net.ParseIP(c.Hostname)
	if found == nil {
		found = lookup(ctx, c.NodeName, ip == nil || ip.To4() != nil)
	}
	if found == nil {
		var err error
		if found, err = utilnet.ResolveBindAddress(ip); err != nil {
			return nil, fmt.Errorf("can't get ip address of node %s: %w", c.NodeName, err)
		}
	}
	return []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: found.String()}, host}, nil
}

// lookup finds an address of this host behind its name, of the preferred family if there is one.
func lookup(ctx context.Context, name string, preferIPv4 bool) net.IP {
	// A resolver that does not answer must not keep the node from being ready.
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	all, err := net.DefaultResolver.LookupIPAddr(ctx, name)
	if err != nil {
		return nil
	}
	var second net.IP
	for _, a := range all {
		if usable(a.IP) != nil {
			continue
		}
		if (a.IP.To4() != nil) == preferIPv4 {
			return a.IP
		}
		if second == nil {
			second = a.IP
		}
	}
	return second
}

// usable says whether others can reach this host under the address.
func usable(ip net.IP) error {
	switch {
	case ip.IsLoopback(), ip.IsMulticast(), ip.IsLinkLocalUnicast(), ip.IsUnspecified():
		return fmt.Errorf("%s is a loopback, multicast, link-local or unspecified address", ip)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	}) {
		return fmt.Errorf("node IP: %q not found in the host's network interfaces", ip)
	}
	return nil
}

// list reads which images the runtime stores.
func (s *shell) list(c *spawn.Cell) {
	if s.listing || s.deps.Images == nil || s.deps.Client == nil {
		return
	}
	s.listing = true
	self, images, most, count := c.Self(), s.deps.Images, s.config.MaxImages, s.runtime.ImagesChanged
	s.deps.Runner.Do(c.Context(), runner.Job{Lane: runner.Reads, Op: "ListImages", Owner: s.config.NodeName, Timeout: time.Minute,
		Fn: func(ctx context.Context) error {
			list, err := images.ListImages(ctx)
			m := listed{count: count, err: err}
			if err == nil {
				m.images = nodestatus.Images(list, most)
			}
			self.Tell(m)
			return err
		},
		OnPanic: func(v any) { self.Tell(listed{err: fmt.Errorf("panicked: %v", v)}) },
	})
}

func (s *shell) listDone(c *spawn.Cell, m listed) {
	s.listing, s.listedAt = false, time.Now()
	if m.err != nil {
		s.deps.Logger.V(2).Info("Images could not be listed for the node's status", "err", m.err)
		return
	}
	s.images, s.facts.Images = m.count, m.images
	s.write(c)
}
