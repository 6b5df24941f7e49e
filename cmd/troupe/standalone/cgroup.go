package standalone

import (
	"context"
	"errors"
	"fmt"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/cgroups/systemd"
	"github.com/troupe-dev/troupe/cri"
)

// CgroupRoot is the cgroup that a run makes for all its pods and removes at its end. A node's own /kubepods stays
// untouched, whoever it belongs to.
type CgroupRoot struct {
	// Path is a path below the hierarchies' roots, with the systemd driver a slice.
	Path string `json:"path"`
	// Driver is "cgroupfs" or "systemd", as the runtime does it.
	Driver cgroups.Driver `json:"driver"`
}

// rootFor makes the name for a runtime. asked is a path or a slice; its form is adapted to the driver.
func rootFor(ctx context.Context, rt cri.Runtime, asked string) (CgroupRoot, error) {
	r := CgroupRoot{Path: asked, Driver: cgroups.Cgroupfs}
	conf, err := rt.RuntimeConfig(ctx)
	switch {
	case errors.Is(err, cri.ErrUnimplemented):
	case err != nil:
		return r, err
	case conf.GetLinux().GetCgroupDriver() == runtimeapi.CgroupDriver_SYSTEMD:
		r.Driver = cgroups.Systemd
	}
	return r, nil
}

func (r CgroupRoot) name() (cgroups.Name, error) {
	n := cgroups.ParseName(r.Driver, r.Path)
	if len(n) == 0 {
		return nil, fmt.Errorf("--cgroup-root %q: a run needs a cgroup of its own, such as /troupe", r.Path)
	}
	return n, nil
}

func (r CgroupRoot) applier() (cgroups.Applier, error) {
	host, err := cgroupfs.Detect(cgroupfs.DefaultRoot)
	if err != nil {
		return nil, err
	}
	if r.Driver == cgroups.Systemd {
		return systemd.New(host, systemd.Dial), nil
	}
	return cgroupfs.New(host), nil
}

// Make creates the cgroup with its parents.
func (r CgroupRoot) Make(ctx context.Context) error {
	n, err := r.name()
	if err != nil {
		return err
	}
	a, err := r.applier()
	if err != nil {
		return err
	}
	for i := range n {
		if !a.Exists(n[:i+1]) {
			if err := a.Apply(ctx, cgroups.Desired{Name: n[:i+1]}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove kills what is left in the cgroup and removes it. Parents stay.
func (r CgroupRoot) Remove(ctx context.Context) error {
	n, err := r.name()
	if err != nil {
		return err
	}
	a, err := r.applier()
	if err != nil {
		return err
	}
	return a.Remove(ctx, n)
}
