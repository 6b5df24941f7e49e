// Package systemd makes cgroups as desired by asking systemd for slices, for nodes whose container runtime uses the
// systemd cgroup driver. What systemd has no property for is written to the file system afterwards.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
)

// Conn is the part of systemd's bus that the driver needs; *dbus.Conn of go-systemd has it.
type Conn interface {
	StartTransientUnitContext(ctx context.Context, name, mode string, properties []sd.Property, done chan<- string) (int, error)
	SetUnitPropertiesContext(ctx context.Context, name string, runtime bool, properties ...sd.Property) error
	StopUnitContext(ctx context.Context, name, mode string, done chan<- string) (int, error)
	ResetFailedUnitContext(ctx context.Context, name string) error
	GetManagerProperty(name string) (string, error)
	Connected() bool
	Close()
}

// Dial connects to the node's systemd.
func Dial(ctx context.Context) (Conn, error) {
	c, err := sd.NewSystemdConnectionContext(ctx)
	if err != nil {
		c, err = sd.NewSystemConnectionContext(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to systemd: %w", err)
	}
	return c, nil
}

// jobTimeout bounds one job of systemd when the context gives no nearer deadline.
const jobTimeout = 30 * time.Second

// Applier asks systemd. It connects on first use, and again when the connection broke.
type Applier struct {
	host *cgroupfs.Host
	dial func(context.Context) (Conn, error)

	mu      sync.Mutex
	conn    Conn
	version int
}

var _ cgroups.Applier = (*Applier)(nil)

// New returns an applier for a detected host; dial is Dial outside tests.
func New(host *cgroupfs.Host, dial func(context.Context) (Conn, error)) *Applier {
	return &Applier{host: host, dial: dial}
}

// Close ends the connection.
func (a *Applier) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}

func (a *Applier) connect(ctx context.Context) (Conn, int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil && a.conn.Connected() {
		return a.conn, a.version, nil
	}
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
	conn, err := a.dial(ctx)
	if err != nil {
		return nil, 0, err
	}
	a.conn = conn
	// A version that cannot be read counts as an old one: fewer properties, the same files.
	if v, err := conn.GetManagerProperty("Version"); err == nil {
		a.version = parseVersion(v)
	}
	return conn, a.version, nil
}

// Apply implements cgroups.Applier.
func (a *Applier) Apply(ctx context.Context, d cgroups.Desired) error {
	return a.set(ctx, "apply", d, true)
}

// Update implements cgroups.Applier.
func (a *Applier) Update(ctx context.Context, d cgroups.Desired) error {
	return a.set(ctx, "update", d, false)
}

func (a *Applier) set(ctx context.Context, op string, d cgroups.Desired, create bool) error {
	conn, version, err := a.connect(ctx)
	if err != nil {
		return fmt.Errorf("%s cgroup %s: %w", op, d.Name, err)
	}
	unit, path := d.Name.Unit(), d.Name.Path(cgroups.Systemd)
	props, res := resourceProperties(a.host.Version, version, d.Resources)
	if create {
		if a.host.Exists(path) {
			err = setProperties(ctx, conn, unit, props)
		} else {
			err = start(ctx, conn, unit, append(sliceProperties(d.Name), props...))
		}
		// The slice may be there without its directories, and directories without their slice.
		switch {
		case named(err, "org.freedesktop.systemd1.UnitExists"):
			err = setProperties(ctx, conn, unit, props)
		case named(err, "org.freedesktop.systemd1.NoSuchUnit"):
			err = start(ctx, conn, unit, append(sliceProperties(d.Name), props...))
		}
	} else {
		err = setProperties(ctx, conn, unit, props)
	}
	if err != nil {
		return fmt.Errorf("%s cgroup %s: slice %s: %w", op, d.Name, unit, err)
	}
	if err := a.host.Write(path, res, create); err != nil {
		return fmt.Errorf("%s cgroup %s: %w", op, d.Name, err)
	}
	return nil
}

func setProperties(ctx context.Context, conn Conn, unit string, props []sd.Property) error {
	if len(props) == 0 {
		return nil
	}
	// runtime: the values live as long as the slice, nothing is written to /etc.
	return conn.SetUnitPropertiesContext(ctx, unit, true, props...)
}

func start(ctx context.Context, conn Conn, unit string, props []sd.Property) error {
	return job(ctx, func(ctx context.Context, done chan<- string) error {
		_, err := conn.StartTransientUnitContext(ctx, unit, "replace", props, done)
		if err != nil {
			// A failed unit of that name keeps its place until it is reset.
			_ = conn.ResetFailedUnitContext(ctx, unit)
		}
		return err
	})
}

// job runs one job of systemd to its end.
func job(ctx context.Context, begin func(context.Context, chan<- string) error) error {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	done := make(chan string, 1)
	if err := begin(ctx, done); err != nil {
		return err
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("systemd's job ended as %q", result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("systemd's job has not ended: %w", ctx.Err())
	}
}

// Remove implements cgroups.Applier. Processes are killed first: systemd would give each scope its stop timeout.
func (a *Applier) Remove(ctx context.Context, n cgroups.Name) error {
	if len(n) == 0 {
		return errors.New("remove cgroup /: the root stays")
	}
	conn, _, err := a.connect(ctx)
	if err != nil {
		return fmt.Errorf("remove cgroup %s: %w", n, err)
	}
	dirs := a.host.Dirs(n.Path(cgroups.Systemd))
	cgroupfs.Kill(dirs)
	unit := n.Unit()
	err = job(ctx, func(ctx context.Context, done chan<- string) error {
		_, err := conn.StopUnitContext(ctx, unit, "replace", done)
		return err
	})
	if err != nil && !named(err, "org.freedesktop.systemd1.NoSuchUnit") && ctx.Err() != nil {
		return fmt.Errorf("remove cgroup %s: stop slice %s: %w", n, unit, err)
	}
	_ = conn.ResetFailedUnitContext(ctx, unit)
	// What counts is that the directories are gone; old versions of systemd leave those that a runtime nested.
	return cgroupfs.RemoveDirs(ctx, n, dirs)
}

// Exists implements cgroups.Applier.
func (a *Applier) Exists(n cgroups.Name) bool { return a.host.Exists(n.Path(cgroups.Systemd)) }

// Children implements cgroups.Applier.
func (a *Applier) Children(n cgroups.Name) ([]cgroups.Name, error) {
	names, err := a.host.Children(n.Path(cgroups.Systemd))
	if err != nil {
		return nil, fmt.Errorf("list cgroup %s: %w", n, err)
	}
	var out []cgroups.Name
	for _, base := range names {
		if !strings.HasSuffix(base, ".slice") {
			continue
		}
		child := cgroups.ParseName(cgroups.Systemd, base)
		if len(child) == len(n)+1 && slices.Equal(child[:len(n)], n) {
			out = append(out, child)
		}
	}
	return out, nil
}

// Parent implements cgroups.Applier.
func (a *Applier) Parent(n cgroups.Name) string { return n.Path(cgroups.Systemd) }

// named says whether systemd answered with this error.
func named(err error, name string) bool {
	var e dbus.Error
	return errors.As(err, &e) && e.Name == name
}
