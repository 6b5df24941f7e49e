package kubeletconfig

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The files were printed by the kubelet's own defaulting, v1.36.3.
func TestDefaultsAreThoseOfTheKubelet(t *testing.T) {
	for file, got := range map[string]*Configuration{
		"testdata/kubelet-1.36.3-defaults.json":      NewDefault(),
		"testdata/kubelet-1.36.3-flag-defaults.json": NewLegacyDefault(),
	} {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{}
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		if v, ok := want["enableSystemLogQuery"]; ok && v == false {
			delete(want, "enableSystemLogQuery") // unset, after a round trip through a type without pointers
		}
		have, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		is := map[string]any{}
		if err := json.Unmarshal(have, &is); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, is); diff != "" {
			t.Errorf("%s (-kubelet +troupe):\n%s", file, diff)
		}
	}
}

func TestDependentDefaults(t *testing.T) {
	load := func(text string) *Configuration {
		t.Helper()
		c, err := decode("f", []byte("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		SetDefaults(c)
		return c
	}
	if c := load("maxParallelImagePulls: 5"); *c.SerializeImagePulls {
		t.Error("a limit above one leaves pulls serial")
	}
	if c := load("maxParallelImagePulls: 1"); !*c.SerializeImagePulls {
		t.Error("a limit of one makes pulls parallel")
	}
	if c := load("nodeStatusUpdateFrequency: 7s"); c.NodeStatusReportFrequency.Duration.String() != "7s" {
		t.Errorf("report frequency %s, want that of the update", c.NodeStatusReportFrequency.Duration)
	}
	if c := load("podPidsLimit: -5"); *c.PodPidsLimit != -1 {
		t.Errorf("podPidsLimit %d, want -1", *c.PodPidsLimit)
	}
	if c := load("featureGates: {KubeletCrashLoopBackOffMax: false}"); c.CrashLoopBackOff.MaxContainerRestartPeriod != nil {
		t.Error("the restart period is set while its gate is off")
	}
	if c := load("enforceNodeAllocatable: []"); len(c.EnforceNodeAllocatable) != 0 {
		t.Error("an explicit empty list was replaced")
	}
}

func TestDefaultsShareNothing(t *testing.T) {
	a, b := reflect.ValueOf(NewDefault()).Elem(), reflect.ValueOf(NewDefault()).Elem()
	for i := range a.NumField() {
		if f := a.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() && f.Pointer() == b.Field(i).Pointer() {
			t.Errorf("%s is shared between two configurations", a.Type().Field(i).Name)
		}
	}
}
