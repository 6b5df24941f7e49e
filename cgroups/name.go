package cgroups

import (
	"fmt"
	"path"
	"strings"

	"github.com/troupe-dev/troupe/messages/model"
)

// Driver is who writes cgroups: Troupe itself through the file system, or systemd on its behalf. It must be the one
// that the container runtime uses.
type Driver string

// The drivers, named as in KubeletConfiguration.
const (
	Cgroupfs Driver = "cgroupfs"
	Systemd  Driver = "systemd"
)

// ParseDriver returns the driver with this name in KubeletConfiguration.
func ParseDriver(s string) (Driver, error) {
	switch d := Driver(s); d {
	case Cgroupfs, Systemd:
		return d, nil
	}
	return "", fmt.Errorf("cgroup driver %q: want %q or %q", s, Cgroupfs, Systemd)
}

const (
	sliceSuffix = ".slice"
	podPrefix   = "pod"
)

// Name is a cgroup independent of the driver: its components from the root of the hierarchy. The empty name is that
// root. Names are values: every method returns a new one.
type Name []string

// ParseName reads a path such as "/kubepods/burstable" (the form of --cgroup-root and of the reserved cgroups when the
// driver is cgroupfs) or, with the systemd driver, a slice such as "/kubepods.slice/kubepods-burstable.slice".
func ParseName(d Driver, s string) Name {
	if d == Systemd {
		s = strings.TrimSuffix(path.Base(s), sliceSuffix)
		if s == "" || s == "/" || s == "." || s == "-" {
			return nil
		}
		parts := strings.Split(s, "-")
		for i := range parts {
			parts[i] = strings.ReplaceAll(parts[i], "_", "-")
		}
		return parts
	}
	var n Name
	for _, p := range strings.Split(s, "/") {
		if p != "" && p != "." {
			n = append(n, p)
		}
	}
	return n
}

// Child returns the name of a cgroup directly below n.
func (n Name) Child(component string) Name {
	return append(append(make(Name, 0, len(n)+1), n...), component)
}

// Parent returns the name above n; the root is its own parent.
func (n Name) Parent() Name {
	if len(n) == 0 {
		return nil
	}
	return append(Name(nil), n[:len(n)-1]...)
}

// Base returns the last component, "" for the root.
func (n Name) Base() string {
	if len(n) == 0 {
		return ""
	}
	return n[len(n)-1]
}

// String returns the path that the cgroupfs driver uses; it serves as key and in messages.
func (n Name) String() string { return "/" + path.Join(n...) }

// Path returns where the driver puts the cgroup, relative to the hierarchy's mount point and beginning with "/". It is
// also the cgroup parent that CRI is given.
func (n Name) Path(d Driver) string {
	if d != Systemd {
		return n.String()
	}
	// systemd nests slices by name: a-b.slice lies in a.slice. A dash inside a component is therefore written as an
	// underscore.
	var b strings.Builder
	prefix := ""
	for _, part := range n {
		part = strings.ReplaceAll(part, "-", "_")
		b.WriteByte('/')
		b.WriteString(prefix + part + sliceSuffix)
		prefix += part + "-"
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// Unit returns the name of the slice unit that systemd manages the cgroup by; "-.slice" is the root.
func (n Name) Unit() string {
	if len(n) == 0 {
		return "-.slice"
	}
	return path.Base(n.Path(Systemd))
}

// PodUID returns the UID of the pod that a cgroup is named for, and whether it is named for one.
func PodUID(n Name) (model.UID, bool) {
	uid, ok := strings.CutPrefix(n.Base(), podPrefix)
	if !ok || uid == "" || strings.Contains(uid, podPrefix) {
		return "", false
	}
	return model.UID(uid), true
}
