package keyring

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func users(creds []Credential) string {
	var out []string
	for _, c := range creds {
		out = append(out, c.Auth.Username)
	}
	return strings.Join(out, ",")
}

func TestLookup(t *testing.T) {
	k := &Keyring{}
	k.Add(Config{
		"https://index.docker.io/v1/": {Username: "hub"},
		"quay.io":                     {Username: "quay"},
		"quay.io/coreos":              {Username: "coreos"},
		"https://quay.io/v2/coreos":   {Username: "coreos-v2"},
		"*.example.com":               {Username: "wild"},
		"a.example.com:5000/team":     {Username: "port"},
		"http://plain.example.org":    {Username: "http"},
		"::bad::":                     {Username: "bad"},
	}, Source{})
	k.Add(Config{"quay.io/coreos": {Username: "second"}}, Source{Name: "s"})
	for repository, want := range map[string]string{
		"docker.io/library/nginx":      "hub",
		"docker.io/me/app":             "hub",
		"quay.io/coreos/etcd":          "coreos-v2,coreos,second,quay",
		"quay.io/other/app":            "quay",
		"b.example.com/app":            "wild",
		"x.b.example.com/app":          "",
		"a.example.com:5000/team/app":  "port",
		"a.example.com:5000/other/app": "",
		"a.example.com/app":            "wild",
		"plain.example.org/x":          "http",
		"nowhere.org/x":                "",
	} {
		got := users(k.Lookup(repository))
		// The two spellings of one location have no order between them beyond their names.
		if repository == "quay.io/coreos/etcd" {
			if got != "coreos-v2,coreos,second,quay" && got != "coreos,coreos-v2,second,quay" && got != want {
				t.Errorf("%s: %s", repository, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%s: %q, want %q", repository, got, want)
		}
	}
}

func TestSecrets(t *testing.T) {
	auth := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	secret := func(name string, kind v1.SecretType, key, content string) *v1.Secret {
		s := &v1.Secret{Type: kind, Data: map[string][]byte{key: []byte(content)}}
		s.Name, s.Namespace = name, "ns"
		return s
	}
	json1 := secret("one", v1.SecretTypeDockerConfigJson, v1.DockerConfigJsonKey, fmt.Sprintf(`{"auths":{"r.io":{"auth":%q}}}`, auth("u:p:with:colons")))
	cfg := secret("two", v1.SecretTypeDockercfg, v1.DockerConfigKey, fmt.Sprintf(`{"r.io":{"auth":%q,"username":"overridden"}}`, strings.TrimRight(auth("v:pp"), "=")))
	other := secret("three", v1.SecretTypeOpaque, v1.DockerConfigJsonKey, "garbage that does not matter")
	k, err := FromSecrets([]*v1.Secret{json1, other, cfg})
	if err != nil {
		t.Fatal(err)
	}
	creds := k.Lookup("r.io/app")
	if users(creds) != "u,v" || creds[0].Auth.Password != "p:with:colons" || creds[1].Source.Name != "two" {
		t.Errorf("%+v", creds)
	}
	for _, bad := range []string{"{", `{"auths":{"r.io":{"auth":"!!hunter2"}}}`, fmt.Sprintf(`{"auths":{"r.io":{"auth":%q}}}`, auth("hunter2"))} {
		_, err := FromSecrets([]*v1.Secret{secret("bad", v1.SecretTypeDockerConfigJson, v1.DockerConfigJsonKey, bad)})
		if err == nil || !strings.Contains(err.Error(), "ns/bad") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestFingerprint(t *testing.T) {
	c := func(user, password string) []Credential {
		return []Credential{{Auth: Auth{Username: user, Password: password}}}
	}
	same := c("a", "b")
	same[0].Source.Name = "another secret"
	if Fingerprint(c("a", "b")) != Fingerprint(same) {
		t.Error("where it comes from changed the credential")
	}
	seen := map[string]bool{"": true}
	for _, creds := range [][]Credential{c("a", "b"), c("ab", ""), c("", "ab"), append(c("a", "b"), c("a", "b")...), c("b", "a")} {
		f := Fingerprint(creds)
		if seen[f] || strings.Contains(f, "ab") && len(f) < 10 {
			t.Errorf("%v collides", creds)
		}
		seen[f] = true
	}
}
