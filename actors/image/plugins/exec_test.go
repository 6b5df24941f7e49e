package plugins

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/klog/v2"
)

// install puts an executable and its configuration in place.
func install(t *testing.T, script, config string) (path, bin string) {
	t.Helper()
	bin, path = t.TempDir(), filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(filepath.Join(bin, "prov"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, bin
}

const goodConfig = `
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: prov
  matchImages: ["r.io"]
  defaultCacheDuration: 1h
  apiVersion: credentialprovider.kubelet.k8s.io/VERSION
  args: [get, "two words"]
  env: [{name: KEY, value: from-config}]
`

// A real program: it gets the request, arguments and environment, and its answer is used.
func TestProgram(t *testing.T) {
	t.Setenv("KEY", "from-agent")
	t.Setenv("OTHER", "kept")
	for _, version := range versions() {
		path, bin := install(t, `read request
case "$request" in *'"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/`+version+`","image":"r.io/a"'*) ;; *) echo "got $request" >&2; exit 1;; esac
echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/`+version+`","cacheKeyType":"Registry","cacheDuration":"6h","auth":{"r.io":{"username":"'"$1-$2"'","password":"'"$KEY-$OTHER"'"}}}'
`, strings.ReplaceAll(goodConfig, "VERSION", version))
		list, err := Load(path, bin, true)
		if err != nil {
			t.Fatal(err)
		}
		if got := get(t, New(list, bin, nil, klog.Background()), "r.io/a", pod("x", "")); got != "get-two words:from-config-kept" {
			t.Errorf("%s: %s", version, got)
		}
	}
}

func TestProgramsThatFail(t *testing.T) {
	answer := func(version, kind, more string) string {
		return `echo '{"kind":"` + kind + `","apiVersion":"credentialprovider.kubelet.k8s.io/` + version + `","cacheKeyType":"Registry"` + more + `,"auth":{"r.io":{"username":"u","password":"hush"}}}'`
	}
	for script, want := range map[string]string{
		"echo wrong key >&2; exit 3":                                   "exit status 3: wrong key",
		answer("v1beta1", "CredentialProviderResponse", ""):            "did not match expected apiVersion",
		answer("v1", "Something", ""):                                  "unexpected Kind",
		answer("v1", "CredentialProviderResponse", `,"surprise":true`): "error decoding",
		"echo hush":                 "error decoding",
		"exec /nowhere/interpreter": "exit status 127",
	} {
		path, bin := install(t, script, strings.ReplaceAll(goodConfig, "VERSION", "v1"))
		list, err := Load(path, bin, true)
		if err != nil {
			t.Fatal(err)
		}
		got := get(t, New(list, bin, nil, klog.Background()), "r.io/a", pod("x", ""))
		if !strings.Contains(got, want) || strings.Contains(got, "hush") {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}

func TestConfigFolder(t *testing.T) {
	_, bin := install(t, "", "")
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(dir, bin, true); err == nil {
		t.Error("an empty folder is taken")
	}
	of := func(name string) string {
		return strings.ReplaceAll(strings.ReplaceAll(goodConfig, "VERSION", "v1"), "prov", name)
	}
	fix := func(s string) string {
		return strings.NewReplacer("twoiders", "providers", "oneiders", "providers", "credentialtwoider", "credentialprovider", "credentialoneider", "credentialprovider").Replace(s)
	}
	write("b.yml", fix(of("one")))
	write("a.yaml", fix(of("two")))
	write("c.txt", "nonsense")
	list, err := Load(dir, bin, true)
	if err != nil || len(list) != 2 || list[0].Name != "two" || list[1].Name != "one" {
		t.Fatalf("%+v %v", list, err)
	}
	write("d.json", fix(of("one")))
	if _, err := Load(dir, bin, true); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("one name twice: %v", err)
	}
}

func TestConfigFaults(t *testing.T) {
	good := strings.ReplaceAll(goodConfig, "VERSION", "v1")
	tokens := "  tokenAttributes: {serviceAccountTokenAudience: a, requireServiceAccount: true, cacheType: Token}\n"
	for name, c := range map[string]struct {
		config, want string
	}{
		"no providers":          {"apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\n", "at least one"},
		"unknown field":         {good + "  surprise: 1\n", "surprise"},
		"wrong kind":            {strings.Replace(good, "CredentialProviderConfig", "KubeletConfiguration", 1), "want CredentialProviderConfig"},
		"wrong version":         {strings.Replace(good, "k8s.io/v1\n", "k8s.io/v2\n", 1), "want CredentialProviderConfig"},
		"name with a slash":     {strings.Replace(good, "name: prov", "name: ../prov", 1), "executable"},
		"not there":             {strings.Replace(good, "name: prov", "name: else", 1), "else"},
		"no images":             {strings.Replace(good, `["r.io"]`, "[]", 1), "matchImages"},
		"bad image":             {strings.Replace(good, `"r.io"`, `"r.io:port"`, 1), "r.io:port"},
		"no duration":           {strings.Replace(good, "defaultCacheDuration: 1h", "", 1), "defaultCacheDuration"},
		"negative":              {strings.Replace(good, "1h", "-1h", 1), "negative"},
		"plugin version":        {strings.Replace(good, "provider.kubelet.k8s.io/v1", "provider.kubelet.k8s.io/v9", 1), "v9"},
		"tokens in v1beta1":     {strings.Replace(good, "config.k8s.io/v1\n", "config.k8s.io/v1beta1\n", 1) + tokens, "tokenAttributes"},
		"tokens to v1beta1":     {strings.Replace(good, "provider.kubelet.k8s.io/v1", "provider.kubelet.k8s.io/v1beta1", 1) + tokens, "needs apiVersion"},
		"no audience":           {good + strings.Replace(tokens, "serviceAccountTokenAudience: a, ", "", 1), "Audience"},
		"requires not said":     {good + strings.Replace(tokens, "requireServiceAccount: true, ", "", 1), "requireServiceAccount"},
		"cache type":            {good + strings.Replace(tokens, "cacheType: Token", "cacheType: Pod", 1), "cacheType"},
		"keys without account":  {good + strings.Replace(strings.Replace(tokens, "true", "false", 1), "}", ", requiredServiceAccountAnnotationKeys: [a/b]}", 1), "needs requireServiceAccount"},
		"one key twice":         {good + strings.Replace(tokens, "}", ", requiredServiceAccountAnnotationKeys: [a/b], optionalServiceAccountAnnotationKeys: [a/b]}", 1), "twice"},
		"key is no name":        {good + strings.Replace(tokens, "}", ", optionalServiceAccountAnnotationKeys: ['a b']}", 1), "a b"},
		"tokens without a gate": {good + tokens, "feature gate"},
	} {
		path, bin := install(t, "", c.config)
		if _, err := Load(path, bin, name != "tokens without a gate"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	path, bin := install(t, "", good+tokens)
	if _, err := Load(path, bin, true); err != nil {
		t.Errorf("good: %v", err)
	}
	if _, err := Load(path, bin+"/nowhere", true); err == nil {
		t.Error("a missing folder of plugins is taken")
	}
	if _, err := Load(path+"x", bin, true); err == nil {
		t.Error("a missing configuration is taken")
	}
}
