package object

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
)

func TestRefs(t *testing.T) {
	name := func(n string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: n} }
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: v1.PodSpec{
		ImagePullSecrets: []v1.LocalObjectReference{name("pull"), name("")},
		InitContainers:   []v1.Container{{Env: []v1.EnvVar{{ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: name("env-s")}}}}}},
		Containers:       []v1.Container{{EnvFrom: []v1.EnvFromSource{{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: name("all")}}}}},
		EphemeralContainers: []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{
			Env: []v1.EnvVar{{}, {ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: name("eph")}}}}}}},
		Volumes: []v1.Volume{
			{VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: name("all")}}},
			{VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{Secret: &v1.SecretProjection{LocalObjectReference: name("proj")}}}}}},
			{VolumeSource: v1.VolumeSource{CSI: &v1.CSIVolumeSource{NodePublishSecretRef: &v1.LocalObjectReference{Name: "csi"}}}},
		},
	}}
	want := []Key{{Kind: ConfigMap, Namespace: "ns", Name: "all"}, {Kind: ConfigMap, Namespace: "ns", Name: "eph"}, {Kind: Secret, Namespace: "ns", Name: "csi"}, {Kind: Secret, Namespace: "ns", Name: "env-s"}, {Kind: Secret, Namespace: "ns", Name: "proj"}, {Kind: Secret, Namespace: "ns", Name: "pull"}}
	if got := Refs(pod); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestStatic(t *testing.T) {
	s := NewStatic()
	n := 0
	cancel := s.Subscribe(func(Key) { n++ })
	if !s.Set(&v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"a": "1"}}) || s.Set(&v1.Pod{}) {
		t.Error("Set takes config maps and secrets")
	}
	got, err := s.Secret(context.Background(), "default", "s")
	if err != nil || string(got.Data["a"]) != "1" {
		t.Error(got, err)
	}
	if _, err := s.ConfigMap(context.Background(), "default", "s"); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	s.Delete(Key{Kind: Secret, Namespace: "default", Name: "s"})
	cancel()
	s.Set(&v1.ConfigMap{})
	if _, err := s.Secret(context.Background(), "default", "s"); !apierrors.IsNotFound(err) || n != 2 {
		t.Error(err, n)
	}
}

func TestRenewAt(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct{ life, jitter, want time.Duration }{
		"an hour":         {time.Hour, 0, 48 * time.Minute},
		"with jitter":     {time.Hour, 5 * time.Second, 48*time.Minute - 5*time.Second},
		"a year":          {365 * 24 * time.Hour, time.Second, 24*time.Hour - time.Second},
		"expired already": {-time.Hour, 0, retryRenewal},
	} {
		tr := &authv1.TokenRequest{Status: authv1.TokenRequestStatus{ExpirationTimestamp: metav1.NewTime(now.Add(tc.life))}}
		if got := renewAt(tr, now, tc.jitter).Sub(now); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
		if tc.life < 0 {
			continue
		}
		tr.Spec.ExpirationSeconds = ptr.To(int64(tc.life / time.Second))
		if got := renewAt(tr, now, tc.jitter).Sub(now); got != tc.want {
			t.Errorf("%s with lifetime: %v", name, got)
		}
	}
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []*authv1.TokenRequest
		var fail error
		tokens := NewTokens(func(_ context.Context, ns, account string, tr *authv1.TokenRequest) (*authv1.TokenRequest, error) {
			if ns != "ns" || account != "sa" {
				t.Errorf("asked for %s/%s", ns, account)
			}
			calls = append(calls, tr)
			if fail != nil {
				return nil, fail
			}
			out := tr.DeepCopy()
			out.Spec.ExpirationSeconds = ptr.To[int64](3600)
			out.Status = authv1.TokenRequestStatus{Token: string(rune('a' + len(calls) - 1)), ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour))}
			return out, nil
		}, klog.Background())
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}, Spec: v1.PodSpec{ServiceAccountName: "sa"}}
		ask := func(audience string) (string, time.Time, error) {
			return tokens.PodToken(context.Background(), pod, audience, nil)
		}
		v, again, err := ask("x")
		if v != "a" || err != nil || time.Until(again) > 48*time.Minute || time.Until(again) < 48*time.Minute-maxJitter {
			t.Fatal(v, time.Until(again), err)
		}
		if r := calls[0].Spec; r.BoundObjectRef.UID != "u" || r.BoundObjectRef.Kind != "Pod" || !reflect.DeepEqual(r.Audiences, []string{"x"}) || r.ExpirationSeconds != nil {
			t.Errorf("%+v", r)
		}
		if v, _, _ := ask("x"); v != "a" {
			t.Error("not cached")
		}
		if v, _, _ := ask(""); v != "b" || calls[1].Spec.Audiences != nil {
			t.Error("another audience is another token")
		}
		time.Sleep(48 * time.Minute)
		fail = errors.New("away")
		if v, again, err := ask("x"); v != "a" || err != nil || time.Until(again) != retryRenewal {
			t.Error("the old token still holds", v, err)
		}
		time.Sleep(13 * time.Minute)
		if _, _, err := ask("x"); err == nil || !errors.Is(err, fail) {
			t.Error(err)
		}
		fail = nil
		if v, _, _ := ask("x"); v != "e" {
			t.Error(v)
		}
		tokens.Forget("u")
		fail = errors.New("away")
		if _, _, err := ask("x"); err == nil || err.Error() != "failed to fetch token: away" {
			t.Error(err)
		}
	})
}
