package cgstat

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/messages/model"
)

func hosts(t *testing.T) (one, two *cgroupfs.Host, put func(h *cgroupfs.Host, file, text string)) {
	a, b := t.TempDir(), t.TempDir()
	one = &cgroupfs.Host{Version: cgroupfs.V1, Root: a, Hierarchies: map[string]string{"memory": a}}
	two = &cgroupfs.Host{Version: cgroupfs.V2, Root: b}
	return one, two, func(h *cgroupfs.Host, file, text string) {
		t.Helper()
		name := filepath.Join(h.Root, "g", file)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLimits(t *testing.T) {
	one, two, put := hosts(t)
	is := func(what string, h *cgroupfs.Host, memory, swap model.Bytes) {
		t.Helper()
		l, err := ReadLimits(h, "/g")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			got  *model.Bytes
			want model.Bytes
		}{{l.Memory, memory}, {l.Swap, swap}} {
			if (c.got == nil) != (c.want == 0) || c.got != nil && *c.got != c.want {
				t.Errorf("%s: %v, want %d", what, c.got, c.want)
			}
		}
	}
	if _, err := ReadLimits(one, "/g"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a cgroup that is gone: %v", err)
	}
	put(one, "memory.limit_in_bytes", "9223372036854771712\n")
	is("v1, none, no swap accounting", one, 0, 0)
	put(one, "memory.limit_in_bytes", "4096\n")
	put(one, "memory.memsw.limit_in_bytes", "8192\n")
	is("v1", one, 4096, 8192)
	put(two, "memory.max", "max\n")
	put(two, "memory.swap.max", "0\n")
	l, err := ReadLimits(two, "/g")
	if err != nil || l.Memory != nil || l.Swap == nil || *l.Swap != 0 {
		t.Errorf("v2, swap forbidden: %v %v", l, err)
	}
	put(two, "memory.max", "broken")
	if _, err := ReadLimits(two, "/g"); err == nil {
		t.Error("a broken limit was taken")
	}
}

func TestSwap(t *testing.T) {
	one, two, put := hosts(t)
	if v, err := Swap(two, "/g"); v != nil || err != nil {
		t.Errorf("not counted: %v %v", v, err)
	}
	put(one, "memory.stat", "total_swap 512\n")
	put(two, "memory.swap.current", "1024\n")
	for h, want := range map[*cgroupfs.Host]model.Bytes{one: 512, two: 1024} {
		if v, err := Swap(h, "/g"); err != nil || v == nil || *v != want {
			t.Errorf("%v %v, want %d", v, err, want)
		}
	}
}

func TestPressure(t *testing.T) {
	one, two, put := hosts(t)
	for _, h := range []*cgroupfs.Host{one, two} {
		if p, err := ReadPressure(h, "/g", "cpu"); p != nil || err != nil {
			t.Errorf("not told: %v %v", p, err)
		}
	}
	put(two, "io.pressure", "some avg10=1.25 avg60=2.00 avg300=3.00 total=4\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=1\n")
	p, err := ReadPressure(two, "/g", "io")
	if want := (Pressure{Some: Waited{1.25, 2, 3, 4 * time.Microsecond}, Full: Waited{Avg10: 0.5, Total: time.Microsecond}}); err != nil || *p != want {
		t.Errorf("%+v %v", p, err)
	}
	put(two, "io.pressure", "some avg10=x\n")
	if _, err := ReadPressure(two, "/g", "io"); err == nil {
		t.Error("nonsense was taken")
	}
}

func TestProcessesAndTime(t *testing.T) {
	one, two, put := hosts(t)
	put(one, "cgroup.procs", "12\n345\n")
	if p, err := Processes(one, "/g"); err != nil || len(p) != 2 || p[1] != "345" {
		t.Errorf("%v %v", p, err)
	}
	put(two, "cpu.stat", "usage_usec 5\n")
	if n, err := CPUNanos(two, "/g"); err != nil || n != 5000 {
		t.Errorf("%d %v", n, err)
	}
	one.Hierarchies["cpuacct"] = one.Root
	put(one, "cpuacct.usage", "6\n")
	if n, err := CPUNanos(one, "/g"); err != nil || n != 6 {
		t.Errorf("%d %v", n, err)
	}
}
