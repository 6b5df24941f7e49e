package fieldpath

import (
	"strconv"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

func testPod() *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web", Namespace: "ns", UID: "u1",
			Labels:      map[string]string{"b": "2", "a": "1"},
			Annotations: map[string]string{"z": "line\n\"quoted\"", "example.com/Key": "v"},
		},
		Spec: v1.PodSpec{
			NodeName: "n1", ServiceAccountName: "sa",
			Containers: []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{
				Limits:   v1.ResourceList{"cpu": resource.MustParse("1250m"), "hugepages-2Mi": resource.MustParse("4Mi")},
				Requests: v1.ResourceList{"memory": resource.MustParse("33Mi")},
			}}},
			InitContainers: []v1.Container{{Name: "i"}},
		},
	}
}

func TestExtract(t *testing.T) {
	addr := Addresses{PodIPs: []string{"10.0.0.1", "fd00::1"}, HostIPs: []string{"192.0.2.1"}}
	for _, tc := range []struct{ path, want, err string }{
		{"metadata.name", "web", ""},
		{"metadata.namespace", "ns", ""},
		{"metadata.uid", "u1", ""},
		{"metadata.labels", "a=\"1\"\nb=\"2\"", ""},
		{"metadata.annotations", "example.com/Key=\"v\"\nz=\"line\\n\\\"quoted\\\"\"", ""},
		{"metadata.labels['a']", "1", ""},
		{"metadata.labels['none']", "", ""},
		{"metadata.annotations['example.com/Key']", "v", ""},
		{"metadata.labels['a b']", "", "invalid key subscript"},
		{"metadata.name['a']", "", "does not support subscript"},
		{"metadata.generation", "", "unsupported fieldPath: metadata.generation"},
		{"spec.nodeName", "n1", ""},
		{"spec.serviceAccountName", "sa", ""},
		{"status.podIP", "10.0.0.1", ""},
		{"status.podIPs", "10.0.0.1,fd00::1", ""},
		{"status.hostIP", "192.0.2.1", ""},
	} {
		got, err := ExtractEnv(testPod(), tc.path, addr)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %q", tc.path, err, tc.err)
			}
			continue
		}
		if err != nil || got != tc.want {
			t.Errorf("%s = %q, %v; want %q", tc.path, got, err, tc.want)
		}
	}
	if _, err := Extract(testPod(), "status.podIP"); err == nil {
		t.Error("a volume must not show status.podIP")
	}
}

func TestResource(t *testing.T) {
	alloc := v1.ResourceList{"cpu": resource.MustParse("8"), "memory": resource.MustParse("1Gi"), "ephemeral-storage": resource.MustParse("10")}
	for _, tc := range []struct{ container, res, div, want string }{
		{"c", "limits.cpu", "", "2"},
		{"c", "limits.cpu", "1m", "1250"},
		{"c", "limits.memory", "1Mi", "1024"},
		{"c", "requests.memory", "1Mi", "33"},
		{"c", "requests.memory", "32Mi", "2"},
		{"c", "requests.cpu", "1m", "0"},
		{"c", "limits.ephemeral-storage", "", "10"},
		{"c", "limits.hugepages-2Mi", "", "4194304"},
		{"i", "limits.cpu", "1", "8"},
		{"i", "limits.hugepages-1Gi", "1", "0"},
		{"", "limits.cpu", "1m", "1250"},
	} {
		sel := &v1.ResourceFieldSelector{ContainerName: tc.container, Resource: tc.res}
		if tc.div != "" {
			sel.Divisor = resource.MustParse(tc.div)
		}
		got, err := Resource(sel, testPod(), "c", alloc)
		if err != nil || got != tc.want {
			t.Errorf("%+v = %q, %v", tc, got, err)
		}
	}
	for _, sel := range []v1.ResourceFieldSelector{{ContainerName: "x", Resource: "limits.cpu"}, {ContainerName: "c", Resource: "limits.gpu"}, {ContainerName: "c", Resource: "cpu"}} {
		if v, err := Resource(&sel, testPod(), "", alloc); err == nil {
			t.Errorf("%+v = %q, want an error", sel, v)
		}
	}
}

func TestDefaultLimits(t *testing.T) {
	pod := testPod()
	alloc := v1.ResourceList{"cpu": resource.MustParse("8"), "memory": resource.MustParse("1Gi")}
	pod.Spec.Resources = &v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": resource.MustParse("2")}}
	got := DefaultLimits(pod, alloc)
	if got.Cpu().Value() != 2 || got.Memory().Value() != 1<<30 || alloc.Cpu().Value() != 8 {
		t.Errorf("defaults %v, allocatable %v", got, alloc)
	}
}

// A value is always one line that can be read back, whatever it holds; keys come sorted.
func TestFormatMapProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.MapOf(rapid.StringMatching(`[a-z/.]{1,8}`), rapid.String()).Draw(t, "m")
		out := FormatMap(m)
		if len(m) == 0 {
			if out != "" {
				t.Fatalf("empty map is %q", out)
			}
			return
		}
		prev := ""
		lines := strings.Split(out, "\n")
		if len(lines) != len(m) {
			t.Fatalf("%d lines for %d entries", len(lines), len(m))
		}
		for _, line := range lines {
			k, q, _ := strings.Cut(line, "=")
			v, err := strconv.Unquote(q)
			if err != nil || k < prev {
				t.Fatalf("line %q: %v", line, err)
			}
			if strings.ToValidUTF8(m[k], "") == m[k] && v != m[k] {
				t.Fatalf("%q reads back %q, want %q", k, v, m[k])
			}
			prev = k
		}
	})
}
