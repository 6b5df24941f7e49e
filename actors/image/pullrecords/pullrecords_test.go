package pullrecords

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/actors/image/keyring"
	"github.com/troupe-dev/troupe/messages/model"
)

type images struct {
	list []model.ImageInfo
	err  error
}

func (i *images) ListImages(context.Context) ([]model.ImageInfo, error) { return i.list, i.err }

func secret(name, user string) keyring.Credential {
	return keyring.Credential{Auth: keyring.Auth{Username: user, Password: "p"}, Source: keyring.Source{SecretUID: "uid-" + name, Namespace: "ns", Name: name}}
}

func account(name string) keyring.Credential {
	return keyring.Credential{Auth: keyring.Auth{Username: "token"}, Source: keyring.Source{ServiceAccountUID: "uid-" + name, Namespace: "ns", Name: name}}
}

func node() keyring.Credential { return keyring.Credential{Auth: keyring.Auth{Username: "node"}} }

type tester interface {
	Helper()
	Fatal(args ...any)
}

func open(t tester, dir string, kind kubeletconfig.ImagePullCredentialsVerificationPolicy, list *images, allow ...string) *Store {
	t.Helper()
	p, err := NewPolicy(kind, allow)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, p, list, klog.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func may(t tester, s *Store, image, ref string, creds ...keyring.Credential) bool {
	t.Helper()
	ok, err := s.MayUse(context.Background(), image, ref, func() ([]keyring.Credential, error) { return creds, nil })
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// pull records a whole pull.
func pull(t tester, s *Store, image, ref string, by *keyring.Credential) {
	t.Helper()
	if err := s.Intend(image); err != nil {
		t.Fatal(err)
	}
	s.Pulled(image, ref, by)
}

func TestWhoMayUseWhat(t *testing.T) {
	a, b, sa, n := secret("a", "alice"), secret("b", "bob"), account("sa"), node()
	sameContent, rotated := secret("copy", "alice"), secret("a", "alice2")
	for name, c := range map[string]struct {
		by   []*keyring.Credential // of pulls before, in order
		with []keyring.Credential
		want bool
	}{
		"pulled with nothing, has nothing":       {[]*keyring.Credential{nil}, nil, true},
		"pulled by the node, has nothing":        {[]*keyring.Credential{&n}, nil, true},
		"pulled with a secret, has nothing":      {[]*keyring.Credential{&a}, nil, false},
		"has it":                                 {[]*keyring.Credential{&a}, []keyring.Credential{a}, true},
		"has another":                            {[]*keyring.Credential{&a}, []keyring.Credential{b}, false},
		"has it among others":                    {[]*keyring.Credential{&a}, []keyring.Credential{n, b, a}, true},
		"has its content in another secret":      {[]*keyring.Credential{&a}, []keyring.Credential{sameContent}, true},
		"has it with other content":              {[]*keyring.Credential{&a}, []keyring.Credential{rotated}, true},
		"what the node has is not the pod's":     {[]*keyring.Credential{&a}, []keyring.Credential{n}, false},
		"pulled with both, has the second":       {[]*keyring.Credential{&a, &b}, []keyring.Credential{b}, true},
		"pulled with a secret, then by the node": {[]*keyring.Credential{&a, &n}, nil, true},
		"pulled by the node, then with a secret": {[]*keyring.Credential{&n, &a}, nil, true},
		"its service account":                    {[]*keyring.Credential{&sa}, []keyring.Credential{account("sa")}, true},
		"another service account":                {[]*keyring.Credential{&sa}, []keyring.Credential{account("sb")}, false},
		"secret and account":                     {[]*keyring.Credential{&sa, &a}, []keyring.Credential{account("sa")}, true},
	} {
		s := open(t, t.TempDir(), "", &images{})
		for _, by := range c.by {
			pull(t, s, "r.io/x:1", "ref", by)
		}
		if got := may(t, s, "r.io/x:1", "ref", c.with...); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if may(t, s, "other.io/x:1", "ref", c.with...) {
			t.Errorf("%s: the same image under another name is open", name)
		}
		if got := may(t, s, "r.io/x:2", "ref", c.with...); got != c.want {
			t.Errorf("%s: with another tag of the same content: %v", name, got)
		}
	}
}

func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		kind  kubeletconfig.ImagePullCredentialsVerificationPolicy
		allow []string
		// put there by somebody; pulled with a secret that the pod lacks; a pull under way
		preloaded, pulled, flying bool
	}{
		{kubeletconfig.NeverVerify, nil, true, true, true},
		{kubeletconfig.NeverVerifyPreloadedImages, nil, true, false, false},
		{"", nil, true, false, false},
		{kubeletconfig.AlwaysVerify, nil, false, false, false},
		{kubeletconfig.NeverVerifyAllowlistedImages, []string{"r.io/x"}, true, true, true},
		{kubeletconfig.NeverVerifyAllowlistedImages, []string{"r.io/*"}, true, true, true},
		{kubeletconfig.NeverVerifyAllowlistedImages, []string{"r.io/y", "r.io/x/*", "s.io/*"}, false, false, false},
	} {
		s := open(t, t.TempDir(), c.kind, &images{}, c.allow...)
		if got := may(t, s, "r.io/x:1", "ref"); got != c.preloaded {
			t.Errorf("%s %v: preloaded %v", c.kind, c.allow, got)
		}
		if err := s.Intend("r.io/x:1"); err != nil {
			t.Fatal(err)
		}
		if got := may(t, s, "r.io/x:1", "ref"); got != c.flying {
			t.Errorf("%s %v: under way %v", c.kind, c.allow, got)
		}
		a := secret("a", "alice")
		s.Pulled("r.io/x:1", "ref", &a)
		if got := may(t, s, "r.io/x:1", "ref"); got != c.pulled {
			t.Errorf("%s %v: pulled %v", c.kind, c.allow, got)
		}
	}
	for _, bad := range []string{" r.io/x", "r.io/x ", "*", "/*", "r.io*", "r.io/*/x", "r.io/x:1", "r.io/x@sha256:" + strings.Repeat("a", 64), "", "R.io/X/Y?"} {
		if _, err := NewPolicy(kubeletconfig.NeverVerifyAllowlistedImages, []string{bad}); err == nil {
			t.Errorf("allowlist takes %q", bad)
		}
	}
	if _, err := NewPolicy("Sometimes", nil); err == nil {
		t.Error("unknown policy")
	}
}

// Credentials are looked up, and plugins run, only for those who need them.
func TestCredentialsOnlyWhenTheyMatter(t *testing.T) {
	s := open(t, t.TempDir(), "", &images{})
	pull(t, s, "r.io/open:1", "open", nil)
	a := secret("a", "alice")
	pull(t, s, "r.io/private:1", "private", &a)
	asked := 0
	creds := func() ([]keyring.Credential, error) { asked++; return nil, errors.New("no API server") }
	for _, c := range []struct{ image, ref string }{{"preloaded", "p"}, {"r.io/open:1", "open"}, {"r.io/unknown:1", "private"}} {
		if _, err := s.MayUse(t.Context(), c.image, c.ref, creds); err != nil || asked != 0 {
			t.Errorf("%s: %v, asked %d times", c.image, err, asked)
		}
	}
	if ok, err := s.MayUse(t.Context(), "r.io/private:1", "private", creds); ok || err == nil || asked != 1 {
		t.Errorf("private: %v %v, asked %d times", ok, err, asked)
	}
}

// The files are the kubelet's, to the letter.
func TestFormat(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "", &images{})
	if err := s.Intend("r.io/x:1"); err != nil {
		t.Fatal(err)
	}
	read := func(sub, of string) string {
		text, err := os.ReadFile(filepath.Join(dir, "image_manager", sub, filename(of)))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got, want := read("pulling", "r.io/x:1"), `{"kind":"ImagePullIntent","apiVersion":"kubelet.config.k8s.io/v1beta1","image":"r.io/x:1"}`+"\n"; got != want {
		t.Errorf("intent %s", got)
	}
	a := secret("a", "al<ice")
	s.Pulled("r.io/x:1", "sha256:1", &a)
	want := `{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1","lastUpdatedTime":"T","imageRef":"sha256:1","credentialMapping":{"r.io/x":{"kubernetesSecrets":[{"uid":"uid-a","namespace":"ns","name":"a","credentialHash":"` + a.Auth.Hash() + `"}]}}}` + "\n"
	if got := regexp.MustCompile(`"20[^"]*Z"`).ReplaceAllString(read("pulled", "sha256:1"), `"T"`); got != want {
		t.Errorf("record\n%s want\n%s", got, want)
	}
	// sha256 of {"username":"al\u003cice","password":"p"}
	if got := a.Auth.Hash(); got != "81f2a88504c4143eaf04c11268639bf0e0fae95f37a5d805130c48eb13ca8ddc" {
		t.Errorf("hash %s", got)
	}
	left, _ := os.ReadDir(filepath.Join(dir, "image_manager", "pulling"))
	if len(left) != 0 {
		t.Errorf("the intent is still there")
	}
	if name := filename("r.io/x:1"); !regexp.MustCompile(`^sha256-[0-9a-f]{64}$`).MatchString(name) {
		t.Error(name)
	}
}

func TestReadsOlderVersionAndSurvivesDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "", &images{})
	put := func(ref, text string) {
		if err := os.WriteFile(filepath.Join(dir, "image_manager", "pulled", filename(ref)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("old", `{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1alpha1","lastUpdatedTime":"2026-01-01T00:00:00Z","imageRef":"old","credentialMapping":{"r.io/x":{"nodePodsAccessible":true}}}`)
	if !may(t, s, "r.io/x", "old") {
		t.Error("v1alpha1 is not understood")
	}
	for _, text := range []string{"", "{", `{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1","lastUpdatedTime":null,"imageRef":"bad","surprise":1}`, `{"kind":"Pod","apiVersion":"v1"}`} {
		put("bad", text)
		if may(t, s, "r.io/x", "bad") {
			t.Errorf("opened by a damaged record %q", text)
		}
	}
	pull(t, s, "r.io/x:1", "bad", nil)
	if !may(t, s, "r.io/x:1", "bad") {
		t.Error("a damaged record was not replaced")
	}
	put("swapped", `{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1","lastUpdatedTime":null,"imageRef":"another","credentialMapping":{"r.io/x":{"nodePodsAccessible":true}}}`)
	if s.policy, _ = NewPolicy(kubeletconfig.AlwaysVerify, nil); may(t, s, "r.io/x", "swapped") {
		t.Error("a record of another image was believed")
	}
}

// An agent that was killed in a pull finds its intent; the image that came of it is not one that was put there.
func TestIntentOfAnEarlierRun(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, "", &images{})
	for _, image := range []string{"r.io/came:1", "r.io/came@sha256:" + strings.Repeat("a", 64), "r.io/not:1"} {
		if err := first.Intend(image); err != nil {
			t.Fatal(err)
		}
	}
	list := &images{err: errors.New("down")}
	s := open(t, dir, "", list)
	if may(t, s, "r.io/came:1", "ref") {
		t.Error("opened before the runtime answered")
	}
	list.err, list.list = nil, []model.ImageInfo{{ID: "ref", RepoTags: []string{"r.io/came:1"}, RepoDigests: []string{"r.io/came@sha256:" + strings.Repeat("a", 64)}}}
	if may(t, s, "r.io/came:1", "ref") || may(t, s, "r.io/came:2", "ref") {
		t.Error("opened although nobody knows with what it was pulled")
	}
	left, _ := os.ReadDir(filepath.Join(dir, "image_manager", "pulling"))
	if len(left) != 1 {
		t.Errorf("%d intents left, want the one whose image is not there", len(left))
	}
	if may(t, s, "r.io/not:1", "elsewhere") {
		t.Error("an intended image counts as put there")
	}
	if !may(t, s, "r.io/never:1", "elsewhere") {
		t.Error("a preloaded image is closed")
	}
}

func TestTwoPullsOfOneImage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "", &images{})
	for range 2 {
		if err := s.Intend("r.io/x:1"); err != nil {
			t.Fatal(err)
		}
	}
	s.Failed("r.io/x:1")
	if may(t, s, "r.io/x:1", "ref") {
		t.Error("the intent went with the first of two pulls")
	}
	s.Failed("r.io/x:1")
	if !may(t, s, "r.io/x:1", "ref") {
		t.Error("the intent stayed")
	}
}

func TestPrune(t *testing.T) {
	s := open(t, t.TempDir(), kubeletconfig.AlwaysVerify, &images{})
	pull(t, s, "r.io/kept:1", "kept", nil)
	pull(t, s, "r.io/gone:1", "gone", nil)
	s.Prune(map[string]struct{}{"kept": {}}, time.Now().Add(-time.Minute))
	if !may(t, s, "r.io/gone:1", "gone") {
		t.Error("pruned although it was written after the look began")
	}
	s.Prune(map[string]struct{}{"kept": {}}, time.Now().Add(time.Minute))
	if may(t, s, "r.io/gone:1", "gone") || !may(t, s, "r.io/kept:1", "kept") {
		t.Error("wrong record pruned")
	}
}

// Whatever was pulled with which secrets: a pod may use an image exactly when it has a secret, or the content of one, that
// pulled it under this name, or somebody pulled it that way with what all pods have. Nothing is forgotten by a restart.
func TestNobodyGetsInWithoutCredential(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		s := open(rt, dir, kubeletconfig.AlwaysVerify, &images{})
		type way struct{ image, content, uid string }
		ways, free := map[way]bool{}, map[string]bool{}
		for range rapid.IntRange(0, 12).Draw(rt, "pulls") {
			image := rapid.SampledFrom([]string{"r.io/x", "s.io/x"}).Draw(rt, "image")
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0:
				pull(rt, s, image+":1", "ref", nil)
				free[image] = true
			case 1:
				s = open(rt, dir, kubeletconfig.AlwaysVerify, &images{})
			default:
				c := secret(rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "secret"), rapid.SampledFrom([]string{"alice", "bob", "carol"}).Draw(rt, "user"))
				for w := range ways { // a secret counts with its newest content
					if w.image == image && w.uid == c.Source.SecretUID && !free[image] {
						delete(ways, w)
					}
				}
				pull(rt, s, image+":1", "ref", &c)
				ways[way{image, c.Auth.Username, c.Source.SecretUID}] = true
			}
		}
		image := rapid.SampledFrom([]string{"r.io/x", "s.io/x"}).Draw(rt, "asks")
		c := secret(rapid.SampledFrom([]string{"a", "b", "d"}).Draw(rt, "has"), rapid.SampledFrom([]string{"alice", "bob", "carol"}).Draw(rt, "content"))
		want := free[image]
		for w := range ways {
			want = want || w.image == image && (w.content == c.Auth.Username || w.uid == c.Source.SecretUID)
		}
		if got := may(rt, s, image+":1", "ref", c); got != want {
			rt.Fatalf("%s with %s/%s: %v, want %v; ways %v, free %v", image, c.Source.Name, c.Auth.Username, got, want, ways, free)
		}
	})
}
