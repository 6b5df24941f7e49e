package standalone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const okPod = `apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: web, image: web:1}]
`

func TestLoadManifests(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		name, text string
		faults     []string // all of them
	}{
		{"a pod", okPod, nil},
		{"documents and comments", "# first\n---\n" + okPod + "---\n# nothing\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n", nil},
		{"an unknown field", strings.Replace(okPod, "image:", "imagee:", 1), []string{`unknown field "spec.containers[0].imagee"`}},
		{"a repeated field", okPod + "spec: {}\n", []string{`"spec" already set`}},
		{"a wrong type", strings.Replace(okPod, "image: web:1", "image: [1]", 1), []string{"image"}},
		{"a Deployment", okPod + "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n", []string{`document 2: Deployment "d" (apps/v1) is not supported`, "Pod, ConfigMap and Secret", "pod template"}},
		{"no kind", "metadata: {name: x}\n", []string{"kind or apiVersion is missing"}},
		{"one name twice", okPod + "---\n" + okPod, []string{"Pod default/web is given twice"}},
		{"no pod", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n", []string{"there is no Pod"}},
		{"two faults", strings.Replace(okPod, "image:", "imagee:", 1) + "---\nkind: X\n", []string{"imagee", "document 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := LoadManifests([]string{write("one/pod.yaml", c.text)}, nil)
			if (err == nil) != (len(c.faults) == 0) {
				t.Fatalf("err = %v, want faults %q", err, c.faults)
			}
			for _, f := range c.faults {
				if !strings.Contains(err.Error(), f) {
					t.Errorf("err = %v, want it to say %q", err, f)
				}
			}
		})
	}
}

func TestLoadFolderAndStdin(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"b.yml": strings.Replace(okPod, "name: web}", "name: b}", 1), "a.yaml": okPod, "notes.txt": "no yaml", "sub/c.yaml": "kind: X"} {
		_ = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := LoadManifests([]string{dir, "-"}, strings.NewReader("apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: x}\nstringData: {a: b}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Pods) != 2 || got.Pods[0].Name != "web" || got.Pods[1].Name != "b" || got.Pods[0].Namespace != "default" {
		t.Errorf("pods = %v", got.Pods)
	}
	if len(got.Secrets) != 1 || string(got.Secrets[0].Data["a"]) != "b" || got.Secrets[0].Namespace != "x" {
		t.Errorf("secrets = %v", got.Secrets)
	}
	if _, err := LoadManifests([]string{filepath.Join(dir, "none.yaml")}, nil); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestExamplesAreValid(t *testing.T) {
	if _, err := LoadManifests([]string{"../../../examples"}, nil); err != nil {
		t.Error(err)
	}
}
