package systemd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
)

// bus is a systemd that keeps units in a map and makes their directories, with the files of a v2 hierarchy.
type bus struct {
	root   string
	units  map[string]map[string]any
	calls  []string
	result string
	alive  bool
}

func (b *bus) StartTransientUnitContext(_ context.Context, name, _ string, props []sd.Property, done chan<- string) (int, error) {
	b.calls = append(b.calls, "start "+name)
	if b.units[name] != nil {
		return 0, dbus.Error{Name: "org.freedesktop.systemd1.UnitExists"}
	}
	b.units[name] = map[string]any{}
	b.keep(name, props)
	fakeCgroup(filepath.Join(b.root, cgroups.ParseName(cgroups.Systemd, name).Path(cgroups.Systemd)))
	done <- b.result
	return 1, nil
}

func (b *bus) SetUnitPropertiesContext(_ context.Context, name string, runtime bool, props ...sd.Property) error {
	b.calls = append(b.calls, "set "+name)
	if b.units[name] == nil {
		return dbus.Error{Name: "org.freedesktop.systemd1.NoSuchUnit"}
	}
	if !runtime {
		return errors.New("must not be written to /etc")
	}
	b.keep(name, props)
	return nil
}

func (b *bus) StopUnitContext(_ context.Context, name, _ string, done chan<- string) (int, error) {
	b.calls = append(b.calls, "stop "+name)
	delete(b.units, name)
	os.RemoveAll(filepath.Join(b.root, cgroups.ParseName(cgroups.Systemd, name).Path(cgroups.Systemd)))
	done <- b.result
	return 1, nil
}

func (b *bus) ResetFailedUnitContext(context.Context, string) error { return nil }
func (b *bus) GetManagerProperty(string) (string, error)            { return `"252.39-1~deb12u1"`, nil }
func (b *bus) Connected() bool                                      { return b.alive }
func (b *bus) Close()                                               {}

func (b *bus) keep(name string, props []sd.Property) {
	for _, p := range props {
		b.units[name][p.Name] = p.Value.Value()
	}
}

func fakeCgroup(dir string) {
	os.MkdirAll(dir, 0o755)
	os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte("cpu memory pids"), 0o644)
}

func setup(t *testing.T) (*bus, *Applier, cgroups.Layout, *int) {
	b := &bus{root: t.TempDir(), units: map[string]map[string]any{}, result: "done", alive: true}
	h := &cgroupfs.Host{Version: cgroupfs.V2, Root: b.root, Hierarchies: map[string]string{"": b.root}, Controllers: []string{"cpu", "memory", "pids"}}
	dials := 0
	a := New(h, func(context.Context) (Conn, error) { dials++; b.alive = true; return b, nil })
	return b, a, cgroups.Layout{PerQOS: true}, &dials
}

func TestSliceOfAPod(t *testing.T) {
	b, a, l, dials := setup(t)
	n := l.Pod("ab-cd", v1.PodQOSBurstable)
	unit := "kubepods-burstable-podab_cd.slice"
	d := cgroups.Desired{Name: n, Resources: specs.LinuxResources{
		CPU:     &specs.LinuxCPU{Shares: ptr.To[uint64](1024), Quota: ptr.To[int64](12345), Period: ptr.To[uint64](100000), Cpus: ""},
		Memory:  &specs.LinuxMemory{Limit: ptr.To[int64](1 << 30)},
		Pids:    &specs.LinuxPids{Limit: ptr.To[int64](-1)},
		Unified: map[string]string{"memory.oom.group": "1", "memory.low": "4096"},
	}}
	if err := a.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	got := b.units[unit]
	for name, want := range map[string]any{
		"Wants": []string{"kubepods-burstable.slice"}, "DefaultDependencies": false, "MemoryAccounting": true,
		"CPUWeight": uint64(39), "CPUQuotaPeriodUSec": uint64(100000), "CPUQuotaPerSecUSec": uint64(130000),
		"MemoryMax": uint64(1 << 30), "TasksMax": ^uint64(0), "MemoryLow": uint64(4096),
	} {
		if !reflect.DeepEqual(got[name], want) {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	if _, ok := got["Delegate"]; ok {
		t.Error("a slice cannot delegate")
	}
	dir := filepath.Join(b.root, "kubepods.slice/kubepods-burstable.slice", unit)
	for file, want := range map[string]string{"cpu.max": "13000 100000", "memory.oom.group": "1", "memory.max": "1073741824", "pids.max": "max"} {
		if got, _ := os.ReadFile(filepath.Join(dir, file)); string(got) != want {
			t.Errorf("%s = %q, want %q", file, got, want)
		}
	}
	if p := a.Parent(n); p != "/kubepods.slice/kubepods-burstable.slice/"+unit {
		t.Errorf("CRI parent %s", p)
	}

	// The second time only the properties are set; after a lost connection on a new one.
	b.alive, b.calls = false, nil
	d.Resources.CPU.Shares = ptr.To[uint64](2)
	if err := a.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if want := []string{"set " + unit}; !reflect.DeepEqual(b.calls, want) || b.units[unit]["CPUWeight"] != uint64(1) || *dials != 2 {
		t.Errorf("calls %v, dials %d, %v", b.calls, *dials, b.units[unit]["CPUWeight"])
	}
	// A directory without its unit (systemd lost it): the slice is started.
	delete(b.units, unit)
	if err := a.Apply(t.Context(), d); err != nil || b.units[unit] == nil {
		t.Errorf("%v; units %v", err, b.units)
	}
	kids, err := a.Children(l.QOS(v1.PodQOSBurstable))
	if err != nil || len(kids) != 1 || kids[0].String() != n.String() {
		t.Errorf("children %v, %v", kids, err)
	}
	if err := a.Remove(t.Context(), n); err != nil || b.units[unit] != nil {
		t.Errorf("remove: %v", err)
	}
	if err := a.Update(t.Context(), d); err == nil {
		t.Error("an update of a slice that is not there passed")
	}
}

func TestJobThatFails(t *testing.T) {
	b, a, l, _ := setup(t)
	b.result = "failed"
	err := a.Apply(t.Context(), cgroups.Desired{Name: l.Kubepods()})
	if err == nil || !strings.Contains(err.Error(), "kubepods.slice") || !strings.Contains(err.Error(), "failed") {
		t.Errorf("want the slice and the job's result, got %v", err)
	}
}

func TestMasksAndVersions(t *testing.T) {
	for in, want := range map[string][]byte{"0": {1}, "0-3,9": {0x0f, 0x02}, "x": nil, "3-1": nil} {
		if got := cpuMask(in); !reflect.DeepEqual(got, want) {
			t.Errorf("mask of %q = %v, want %v", in, got, want)
		}
	}
	for in, want := range map[string]int{`"252.39-1~deb12u1"`: 252, "v245": 245, "249": 249, "x": 0} {
		if got := parseVersion(in); got != want {
			t.Errorf("version of %q = %d, want %d", in, got, want)
		}
	}
}
