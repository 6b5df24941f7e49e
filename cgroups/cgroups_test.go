package cgroups_test

import (
	"fmt"
	"reflect"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
)

var layout = cgroups.Layout{PerQOS: true}

func rl(pairs ...string) v1.ResourceList {
	out := v1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[v1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func container(requests, limits v1.ResourceList) v1.Container {
	return v1.Container{Name: "c", Resources: v1.ResourceRequirements{Requests: requests, Limits: limits}}
}

func podOf(cs ...v1.Container) *v1.Pod {
	p := &v1.Pod{Spec: v1.PodSpec{Containers: cs}}
	p.UID = "0a1b-2c3d"
	return p
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		class           v1.PodQOSClass
		root            string
		cgroupfs, slice string
	}{
		{v1.PodQOSGuaranteed, "/", "/kubepods/pod0a1b-2c3d", "/kubepods.slice/kubepods-pod0a1b_2c3d.slice"},
		{v1.PodQOSBurstable, "", "/kubepods/burstable/pod0a1b-2c3d", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b_2c3d.slice"},
		{v1.PodQOSBestEffort, "", "/kubepods/besteffort/pod0a1b-2c3d", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0a1b_2c3d.slice"},
		{v1.PodQOSGuaranteed, "/my-root/x", "/my-root/x/kubepods/pod0a1b-2c3d", "/my_root.slice/my_root-x.slice/my_root-x-kubepods.slice/my_root-x-kubepods-pod0a1b_2c3d.slice"},
	} {
		l := cgroups.Layout{Root: cgroups.ParseName(cgroups.Cgroupfs, c.root), PerQOS: true}
		n := l.Pod("0a1b-2c3d", c.class)
		if got := n.Path(cgroups.Cgroupfs); got != c.cgroupfs {
			t.Errorf("%s %s: cgroupfs %s", c.class, c.root, got)
		}
		if got := n.Path(cgroups.Systemd); got != c.slice {
			t.Errorf("%s %s: systemd %s", c.class, c.root, got)
		}
		for d, path := range map[cgroups.Driver]string{cgroups.Cgroupfs: c.cgroupfs, cgroups.Systemd: c.slice} {
			if back := cgroups.ParseName(d, path); back.String() != n.String() {
				t.Errorf("%s reads %s as %s", d, path, back)
			}
		}
		if uid, ok := cgroups.PodUID(n); !ok || uid != "0a1b-2c3d" {
			t.Errorf("uid %q, %v of %s", uid, ok, n)
		}
	}
	for _, n := range layout.Tiers() {
		if uid, ok := cgroups.PodUID(n); ok {
			t.Errorf("%s is taken for pod %s", n, uid)
		}
	}
	for _, root := range []string{"", "/", "-.slice"} {
		if n := cgroups.ParseName(cgroups.Systemd, root); len(n) != 0 {
			t.Errorf("%q is %v, want the root", root, n)
		}
	}
	if u := cgroups.Name(nil).Unit(); u != "-.slice" {
		t.Errorf("the root's unit is %s", u)
	}
}

func TestCPUFormulas(t *testing.T) {
	for request, want := range map[model.MilliCPU]uint64{0: 2, 1: 2, 2: 2, 3: 3, 250: 256, 1000: 1024, 256000: 262144, 900000: 262144, 1 << 62: 262144, -5: 2} {
		if got := cgroups.Shares(request); got != want {
			t.Errorf("shares of %dm = %d, want %d", request, got, want)
		}
	}
	for _, c := range []struct {
		limit  model.MilliCPU
		period uint64
		want   int64
	}{{0, 100000, 0}, {5, 100000, 1000}, {10, 100000, 1000}, {11, 100000, 1100}, {1500, 100000, 150000}, {100, 5000, 1000}, {500, 50000, 25000}} {
		if got := cgroups.Quota(c.limit, c.period); got != c.want {
			t.Errorf("quota of %dm in %d = %d, want %d", c.limit, c.period, got, c.want)
		}
	}
	// KEP 2254: the ends, and the default of 1024.
	for shares, want := range map[uint64]uint64{2: 1, 1024: 39, 2048: 79, 262144: 10000, 1 << 40: 10000, 0: 1} {
		if got := cgroups.Weight(shares); got != want {
			t.Errorf("weight of %d = %d, want %d", shares, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.Uint64Range(1, 10000).Draw(t, "weight")
		back := cgroups.Weight(cgroups.WeightToShares(w))
		if back != w && back+1 != w {
			t.Fatalf("%d comes back as %d", w, back)
		}
		a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64().Draw(t, "b")
		if a < b && cgroups.Weight(a) > cgroups.Weight(b) {
			t.Fatalf("more shares %d > %d, less weight", b, a)
		}
	})
}

func TestPodResources(t *testing.T) {
	always := v1.ContainerRestartPolicyAlways
	sidecar := container(rl("cpu", "100m", "memory", "10Mi"), rl("cpu", "200m", "memory", "20Mi"))
	sidecar.RestartPolicy = &always
	withInit := func(p *v1.Pod, cs ...v1.Container) *v1.Pod { p.Spec.InitContainers = cs; return p }
	withOverhead := func(p *v1.Pod, o v1.ResourceList) *v1.Pod { p.Spec.Overhead = o; return p }
	podLevel := func(p *v1.Pod, requests, limits v1.ResourceList) *v1.Pod {
		p.Spec.Resources = &v1.ResourceRequirements{Requests: requests, Limits: limits}
		return p
	}
	limited := container(rl("cpu", "250m", "memory", "64Mi"), rl("cpu", "500m", "memory", "128Mi"))
	half := container(rl("cpu", "250m"), rl("memory", "128Mi"))
	full := container(rl("cpu", "1", "memory", "1Gi"), rl("cpu", "1", "memory", "1Gi"))
	const mi = 1 << 20
	type want struct {
		path   string
		shares uint64
		quota  *int64
		memory *int64
	}
	for name, c := range map[string]struct {
		pod  *v1.Pod
		want want
	}{
		"best effort":                  {podOf(container(nil, nil)), want{"/kubepods/besteffort/pod0a1b-2c3d", 2, nil, nil}},
		"guaranteed":                   {podOf(full), want{"/kubepods/pod0a1b-2c3d", 1024, ptr.To[int64](100000), ptr.To[int64](1024 * mi)}},
		"burstable, all limited":       {podOf(limited, limited), want{"/kubepods/burstable/pod0a1b-2c3d", 512, ptr.To[int64](100000), ptr.To[int64](256 * mi)}},
		"burstable, one unlimited":     {podOf(limited, container(rl("cpu", "1"), nil)), want{"/kubepods/burstable/pod0a1b-2c3d", 1280, nil, nil}},
		"burstable, memory only":       {podOf(half), want{"/kubepods/burstable/pod0a1b-2c3d", 256, nil, ptr.To[int64](128 * mi)}},
		"unlimited init container":     {withInit(podOf(limited), container(nil, nil)), want{"/kubepods/burstable/pod0a1b-2c3d", 256, nil, nil}},
		"larger init container":        {withInit(podOf(limited), container(rl("cpu", "2"), rl("cpu", "2", "memory", "1Gi"))), want{"/kubepods/burstable/pod0a1b-2c3d", 2048, ptr.To[int64](200000), ptr.To[int64](1024 * mi)}},
		"sidecar adds":                 {withInit(podOf(limited), sidecar), want{"/kubepods/burstable/pod0a1b-2c3d", 358, ptr.To[int64](70000), ptr.To[int64](148 * mi)}},
		"overhead adds":                {withOverhead(podOf(limited), rl("cpu", "100m", "memory", "10Mi")), want{"/kubepods/burstable/pod0a1b-2c3d", 358, ptr.To[int64](60000), ptr.To[int64](138 * mi)}},
		"overhead limits nothing":      {withOverhead(podOf(container(rl("cpu", "100m"), nil)), rl("cpu", "100m", "memory", "10Mi")), want{"/kubepods/burstable/pod0a1b-2c3d", 204, nil, nil}},
		"pod-level limit":              {podLevel(podOf(container(nil, nil), limited), rl("cpu", "1"), rl("cpu", "2", "memory", "1Gi")), want{"/kubepods/burstable/pod0a1b-2c3d", 1024, ptr.To[int64](200000), ptr.To[int64](1024 * mi)}},
		"pod-level guaranteed":         {podLevel(podOf(container(nil, nil)), rl("cpu", "1", "memory", "1Gi"), rl("cpu", "1", "memory", "1Gi")), want{"/kubepods/pod0a1b-2c3d", 1024, ptr.To[int64](100000), ptr.To[int64](1024 * mi)}},
		"pod-level memory limits only": {podLevel(podOf(container(rl("cpu", "1"), nil)), nil, rl("memory", "1Gi")), want{"/kubepods/burstable/pod0a1b-2c3d", 1024, nil, ptr.To[int64](1024 * mi)}},
		"a tiny limit is raised":       {podOf(container(nil, rl("cpu", "1m", "memory", "1Gi"))), want{"/kubepods/burstable/pod0a1b-2c3d", 2, ptr.To[int64](1000), ptr.To[int64](1024 * mi)}},
	} {
		t.Run(name, func(t *testing.T) {
			d := cgroups.PodResources(c.pod, cgroups.PodConfig{Layout: layout, EnforceCPULimits: true})
			got := want{d.Name.String(), *d.Resources.CPU.Shares, d.Resources.CPU.Quota, nil}
			if d.Resources.Memory != nil {
				got.memory = d.Resources.Memory.Limit
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %s, want %s", show(got), show(c.want))
			}
		})
	}
}

func show(v any) string {
	out := ""
	rv := reflect.ValueOf(v)
	for i := range rv.NumField() {
		f := rv.Field(i)
		if f.Kind() == reflect.Pointer && !f.IsNil() {
			f = f.Elem()
		}
		out += fmt.Sprintf("%s=%v ", rv.Type().Field(i).Name, f)
	}
	return out
}

func TestPodConfig(t *testing.T) {
	p := podOf(container(rl("hugepages-2Mi", "4Mi", "cpu", "1", "memory", "1Gi"), rl("hugepages-2Mi", "4Mi", "cpu", "1", "memory", "1Gi")))
	d := cgroups.PodResources(p, cgroups.PodConfig{Layout: layout, EnforceCPULimits: false, PeriodMicros: 50000, PidsLimit: 7, HugePageSizes: []model.Bytes{2 << 20, 1 << 30}})
	if *d.Resources.CPU.Quota != -1 || *d.Resources.CPU.Period != 50000 || *d.Resources.Pids.Limit != 7 {
		t.Errorf("%+v", d.Resources)
	}
	want := []specs.LinuxHugepageLimit{{Pagesize: "1GB", Limit: 0}, {Pagesize: "2MB", Limit: 4 << 20}}
	if !reflect.DeepEqual(d.Resources.HugepageLimits, want) {
		t.Errorf("huge pages %v", d.Resources.HugepageLimits)
	}
	// A class that the API recorded wins: the cgroup must not move.
	p.Status.QOSClass = v1.PodQOSBurstable
	if n := cgroups.PodResources(p, cgroups.PodConfig{Layout: layout}).Name.String(); n != "/kubepods/burstable/pod0a1b-2c3d" {
		t.Errorf("recorded class ignored: %s", n)
	}
}

func TestNode(t *testing.T) {
	capacity := rl("cpu", "4", "memory", "8Gi", "pid", "10000", "hugepages-2Mi", "1Gi", "ephemeral-storage", "100Gi", "pods", "110")
	cfg := cgroups.NodeConfig{
		Layout: layout, Driver: cgroups.Cgroupfs, Capacity: capacity, KubeReserved: rl("cpu", "500m", "memory", "1Gi", "pid", "1000"),
		SystemReserved: rl("cpu", "500m", "memory", "512Mi"), Enforce: []string{cgroups.EnforcePods, cgroups.EnforceKubeReserved, cgroups.EnforceSystemReservedCompressible},
		KubeReservedCgroup: "/kube", SystemReservedCgroup: "/sys", HugePageSizes: []model.Bytes{2 << 20},
	}
	d := cgroups.Kubepods(cfg)
	if d.Name.String() != "/kubepods" || *d.Resources.CPU.Shares != 3072 || *d.Resources.Memory.Limit != (8<<30)-(1<<30)-(512<<20) || *d.Resources.Pids.Limit != 9000 {
		t.Errorf("kubepods %s %+v", d.Name, d.Resources)
	}
	reserved, err := cgroups.Reserved(cfg)
	if err != nil || len(reserved) != 2 {
		t.Fatalf("%v %v", reserved, err)
	}
	if r := reserved[0].Resources; reserved[0].Name.String() != "/sys" || *r.CPU.Shares != 512 || r.Memory != nil {
		t.Errorf("compressible only: %+v", r)
	}
	if r := reserved[1].Resources; reserved[1].Name.String() != "/kube" || *r.Memory.Limit != 1<<30 || *r.Pids.Limit != 1000 {
		t.Errorf("kube reserved: %+v", r)
	}
	cfg.Enforce = nil
	if d := cgroups.Kubepods(cfg); *d.Resources.CPU.Shares != 4096 || *d.Resources.Memory.Limit != 8<<30 {
		t.Errorf("not enforced: %+v", d.Resources)
	}
	cfg.Enforce, cfg.KubeReservedCgroup = []string{cgroups.EnforceKubeReserved}, ""
	if _, err := cgroups.Reserved(cfg); err == nil {
		t.Error("a reserved cgroup without a name passed")
	}

	eviction, err := cgroups.EvictionReservation(map[string]string{"memory.available": "100Mi", "nodefs.available": "10%", "imagefs.available": "15%"}, capacity)
	if err != nil || len(eviction) != 2 {
		t.Fatal(eviction, err)
	}
	a := cgroups.Allocatable(capacity, cfg.KubeReserved, cfg.SystemReserved, eviction)
	for name, want := range map[v1.ResourceName]int64{
		v1.ResourceMemory:           (8 << 30) - (1 << 30) - (512 << 20) - (100 << 20) - (1 << 30), // the last for huge pages
		v1.ResourceEphemeralStorage: 100<<30 - int64(float64(100<<30)*float64(float32(10)/100)),
		v1.ResourcePods:             110,
	} {
		if q := a[name]; q.Value() != want {
			t.Errorf("allocatable %s %d, want %d", name, q.Value(), want)
		}
	}
	if q := a[v1.ResourceCPU]; q.MilliValue() != 3000 {
		t.Errorf("allocatable cpu %s", q.String())
	}
	if err := cgroups.ValidateReservations(capacity, rl("cpu", "3"), rl("cpu", "2"), nil); err == nil {
		t.Error("5 of 4 cores reserved, and nobody minds")
	}
	for _, bad := range []string{"x", "200%", "-1%"} {
		if _, err := cgroups.EvictionReservation(map[string]string{"memory.available": bad}, capacity); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

func TestOOMScore(t *testing.T) {
	const node = 10 << 30
	always := v1.ContainerRestartPolicyAlways
	tenth := container(rl("memory", "1Gi"), nil)
	critical := podOf(tenth)
	critical.Spec.PriorityClassName, critical.Spec.Priority = "system-node-critical", ptr.To[int32](2000001000)
	side := podOf(container(rl("memory", "5Gi"), nil))
	side.Spec.InitContainers = []v1.Container{{Name: "s", RestartPolicy: &always}}
	level := podOf(container(nil, nil), tenth)
	level.Spec.Resources = &v1.ResourceRequirements{Requests: rl("memory", "3Gi")}
	for name, c := range map[string]struct {
		pod  *v1.Pod
		c    *v1.Container
		want int
	}{
		"best effort":         {podOf(container(nil, nil)), nil, 1000},
		"guaranteed":          {podOf(container(nil, rl("cpu", "1", "memory", "1Gi"))), nil, 1000}, // limits alone are not defaulted here
		"a tenth":             {podOf(tenth), nil, 900},
		"nothing requested":   {podOf(container(rl("cpu", "1"), nil)), nil, 999},
		"more than all":       {podOf(container(rl("memory", "20Gi"), nil)), nil, 3},
		"node critical":       {critical, nil, -997},
		"sidecar as its pod":  {side, &side.Spec.InitContainers[0], 500},
		"pod-level, unclaimd": {level, nil, 900},
		"pod-level, claimed":  {level, &level.Spec.Containers[1], 800},
	} {
		cc := c.c
		if cc == nil {
			cc = &c.pod.Spec.Containers[0]
		}
		if name == "guaranteed" {
			c.pod.Status.QOSClass, c.want = v1.PodQOSGuaranteed, -997
		}
		if got := cgroups.ContainerOOMScoreAdj(c.pod, cc, node); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p := podOf(v1.Container{Resources: v1.ResourceRequirements{Requests: v1.ResourceList{
			v1.ResourceMemory: *resource.NewQuantity(rapid.Int64Range(1, 1<<40).Draw(t, "request"), resource.BinarySI)}}})
		got := cgroups.ContainerOOMScoreAdj(p, &p.Spec.Containers[0], model.Bytes(rapid.Int64Range(0, 1<<42).Draw(t, "capacity")))
		if got < 3 || got > 999 {
			t.Fatalf("a burstable container got %d", got)
		}
	})
}
