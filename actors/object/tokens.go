package object

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages/model"
)

// When a token is renewed (pkg/kubelet/token of the kubelet): with a fifth of its life left, at the latest after a day,
// and earlier by up to maxJitter so that pods made together do not come together.
const (
	maxAge    = 24 * time.Hour
	maxJitter = 10 * time.Second
	// retryRenewal is when a renewal that failed is tried again while the old token still holds.
	retryRenewal = time.Minute
)

// CreateToken makes one TokenRequest for a service account.
type CreateToken func(ctx context.Context, namespace, account string, tr *authv1.TokenRequest) (*authv1.TokenRequest, error)

// FromAPI returns CreateToken of an API server.
func FromAPI(client kubernetes.Interface) CreateToken {
	return func(ctx context.Context, namespace, account string, tr *authv1.TokenRequest) (*authv1.TokenRequest, error) {
		return client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, tr, metav1.CreateOptions{})
	}
}

// NoAPI is CreateToken of a node that has no API server.
func NoAPI(context.Context, string, string, *authv1.TokenRequest) (*authv1.TokenRequest, error) {
	return nil, errors.New("a service account token needs an API server, and this node runs without one")
}

// Tokens hands out service-account tokens, each bound to one pod. It has no timer: every answer says when to ask again.
// It is safe for concurrent use. Tokens are never logged.
type Tokens struct {
	create CreateToken
	log    klog.Logger

	mu   sync.Mutex
	pods map[model.UID]map[tokenKey]token
}

type tokenKey struct {
	account, audience string
	seconds           int64
}

type token struct {
	value   string
	renew   time.Time
	expires time.Time
}

// NewTokens returns an empty cache of tokens.
func NewTokens(create CreateToken, log klog.Logger) *Tokens {
	return &Tokens{create: create, log: log, pods: map[model.UID]map[tokenKey]token{}}
}

// PodToken returns a token of the pod's service account for the audience ("" for the API server), bound to the pod's UID,
// and when to ask again. seconds is the wanted lifetime, nil for the server's default. A token that is due is renewed; while
// that fails the old one is returned as long as it holds.
func (t *Tokens) PodToken(ctx context.Context, pod *v1.Pod, audience string, seconds *int64) (value string, again time.Time, err error) {
	k := tokenKey{account: pod.Spec.ServiceAccountName, audience: audience}
	if seconds != nil {
		k.seconds = *seconds
	}
	t.mu.Lock()
	old, have := t.pods[pod.UID][k]
	t.mu.Unlock()
	now := time.Now()
	if have && now.Before(old.renew) {
		return old.value, old.renew, nil
	}
	tr, err := t.create(ctx, pod.Namespace, pod.Spec.ServiceAccountName, request(pod, audience, seconds))
	now = time.Now()
	switch {
	case err == nil:
	case !have:
		return "", time.Time{}, fmt.Errorf("failed to fetch token: %w", err)
	case now.After(old.expires):
		return "", time.Time{}, fmt.Errorf("token of service account %s/%s expired and refresh failed: %w", pod.Namespace, k.account, err)
	default:
		t.log.Error(err, "Could not renew a service account token", "pod", klog.KObj(pod), "serviceAccount", k.account)
		return old.value, now.Add(retryRenewal), nil
	}
	fresh := token{tr.Status.Token, renewAt(tr, now, rand.N(maxJitter)), tr.Status.ExpirationTimestamp.Time}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pods[pod.UID] == nil {
		t.pods[pod.UID] = map[tokenKey]token{}
	}
	t.pods[pod.UID][k] = fresh
	return fresh.value, fresh.renew, nil
}

// Forget drops the tokens of a pod that is gone.
func (t *Tokens) Forget(uid model.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pods, uid)
}

func request(pod *v1.Pod, audience string, seconds *int64) *authv1.TokenRequest {
	tr := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		ExpirationSeconds: seconds,
		BoundObjectRef:    &authv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if audience != "" {
		tr.Spec.Audiences = []string{audience}
	}
	return tr
}

// renewAt decides when a token is renewed. The server may grant another lifetime than was asked for.
func renewAt(tr *authv1.TokenRequest, now time.Time, jitter time.Duration) time.Time {
	expires := tr.Status.ExpirationTimestamp.Time
	life := expires.Sub(now)
	if tr.Spec.ExpirationSeconds != nil {
		life = time.Duration(*tr.Spec.ExpirationSeconds) * time.Second
	}
	issued := expires.Add(-life)
	at := expires.Add(-life/5 - jitter)
	if day := issued.Add(maxAge - jitter); day.Before(at) {
		at = day
	}
	if floor := now.Add(retryRenewal); at.Before(floor) { // clocks that disagree must not make us ask without end
		at = floor
	}
	return at
}
