package root

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

type admitAll struct{ host *Host }

func (n admitAll) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case nodemsg.Admit:
		m.Reply.Tell(podmsg.Admitted{})
	case nodemsg.RuntimeState:
		name := m.State.Name
		n.host.runtime.Store(&name)
	}
}

func (a *Agent) nodeProducer(d Deps, cfg Config, host *Host) func(*spawn.Cell) spawn.Receiver {
	return func(*spawn.Cell) spawn.Receiver { return admitAll{host} }
}

func inspectHost(cfg Config, d Deps) (*Host, error) {
	h := &Host{}
	var err error
	if h.Cgroups, err = cgroupfs.Detect(cgroupfs.DefaultRoot); err != nil {
		return nil, err
	}
	b, _ := os.ReadFile("/proc/meminfo")
	f := strings.Fields(string(b))
	kb, _ := strconv.ParseInt(f[1], 10, 64)
	h.Capacity = v1.ResourceList{v1.ResourceCPU: *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI), v1.ResourceMemory: *resource.NewQuantity(kb*1024, resource.BinarySI)}
	h.Allocatable = h.Capacity
	ips := addresses(cfg.NodeIPs)
	h.ips.Store(&ips)
	h.base.Limits = limits(cfg, h)
	return h, nil
}
