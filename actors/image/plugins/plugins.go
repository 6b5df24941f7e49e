// Package plugins asks the node's credential provider plugins for the credentials of images (KEP-2133, and KEP-4412 for
// plugins that get a token of the pod's service account). A plugin is a program that is run for each question; what it
// answers is kept for as long as it says, for the image, its registry or all.
package plugins

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	kubeletconfig "k8s.io/kubelet/config/v1"
	credentials "k8s.io/kubelet/pkg/apis/credentialprovider/v1"

	"github.com/troupe-dev/troupe/actors/image/keyring"
)

// Accounts gives what plugins with service account tokens need. Methods may block until their context ends.
type Accounts interface {
	// ServiceAccount reads one.
	ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)
	// PodToken is a token of the pod's service account for the audience, bound to the pod.
	PodToken(ctx context.Context, pod *corev1.Pod, audience string, seconds *int64) (value string, again time.Time, err error)
}

// Plugins are the node's plugins. They are safe for concurrent use.
type Plugins struct {
	all    []*plugin
	logger klog.Logger
}

// New makes the plugins of a configuration that Load has read. accounts is nil without an API server.
func New(list []kubeletconfig.CredentialProvider, binDir string, accounts Accounts, logger klog.Logger) *Plugins {
	p := &Plugins{logger: logger}
	for i := range list {
		c := &list[i]
		p.all = append(p.all, &plugin{
			config: c, accounts: accounts, now: time.Now, cache: map[string]answer{}, asking: map[string]*question{},
			run: func(ctx context.Context, r credentials.CredentialProviderRequest) (*credentials.CredentialProviderResponse, error) {
				return execute(ctx, binDir, c, r)
			},
		})
	}
	return p
}

// Credentials asks every plugin that is responsible for an image (its repository, without tag). One that fails is named
// in the error; what the others know is returned all the same.
func (p *Plugins) Credentials(ctx context.Context, image string, pod *corev1.Pod) ([]keyring.Credential, error) {
	ring := &keyring.Keyring{}
	var errs []error
	for _, one := range p.all {
		config, source, err := one.provide(ctx, image, pod)
		if err != nil {
			errs = append(errs, fmt.Errorf("credential provider %s: %w", one.config.Name, err))
			continue
		}
		ring.Add(config, source)
	}
	return ring.Lookup(image), errors.Join(errs...)
}

// plugin is one of them.
type plugin struct {
	config   *kubeletconfig.CredentialProvider
	accounts Accounts
	run      func(context.Context, credentials.CredentialProviderRequest) (*credentials.CredentialProviderResponse, error)
	now      func() time.Time

	mu     sync.Mutex
	cache  map[string]answer
	asking map[string]*question
}

type answer struct {
	config  keyring.Config
	expires time.Time
}

// question is a run that is under way, for all who ask the same.
type question struct {
	done     chan struct{}
	response *credentials.CredentialProviderResponse
	err      error
}

// global is the cache key of what holds for all images; no image or registry can be called so.
const global = "<global>"

// identity is whose token the plugin gets; the zero identity is nobody's.
type identity struct {
	source      keyring.Source
	token       string
	annotations map[string]string
	key         string // in the cache
}

// provide returns what the plugin knows of an image. None is no error: it may not be responsible.
func (p *plugin) provide(ctx context.Context, image string, pod *corev1.Pod) (keyring.Config, keyring.Source, error) {
	none := keyring.Source{}
	if !slices.ContainsFunc(p.config.MatchImages, func(m string) bool { return keyring.Match(m, image) }) {
		return nil, none, nil
	}
	var who identity
	if p.config.TokenAttributes != nil {
		var ok bool
		var err error
		if who, ok, err = p.identify(ctx, pod); err != nil || !ok {
			return nil, none, err
		}
	}
	registry, _, _ := strings.Cut(image, "/")
	for _, base := range []string{image, registry, global} {
		if config, ok := p.cached(key(base, who.key)); ok {
			return config, who.source, nil
		}
	}
	response, err := p.ask(ctx, key(image, hash(who.token), flat(who.annotations)), credentials.CredentialProviderRequest{
		Image: image, ServiceAccountToken: who.token, ServiceAccountAnnotations: who.annotations,
	})
	if err != nil {
		return nil, none, fmt.Errorf("failed to get credential from external registry credential provider: %w", err)
	}
	config, err := p.judge(response, who)
	if err != nil {
		return nil, none, err
	}
	var base string
	switch response.CacheKeyType {
	case credentials.ImagePluginCacheKeyType:
		base = image
	case credentials.RegistryPluginCacheKeyType:
		base = registry
	case credentials.GlobalPluginCacheKeyType:
		base = global
	default:
		return nil, none, fmt.Errorf("credential provider plugin did not return a valid cacheKeyType: %s", response.CacheKeyType)
	}
	keep := p.config.DefaultCacheDuration.Duration
	if response.CacheDuration != nil {
		keep = response.CacheDuration.Duration
	}
	if keep > 0 {
		p.keep(key(base, who.key), answer{config, p.now().Add(keep)})
	}
	return config, who.source, nil
}

// judge takes the credentials out of a response. A plugin may hand a service account's token on as password only if its
// answers are kept by token: otherwise one pod's token would serve others.
func (p *plugin) judge(r *credentials.CredentialProviderResponse, who identity) (keyring.Config, error) {
	byToken := p.config.TokenAttributes != nil && p.config.TokenAttributes.CacheType == kubeletconfig.TokenServiceAccountTokenCacheType
	config := make(keyring.Config, len(r.Auth))
	for match, a := range r.Auth {
		if who.token != "" && a.Password == who.token && !byToken {
			return nil, errors.New("credential provider plugin returned the service account token as the password which is not allowed when service account cache type is not set to 'Token'")
		}
		config[match] = keyring.Auth{Username: a.Username, Password: a.Password}
	}
	return config, nil
}

// identify finds the pod's service account and a token of it; false when the plugin is not to be asked for this pod.
func (p *plugin) identify(ctx context.Context, pod *corev1.Pod) (who identity, ok bool, err error) {
	attributes := p.config.TokenAttributes
	name := pod.Spec.ServiceAccountName
	if name == "" {
		return who, !*attributes.RequireServiceAccount, nil // static pods have none
	}
	if p.accounts == nil {
		return who, false, errors.New("service account tokens need an API server, and this node runs without one")
	}
	account, err := p.accounts.ServiceAccount(ctx, pod.Namespace, name)
	if err != nil {
		return who, false, fmt.Errorf("failed to get service account: %w", err)
	}
	who.annotations = map[string]string{}
	for _, k := range attributes.RequiredServiceAccountAnnotationKeys {
		value, has := account.Annotations[k]
		if !has {
			return who, false, nil // the account has not opted in
		}
		who.annotations[k] = value
	}
	for _, k := range attributes.OptionalServiceAccountAnnotationKeys {
		if value, has := account.Annotations[k]; has {
			who.annotations[k] = value
		}
	}
	if who.token, _, err = p.accounts.PodToken(ctx, pod, attributes.ServiceAccountTokenAudience, nil); err != nil {
		return who, false, fmt.Errorf("failed to get service account token: %w", err)
	}
	who.source = keyring.Source{ServiceAccountUID: string(account.UID), Namespace: pod.Namespace, Name: name}
	who.key = key(pod.Namespace, name, string(account.UID), flat(who.annotations))
	if attributes.CacheType == kubeletconfig.TokenServiceAccountTokenCacheType {
		who.key = key(who.key, "token", hash(who.token))
	}
	return who, true, nil
}

// ask runs the plugin, once for all who ask the same at the same time. The run does not end with the one who asked first.
func (p *plugin) ask(ctx context.Context, same string, r credentials.CredentialProviderRequest) (*credentials.CredentialProviderResponse, error) {
	p.mu.Lock()
	q := p.asking[same]
	if q == nil {
		q = &question{done: make(chan struct{})}
		p.asking[same] = q
		go func() {
			q.response, q.err = p.run(context.WithoutCancel(ctx), r)
			p.mu.Lock()
			delete(p.asking, same)
			p.mu.Unlock()
			close(q.done)
		}()
	}
	p.mu.Unlock()
	select {
	case <-q.done:
		return q.response, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *plugin) cached(k string) (keyring.Config, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.cache[k]
	return a.config, ok && !p.now().After(a.expires)
}

// keep also drops what has expired: nobody may ask for it again.
func (p *plugin) keep(k string, a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	maps.DeleteFunc(p.cache, func(_ string, old answer) bool { return now.After(old.expires) })
	p.cache[k] = a
}

// key joins parts so that different parts never give the same key.
func key(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		fmt.Fprintf(&b, "%d:%s", len(part), part)
	}
	return b.String()
}

func flat(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k, m[k])
	}
	return key(parts...)
}

func hash(secret string) string {
	if secret == "" {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(secret)))
}
