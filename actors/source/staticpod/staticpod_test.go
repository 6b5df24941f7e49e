package staticpod

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

const manifest = `# a comment
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {a: b}}
spec:
  containers:
  - {name: app, image: "web:1"}
`

var here = Origin{NodeName: "Node-1", Source: "file", Path: "/m/web.yaml"}

func prepared(t *testing.T, text string, from Origin) (*v1.Pod, error) {
	t.Helper()
	pod, _, err := Decode([]byte(text))
	if err != nil {
		return nil, err
	}
	return pod, Prepare(pod, from)
}

func TestPrepare(t *testing.T) {
	pod, err := prepared(t, manifest, here)
	if err != nil {
		t.Fatal(err)
	}
	if pod.Name != "web-node-1" || pod.Namespace != "default" || pod.Spec.NodeName != "Node-1" {
		t.Errorf("named %s/%s on %s", pod.Namespace, pod.Name, pod.Spec.NodeName)
	}
	if len(pod.UID) != 32 || pod.Annotations["kubernetes.io/config.hash"] != string(pod.UID) {
		t.Errorf("uid %q, hash %q", pod.UID, pod.Annotations["kubernetes.io/config.hash"])
	}
	if len(pod.Spec.Tolerations) != 1 || pod.Spec.Tolerations[0].Effect != v1.TaintEffectNoExecute || pod.Spec.Tolerations[0].Operator != v1.TolerationOpExists {
		t.Errorf("tolerations %v", pod.Spec.Tolerations)
	}
	if pod.Spec.RestartPolicy != v1.RestartPolicyAlways || pod.Status.Phase != v1.PodPending {
		t.Error("not defaulted")
	}
}

func TestIdentity(t *testing.T) {
	uid := func(text string, from Origin) string {
		t.Helper()
		pod, err := prepared(t, text, from)
		if err != nil {
			t.Fatal(err)
		}
		return string(pod.UID)
	}
	first := uid(manifest, here)
	elsewhere := here
	elsewhere.Path = "/m/other.yaml"
	otherNode := here
	otherNode.NodeName = "node-2"
	if uid(manifest, here) != first || uid(strings.ReplaceAll(manifest, "  ", "    "), here) != first {
		t.Error("the same content has another UID")
	}
	for what, other := range map[string]string{
		"content": uid(strings.Replace(manifest, "web:1", "web:2", 1), here),
		"path":    uid(manifest, elsewhere),
		"node":    uid(manifest, otherNode),
	} {
		if other == first {
			t.Errorf("another %s has the same UID", what)
		}
	}
	if got := uid(strings.Replace(manifest, "name: web,", "name: web, uid: given,", 1), here); got != "given" {
		t.Errorf("the manifest's own UID was replaced by %s", got)
	}
}

func TestFaults(t *testing.T) {
	with := func(spec string) string { return manifest + spec }
	for name, tc := range map[string]struct{ text, want string }{
		"empty":             {"", "empty"},
		"only comments":     {"# nothing\n---\n", "empty"},
		"not YAML":          {"{", "decode manifest"},
		"another kind":      {"apiVersion: v1\nkind: Service\n", "want v1 Pod"},
		"no name":           {strings.Replace(manifest, "name: web, ", "", 1), "metadata.name"},
		"invalid":           {strings.Replace(manifest, "name: app", "name: App", 1), "spec.containers[0].name"},
		"service account":   {with("  serviceAccountName: x\n"), "static pods may not reference serviceaccounts"},
		"pull secret":       {with("  imagePullSecrets: [{name: x}]\n"), "static pods may not reference secrets"},
		"configMap volume":  {with("  volumes: [{name: v, configMap: {name: x}}]\n"), "configmaps (via configmap volumes)"},
		"token":             {with("  volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]\n"), "serviceaccounts (via projected volumes)"},
		"claim":             {with("  volumes: [{name: v, persistentVolumeClaim: {claimName: x}}]\n"), "persistentvolumeclaims"},
		"resource claim":    {with("  resourceClaims: [{name: x, resourceClaimName: y}]\n"), "resourceclaims"},
		"env from a secret": {strings.Replace(manifest, `image: "web:1"`, `image: a, envFrom: [{secretRef: {name: x}}]`, 1), "secrets"},
	} {
		if _, err := prepared(t, tc.text, here); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	allowed := here
	allowed.AllowAPIReferences = true
	if _, err := prepared(t, with("  volumes: [{name: v, configMap: {name: x}}]\n"), allowed); err != nil {
		t.Error(err)
	}
}

func TestDecodeFirstOfMany(t *testing.T) {
	for text, want := range map[string]bool{manifest: false, manifest + "---\n": false, manifest + "---\n" + manifest: true} {
		if _, more, err := Decode([]byte(text)); err != nil || more != want {
			t.Errorf("more = %v, %v; want %v", more, err, want)
		}
	}
	if pod, _, err := Decode([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"}}`)); err != nil || pod.Name != "j" {
		t.Errorf("JSON: %v %v", pod, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(manifest))
	f.Fuzz(func(t *testing.T, data []byte) {
		if pod, _, err := Decode(data); err == nil {
			_ = Prepare(pod, here)
		}
	})
}
