package plugins

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	kubeletconfig "k8s.io/kubelet/config/v1"
	credentials "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

// accounts are service accounts whose tokens name pod and count.
type accounts struct {
	annotations map[string]string
	uid         types.UID
	fixed       string
	err         error
}

func (a *accounts) ServiceAccount(_ context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: a.uid, Annotations: a.annotations}}, a.err
}

func (a *accounts) PodToken(_ context.Context, pod *corev1.Pod, audience string, _ *int64) (string, time.Time, error) {
	if a.fixed != "" {
		return a.fixed, time.Time{}, nil
	}
	return "token of " + pod.Name + " for " + audience, time.Time{}, nil
}

// script is a plugin whose answers are given, and which notes what it was asked.
type script struct {
	mu    sync.Mutex
	asked []string
	kind  credentials.PluginCacheKeyType
	keep  *metav1.Duration
	auth  func(credentials.CredentialProviderRequest) map[string]credentials.AuthConfig
	err   error
	slow  time.Duration
}

func (s *script) run(_ context.Context, r credentials.CredentialProviderRequest) (*credentials.CredentialProviderResponse, error) {
	time.Sleep(s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Image+"|"+r.ServiceAccountToken)
	auth := map[string]credentials.AuthConfig{"r.io": {Username: "u", Password: fmt.Sprint("p", len(s.asked))}}
	if s.auth != nil {
		auth = s.auth(r)
	}
	return &credentials.CredentialProviderResponse{CacheKeyType: s.kind, CacheDuration: s.keep, Auth: auth}, s.err
}

func (s *script) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := strings.Join(s.asked, ", ")
	s.asked = nil
	return out
}

func provider(images ...string) kubeletconfig.CredentialProvider {
	return kubeletconfig.CredentialProvider{Name: "p", MatchImages: images, DefaultCacheDuration: &metav1.Duration{}, APIVersion: "credentialprovider.kubelet.k8s.io/v1"}
}

func withTokens(c kubeletconfig.CredentialProvider, kind kubeletconfig.ServiceAccountTokenCacheType, required bool) kubeletconfig.CredentialProvider {
	c.TokenAttributes = &kubeletconfig.ServiceAccountTokenAttributes{ServiceAccountTokenAudience: "aud", CacheType: kind, RequireServiceAccount: &required}
	return c
}

func plugins(s *script, a Accounts, list ...kubeletconfig.CredentialProvider) *Plugins {
	p := New(list, "/nowhere", a, klog.Background())
	for _, one := range p.all {
		one.run = s.run
	}
	return p
}

func pod(name, account string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name)}, Spec: corev1.PodSpec{ServiceAccountName: account}}
}

func get(t *testing.T, p *Plugins, image string, pod *corev1.Pod) string {
	t.Helper()
	list, err := p.Credentials(t.Context(), image, pod)
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	for _, c := range list {
		out = append(out, c.Auth.Username+":"+c.Auth.Password)
	}
	return strings.Join(out, " ")
}

func TestCacheKeysAndDurations(t *testing.T) {
	hour := &metav1.Duration{Duration: time.Hour}
	for _, c := range []struct {
		name  string
		kind  credentials.PluginCacheKeyType
		keep  *metav1.Duration
		deflt time.Duration
		// how often the plugin ran after: one image; the same again; another image of the registry; another registry
		runs [4]int
	}{
		{"image", credentials.ImagePluginCacheKeyType, hour, 0, [4]int{1, 1, 2, 3}},
		{"registry", credentials.RegistryPluginCacheKeyType, hour, 0, [4]int{1, 1, 1, 2}},
		{"global", credentials.GlobalPluginCacheKeyType, hour, 0, [4]int{1, 1, 1, 1}},
		{"not kept", credentials.GlobalPluginCacheKeyType, &metav1.Duration{}, time.Hour, [4]int{1, 2, 3, 4}},
		{"default", credentials.GlobalPluginCacheKeyType, nil, time.Hour, [4]int{1, 1, 1, 1}},
		{"no default", credentials.GlobalPluginCacheKeyType, nil, 0, [4]int{1, 2, 3, 4}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{kind: c.kind, keep: c.keep}
			cfg := provider("*.io", "other.io")
			cfg.DefaultCacheDuration.Duration = c.deflt
			p := plugins(s, nil, cfg)
			for i, image := range []string{"r.io/a", "r.io/a", "r.io/b", "s.io/a"} {
				if got := get(t, p, image, pod("x", "")); strings.HasPrefix(got, "error") || image[0] == 'r' && got == "" {
					t.Errorf("%s: %s: %q", c.name, image, got)
				}
				if len(s.asked) != c.runs[i] {
					t.Errorf("%s: after %d questions it ran %d times, want %d", c.name, i+1, len(s.asked), c.runs[i])
				}
			}
			time.Sleep(2 * time.Hour)
			n := len(s.asked)
			if get(t, p, "r.io/a", pod("x", "")); len(s.asked) != n+1 {
				t.Errorf("%s: kept for ever", c.name)
			}
		})
	}
}

func TestOnlyItsImagesAndOthersGoOn(t *testing.T) {
	s := &script{kind: credentials.ImagePluginCacheKeyType}
	p := plugins(s, nil, provider("*.dkr.io/team"), provider("r.io"))
	if got := get(t, p, "x.y.io/team/a", pod("x", "")); got != "" || s.take() != "" {
		t.Errorf("asked for another's image: %q", got)
	}
	p.all[0].config.MatchImages = []string{"r.io"}
	p.all[0].run = func(context.Context, credentials.CredentialProviderRequest) (*credentials.CredentialProviderResponse, error) {
		return nil, errors.New("broken")
	}
	list, err := p.Credentials(t.Context(), "r.io/a", pod("x", ""))
	if err == nil || !strings.Contains(err.Error(), "broken") || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
	s.kind = "Sometimes"
	if got := get(t, p, "r.io/a", pod("x", "")); !strings.Contains(got, "valid cacheKeyType") {
		t.Error(got)
	}
}

func TestOneRunForAllWhoAskTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{kind: credentials.ImagePluginCacheKeyType, slow: time.Second}
		p := plugins(s, nil, provider("r.io"))
		first, cancel := context.WithCancel(t.Context())
		got := make([]error, 3)
		var all sync.WaitGroup
		for i, ctx := range []context.Context{first, t.Context(), t.Context()} {
			all.Go(func() { _, got[i] = p.Credentials(ctx, "r.io/a", pod("x", "")) })
			synctest.Wait()
		}
		cancel() // the one who asked first gives up: the others get their answer
		all.Wait()
		if got[0] == nil || got[1] != nil || got[2] != nil || len(s.asked) != 1 {
			t.Errorf("%v, ran %d times", got, len(s.asked))
		}
	})
}

func TestServiceAccountTokens(t *testing.T) {
	hour := &metav1.Duration{Duration: time.Hour}
	byPod := func(r credentials.CredentialProviderRequest) map[string]credentials.AuthConfig {
		return map[string]credentials.AuthConfig{"r.io": {Username: "for", Password: "exchanged " + r.ServiceAccountToken}}
	}
	t.Run("by account", func(t *testing.T) {
		s, a := &script{kind: credentials.RegistryPluginCacheKeyType, keep: hour, auth: byPod}, &accounts{uid: "sa1"}
		p := plugins(s, a, withTokens(provider("r.io"), kubeletconfig.ServiceAccountServiceAccountTokenCacheType, true))
		list, err := p.Credentials(t.Context(), "r.io/a", pod("x", "robot"))
		if err != nil || len(list) != 1 || list[0].Source.ServiceAccountUID != "sa1" || list[0].Source.Name != "robot" || list[0].Source.Namespace != "ns" {
			t.Fatalf("%+v %v", list, err)
		}
		if got := s.take(); got != "r.io/a|token of x for aud" {
			t.Errorf("asked %q", got)
		}
		if get(t, p, "r.io/b", pod("y", "robot")); s.take() != "" {
			t.Error("another pod of the account asked again")
		}
		if get(t, p, "r.io/a", pod("z", "other")); s.take() == "" {
			t.Error("another account got it from the cache")
		}
		a.uid = "sa2"
		if get(t, p, "r.io/a", pod("x", "robot")); s.take() == "" {
			t.Error("another account of the name got it from the cache")
		}
	})
	t.Run("by token", func(t *testing.T) {
		s, a := &script{kind: credentials.GlobalPluginCacheKeyType, keep: hour, auth: byPod}, &accounts{uid: "sa1"}
		p := plugins(s, a, withTokens(provider("r.io"), kubeletconfig.TokenServiceAccountTokenCacheType, true))
		get(t, p, "r.io/a", pod("x", "robot"))
		if get(t, p, "r.io/a", pod("x", "robot")); s.take() != "r.io/a|token of x for aud" {
			t.Error("the same token asked again")
		}
		if get(t, p, "r.io/a", pod("y", "robot")); s.take() == "" {
			t.Error("another token got it from the cache")
		}
	})
	t.Run("annotations", func(t *testing.T) {
		s, a := &script{kind: credentials.GlobalPluginCacheKeyType, keep: hour}, &accounts{uid: "sa1"}
		cfg := withTokens(provider("r.io"), kubeletconfig.ServiceAccountServiceAccountTokenCacheType, true)
		cfg.TokenAttributes.RequiredServiceAccountAnnotationKeys, cfg.TokenAttributes.OptionalServiceAccountAnnotationKeys = []string{"x/need"}, []string{"x/may"}
		var sent map[string]string
		s.auth = func(r credentials.CredentialProviderRequest) map[string]credentials.AuthConfig {
			sent = r.ServiceAccountAnnotations
			return nil
		}
		p := plugins(s, a, cfg)
		if got := get(t, p, "r.io/a", pod("x", "robot")); got != "" || s.take() != "" {
			t.Errorf("asked for an account that has not opted in: %q", got)
		}
		a.annotations = map[string]string{"x/need": "1", "x/may": "2", "x/else": "3"}
		if get(t, p, "r.io/a", pod("x", "robot")); s.take() == "" || len(sent) != 2 || sent["x/may"] != "2" {
			t.Errorf("sent %v", sent)
		}
		a.annotations = map[string]string{"x/need": "other"}
		if get(t, p, "r.io/a", pod("x", "robot")); s.take() == "" {
			t.Error("other annotations got it from the cache")
		}
	})
	t.Run("no account", func(t *testing.T) {
		s := &script{kind: credentials.GlobalPluginCacheKeyType}
		p := plugins(s, nil, withTokens(provider("r.io"), kubeletconfig.ServiceAccountServiceAccountTokenCacheType, true))
		if get(t, p, "r.io/a", pod("x", "")); s.take() != "" {
			t.Error("asked although an account is required")
		}
		p = plugins(s, nil, withTokens(provider("r.io"), kubeletconfig.ServiceAccountServiceAccountTokenCacheType, false))
		if list, err := p.Credentials(t.Context(), "r.io/a", pod("x", "")); err != nil || s.take() != "r.io/a|" || list[0].Source.ServiceAccountUID != "" {
			t.Errorf("%v %v", list, err)
		}
		if got := get(t, p, "r.io/a", pod("x", "robot")); !strings.Contains(got, "API server") {
			t.Error(got)
		}
	})
	t.Run("echo", func(t *testing.T) {
		s, a := &script{kind: credentials.GlobalPluginCacheKeyType, keep: hour}, &accounts{uid: "sa1", fixed: "secret-token"}
		s.auth = func(r credentials.CredentialProviderRequest) map[string]credentials.AuthConfig {
			return map[string]credentials.AuthConfig{"r.io": {Password: r.ServiceAccountToken}}
		}
		p := plugins(s, a, withTokens(provider("r.io"), kubeletconfig.ServiceAccountServiceAccountTokenCacheType, true))
		if got := get(t, p, "r.io/a", pod("x", "robot")); !strings.Contains(got, "not allowed") || strings.Contains(got, "secret-token") {
			t.Error(got)
		}
		p = plugins(s, a, withTokens(provider("r.io"), kubeletconfig.TokenServiceAccountTokenCacheType, true))
		if got := get(t, p, "r.io/a", pod("x", "robot")); got != ":secret-token" {
			t.Error(got)
		}
	})
}
