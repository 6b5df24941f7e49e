package kubeletconfig

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	kyaml "sigs.k8s.io/yaml"
)

func toYAML(m map[string]any) ([]byte, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return kyaml.JSONToYAML(raw)
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	c, err := LoadFile(write(t, filepath.Join(dir, "k.yaml"), head+"staticPodPath: manifests\ntlsCertFile: /abs.crt\nresolvConf: r.conf\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "manifests"); c.StaticPodPath != want {
		t.Errorf("staticPodPath %q, want %q", c.StaticPodPath, want)
	}
	if want := filepath.Join(dir, "r.conf"); *c.ResolverConfig != want {
		t.Errorf("resolvConf %q, want %q", *c.ResolverConfig, want)
	}
	if c.TLSCertFile != "/abs.crt" {
		t.Errorf("an absolute path became %q", c.TLSCertFile)
	}
	if !reflect.DeepEqual(c.EvictionHard, DefaultEvictionHard()) {
		t.Errorf("evictionHard %v, want the defaults", c.EvictionHard)
	}
	c, err = LoadFile(write(t, filepath.Join(dir, "e.yaml"), head+"evictionHard: {memory.available: 1Gi}\n"))
	if err != nil || len(c.EvictionHard) != 1 {
		t.Errorf("evictionHard %v (%v), want only what the file says", c.EvictionHard, err)
	}
	c, err = LoadFile(write(t, filepath.Join(dir, "m.yaml"), head+"evictionHard: {memory.available: 1Gi}\nmergeDefaultEvictionSettings: true\n"))
	if err != nil || len(c.EvictionHard) != 5 || c.EvictionHard["memory.available"] != "1Gi" {
		t.Errorf("evictionHard %v (%v), want the file over the defaults", c.EvictionHard, err)
	}
	if _, err := LoadFile(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestMergeDropIns(t *testing.T) {
	dir := t.TempDir()
	base := NewDefault()
	base.MaxPods = 50
	base.FeatureGates = map[string]bool{"MemoryQoS": true, "EventedPLEG": true}
	base.EvictionHard = DefaultEvictionHard()
	write(t, filepath.Join(dir, "10-a.conf"), head+"maxPods: 60\nclusterDNS: [10.0.0.1, 10.0.0.2]\nevictionHard: {memory.available: 5%}\n")
	write(t, filepath.Join(dir, "15-sub", "z.conf"), head+"maxPods: 70\npodsPerCore: 3\n")
	write(t, filepath.Join(dir, "20-b.conf"), head+"clusterDNS: [10.0.0.3]\nfeatureGates: {EventedPLEG: false, PodsAPI: true}\n")
	write(t, filepath.Join(dir, "README"), "not yaml: [")
	got, skipped, err := MergeDropIns(base, dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.MaxPods != 70 || got.PodsPerCore != 3 {
		t.Errorf("maxPods %d podsPerCore %d, want 70 and 3", got.MaxPods, got.PodsPerCore)
	}
	if !reflect.DeepEqual(got.ClusterDNS, []string{"10.0.0.3"}) {
		t.Errorf("clusterDNS %v: lists replace", got.ClusterDNS)
	}
	if want := map[string]bool{"MemoryQoS": true, "EventedPLEG": false, "PodsAPI": true}; !reflect.DeepEqual(got.FeatureGates, want) {
		t.Errorf("featureGates %v, want %v", got.FeatureGates, want)
	}
	if got.EvictionHard["memory.available"] != "5%" || len(got.EvictionHard) != 5 {
		t.Errorf("evictionHard %v: maps merge by key", got.EvictionHard)
	}
	if base.MaxPods != 50 || base.FeatureGates["EventedPLEG"] != true {
		t.Error("the base was changed")
	}
	if len(skipped) != 1 || !strings.HasSuffix(skipped[0], "README") {
		t.Errorf("skipped %v, want README", skipped)
	}

	for name, c := range map[string]struct{ text, want string }{
		"no kind": {"apiVersion: kubelet.config.k8s.io/v1beta1\n", "kind: is missing"},
		"unknown": {head + "maxPodz: 1\n", "99.conf:3: maxPodz"},
		"empty":   {"", "the file is empty"},
	} {
		write(t, filepath.Join(dir, "99.conf"), c.text)
		if _, _, err := MergeDropIns(base, dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v lacks %q", name, err, c.want)
		}
	}
	if _, _, err := MergeDropIns(base, filepath.Join(dir, "none")); err == nil {
		t.Error("a missing folder is no error")
	}
}

// RFC 7386, appendix A, the cases between objects.
func TestMergePatch(t *testing.T) {
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		target, _ := parseObject([]byte(c.target))
		patch, _ := parseObject([]byte(c.patch))
		got, _ := json.Marshal(mergePatch(target, patch))
		if string(got) != c.want {
			t.Errorf("%s + %s = %s, want %s", c.target, c.patch, got, c.want)
		}
	}
}

// Every field has a row that says whether it is honoured, and every row a field.
func TestEveryFieldIsInTheTable(t *testing.T) {
	table := supported()
	for _, name := range TopLevelFields() {
		if _, ok := table[name]; !ok {
			t.Errorf("%s is not in the table", name)
		}
		delete(table, name)
	}
	for name := range table {
		t.Errorf("%s is no field of the configuration", name)
	}
	for name, row := range supported() {
		if (row.state == moot) != (row.why != "") {
			t.Errorf("%s: only a moot field has a reason, and it needs one", name)
		}
	}
}

func TestWarnings(t *testing.T) {
	c := NewDefault()
	c.EvictionHard = DefaultEvictionHard()
	if w, err := Warnings(c, false); err != nil || len(w) != 0 {
		t.Errorf("defaults give %q, %v", w, err)
	}
	c.CPUManagerPolicy, c.ReadOnlyPort, c.MaxPods = "static", 10255, 7
	c.SyncFrequency.Duration *= 2
	c.ClusterDNS = []string{"10.0.0.10", "nonsense"}
	w, err := Warnings(c, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"configuration fields that are set but not honoured yet: cpuManagerPolicy, readOnlyPort",
		"configuration field syncFrequency makes no difference",
		`clusterDNS[1]: "nonsense"`,
	}
	if len(w) != len(want) {
		t.Fatalf("warnings %q", w)
	}
	for i := range want {
		if !strings.HasPrefix(w[i], want[i]) {
			t.Errorf("warning %d is %q, want %q", i, w[i], want[i])
		}
	}
	if w, err := Warnings(NewLegacyDefault(), true); err != nil || len(w) != 0 {
		t.Errorf("flag defaults give %q, %v", w, err)
	}
}

// Flag names and fields in the tables exist.
func TestFlagFieldsExist(t *testing.T) {
	known := map[string]bool{}
	for _, p := range paths(reflect.TypeFor[Configuration](), "") {
		known[p] = true
	}
	for flag, field := range FlagFields() {
		if !known[field] {
			t.Errorf("--%s: no field %s", flag, field)
		}
	}
}
