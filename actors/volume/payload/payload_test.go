package payload

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

func texts(f Files) map[string]string {
	out := map[string]string{}
	for k, v := range f {
		out[k] = string(v.Data)
	}
	return out
}

func TestConfigMap(t *testing.T) {
	cm := &v1.ConfigMap{Data: map[string]string{"a": "1", "b": "2"}, BinaryData: map[string][]byte{"bin": {0, 1}}}
	mode := ptr.To[int32](0o640)
	for name, tc := range map[string]struct {
		items    []v1.KeyToPath
		cm       *v1.ConfigMap
		optional bool
		want     map[string]string
		err      string
	}{
		"all":              {nil, cm, false, map[string]string{"a": "1", "b": "2", "bin": "\x00\x01"}, ""},
		"items":            {[]v1.KeyToPath{{Key: "a", Path: "x/y"}, {Key: "bin", Path: "z"}}, cm, false, map[string]string{"x/y": "1", "z": "\x00\x01"}, ""},
		"missing":          {[]v1.KeyToPath{{Key: "c", Path: "x"}}, cm, false, nil, "configmap references non-existent config key: c"},
		"missing optional": {[]v1.KeyToPath{{Key: "c", Path: "x"}, {Key: "a", Path: "a"}}, cm, true, map[string]string{"a": "1"}, ""},
		"no object":        {nil, nil, true, map[string]string{}, ""},
	} {
		got, err := ConfigMap(tc.items, tc.cm, mode, tc.optional)
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if diff := cmp.Diff(tc.want, texts(got)); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	if _, err := ConfigMap(nil, cm, nil, false); err == nil {
		t.Error("a missing defaultMode must be an error")
	}
	got, _ := ConfigMap([]v1.KeyToPath{{Key: "a", Path: "a", Mode: ptr.To[int32](0o400)}, {Key: "b", Path: "b"}}, cm, mode, false)
	if got["a"].Mode != 0o400 || got["b"].Mode != 0o640 {
		t.Errorf("modes %o %o", got["a"].Mode, got["b"].Mode)
	}
}

func TestSecretMissingKey(t *testing.T) {
	_, err := Secret([]v1.KeyToPath{{Key: "c", Path: "x"}}, &v1.Secret{}, ptr.To[int32](0o644), false)
	if err == nil || err.Error() != "references non-existent secret key: c" {
		t.Error(err)
	}
}

func source() Source {
	return Source{
		ConfigMap: func(name string, optional bool) (*v1.ConfigMap, error) {
			if name == "gone" {
				if optional {
					return nil, nil
				}
				return nil, errors.New(`configmap "gone" not found`)
			}
			return &v1.ConfigMap{Data: map[string]string{"k": name}}, nil
		},
		Secret: func(name string, optional bool) (*v1.Secret, error) {
			return nil, errors.New(`secret "` + name + `" not found`)
		},
		Token: func(p *v1.ServiceAccountTokenProjection) (string, error) { return "tok", nil },
	}
}

func TestProjected(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns"}}
	src := &v1.ProjectedVolumeSource{DefaultMode: ptr.To[int32](0o644), Sources: []v1.VolumeProjection{
		{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token"}},
		{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []v1.KeyToPath{{Key: "k", Path: "ca.crt"}}}},
		{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "gone"}, Optional: ptr.To(true)}},
		{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}}}},
	}}
	got, err := Projected(src, pod, nil, nil, nil, source())
	if diff := cmp.Diff(map[string]string{"token": "tok", "ca.crt": "kube-root-ca.crt", "namespace": "ns"}, texts(got)); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	if got["token"].Mode != 0o644 || got["token"].Owner != nil {
		t.Errorf("token without user: %+v", got["token"])
	}
	got, _ = Projected(src, pod, nil, ptr.To[int64](1000), nil, source())
	if got["token"].Mode != 0o600 || *got["token"].Owner != 1000 || got["ca.crt"].Mode != 0o644 {
		t.Errorf("token with user: %+v", got)
	}

	src.Sources = append(src.Sources,
		v1.VolumeProjection{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: "s"}}},
		v1.VolumeProjection{PodCertificate: &v1.PodCertificateProjection{}},
		v1.VolumeProjection{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: "s"}}})
	_, err = Projected(src, pod, nil, nil, nil, source())
	want := `[secret "s" not found, projected.sources[5].podCertificate is not supported by this node]`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestFSUser(t *testing.T) {
	c := func(u *int64) v1.Container {
		return v1.Container{SecurityContext: &v1.SecurityContext{RunAsUser: u}}
	}
	for name, tc := range map[string]struct {
		pod  *int64
		cs   []v1.Container
		want *int64
	}{
		"none":         {nil, []v1.Container{{}}, nil},
		"pod":          {ptr.To[int64](7), []v1.Container{{}, {}}, ptr.To[int64](7)},
		"same":         {nil, []v1.Container{c(ptr.To[int64](7)), c(ptr.To[int64](7))}, ptr.To[int64](7)},
		"differ":       {nil, []v1.Container{c(ptr.To[int64](7)), c(ptr.To[int64](8))}, nil},
		"one silent":   {nil, []v1.Container{c(ptr.To[int64](7)), {}}, nil},
		"silent first": {nil, []v1.Container{{}, c(ptr.To[int64](7))}, nil},
	} {
		pod := &v1.Pod{Spec: v1.PodSpec{Containers: tc.cs, SecurityContext: &v1.PodSecurityContext{RunAsUser: tc.pod}}}
		if got := FSUser(pod); !ptr.Equal(got, tc.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Every chosen key appears once under its path, with its own content and nothing else.
func TestItemsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.MapOf(rapid.StringMatching(`[a-z]{1,4}`), rapid.String()).Draw(t, "data")
		keys := rapid.SliceOfDistinct(rapid.StringMatching(`[a-z]{1,4}`), func(s string) string { return s }).Draw(t, "keys")
		var items []v1.KeyToPath
		missing := false
		for _, k := range keys {
			items = append(items, v1.KeyToPath{Key: k, Path: "p/" + k})
			_, ok := data[k]
			missing = missing || !ok
		}
		got, err := ConfigMap(items, &v1.ConfigMap{Data: data}, ptr.To[int32](0o644), false)
		if len(items) > 0 && (err != nil) != missing {
			t.Fatalf("missing %v, error %v", missing, err)
		}
		for path, f := range got {
			if data[strings.TrimPrefix(path, "p/")] != string(f.Data) {
				t.Fatalf("%s holds %q", path, f.Data)
			}
		}
	})
}
