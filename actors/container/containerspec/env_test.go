package containerspec

import (
	"errors"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func ptr[T any](v T) *T { return &v }

func podOf(c v1.Container) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u", Labels: map[string]string{"l": "lv"}, Annotations: map[string]string{"a": "av"}}}
	p.Spec.Containers = []v1.Container{c}
	p.Spec.NodeName, p.Spec.ServiceAccountName = "node", "sa"
	return p
}

func text(env []Variable) string {
	var out []string
	for _, v := range env {
		out = append(out, v.Name+"="+v.Value)
	}
	return strings.Join(out, " ")
}

// TestExpand holds the rules of $(NAME) in env, command, args and subPathExpr.
func TestExpand(t *testing.T) {
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "B": "$(A)", "EMPTY": "", "WITH SPACE": "w"}[name]
		return v, ok
	}
	for in, want := range map[string]string{
		"":              "",
		"plain":         "plain",
		"$(A)":          "1",
		"x$(A)y$(A)":    "x1y1",
		"$(B)":          "$(A)", // values are not expanded again
		"$(EMPTY)":      "",
		"$(UNKNOWN)":    "$(UNKNOWN)",
		"$$(A)":         "$(A)",
		"$$$(A)":        "$1",
		"$$$$(A)":       "$$(A)",
		"$$":            "$",
		"$":             "$",
		"a$":            "a$",
		"$A":            "$A",
		"$(A":           "$(A",
		"$(A$(A)":       "$(A$(A)", // the name is A$(A
		"$()":           "$()",
		"$(WITH SPACE)": "w",
		"$é$(A)":        "$é1",
		"${A}":          "${A}",
		"$($(A))":       "$($(A))",
	} {
		if got := Expand(in, lookup); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// TestEnv: every source, their order, and what overrides what.
func TestEnv(t *testing.T) {
	src := Sources{
		ConfigMaps: map[string]*v1.ConfigMap{"cm": {Data: map[string]string{"K1": "cm1", "K2": "cm2"}}},
		Secrets:    map[string]*v1.Secret{"s": {Data: map[string][]byte{"K2": []byte("s2")}}},
		PodIPs:     []string{"10.0.0.1", "fd00::1"}, HostIPs: []string{"192.0.2.1"},
		Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("4"), v1.ResourceMemory: resource.MustParse("1Gi")},
		Files: func(volume, path, key string) (string, bool, error) {
			if volume != "v" {
				return "", false, errors.New("cannot find the volume")
			}
			return "fromfile", key == "K", nil
		},
	}
	ref := func(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }
	from := func(f v1.EnvVarSource) *v1.EnvVarSource { return &f }
	field := func(p string) *v1.EnvVarSource {
		return from(v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: p}})
	}
	yes := ptr(true)
	for _, tc := range []struct {
		name string
		c    v1.Container
		want string
		bad  string
	}{
		{"in order", v1.Container{Env: []v1.EnvVar{{Name: "B", Value: "2"}, {Name: "A", Value: "$(B)"}, {Name: "C", Value: "$(D)"}, {Name: "D", Value: "4"}}}, "B=2 A=2 C=$(D) D=4", ""},
		{"the last one of a name counts, in the first one's place", v1.Container{Env: []v1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "$(A)"}, {Name: "A", Value: "2"}}}, "A=2 B=1", ""},
		{"envFrom first, later ones override, env overrides all", v1.Container{
			EnvFrom: []v1.EnvFromSource{{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: ref("cm")}}, {SecretRef: &v1.SecretEnvSource{LocalObjectReference: ref("s")}}},
			Env:     []v1.EnvVar{{Name: "K1", Value: "own"}, {Name: "R", Value: "$(K2)"}}}, "K1=own K2=s2 R=s2", ""},
		{"prefix", v1.Container{EnvFrom: []v1.EnvFromSource{{Prefix: "P_", ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: ref("cm")}}}}, "P_K1=cm1 P_K2=cm2", ""},
		{"envFrom of nothing", v1.Container{EnvFrom: []v1.EnvFromSource{{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: ref("none")}}}}, "", `configmap "none" not found`},
		{"envFrom of nothing, optional", v1.Container{EnvFrom: []v1.EnvFromSource{{SecretRef: &v1.SecretEnvSource{LocalObjectReference: ref("none"), Optional: yes}}}}, "", ""},
		{"fields", v1.Container{Env: []v1.EnvVar{{Name: "N", ValueFrom: field("metadata.name")}, {Name: "U", ValueFrom: field("metadata.uid")}, {Name: "L", ValueFrom: field("metadata.labels['l']")},
			{Name: "O", ValueFrom: field("spec.nodeName")}, {Name: "I", ValueFrom: field("status.podIP")}, {Name: "S", ValueFrom: field("status.podIPs")}, {Name: "H", ValueFrom: field("status.hostIP")}}},
			"N=p U=u L=lv O=node I=10.0.0.1 S=10.0.0.1,fd00::1 H=192.0.2.1", ""},
		{"a field that is none", v1.Container{Env: []v1.EnvVar{{Name: "N", ValueFrom: field("spec.volumes")}}}, "", "unsupported"},
		{"resources", v1.Container{Name: "c", Resources: v1.ResourceRequirements{Limits: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1500m")}},
			Env: []v1.EnvVar{
				{Name: "CPU", ValueFrom: from(v1.EnvVarSource{ResourceFieldRef: &v1.ResourceFieldSelector{Resource: "limits.cpu"}})},
				{Name: "MILLI", ValueFrom: from(v1.EnvVarSource{ResourceFieldRef: &v1.ResourceFieldSelector{Resource: "limits.cpu", Divisor: resource.MustParse("1m")}})},
				{Name: "MEM", ValueFrom: from(v1.EnvVarSource{ResourceFieldRef: &v1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}})},
			}}, "CPU=2 MILLI=1500 MEM=1024", ""},
		{"keys", v1.Container{Env: []v1.EnvVar{
			{Name: "A", ValueFrom: from(v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: ref("cm"), Key: "K1"}})},
			{Name: "B", ValueFrom: from(v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: ref("s"), Key: "K2"}})},
			{Name: "F", ValueFrom: from(v1.EnvVarSource{FileKeyRef: &v1.FileKeySelector{VolumeName: "v", Path: "f", Key: "K"}})}}}, "A=cm1 B=s2 F=fromfile", ""},
		{"a key that is missing", v1.Container{Env: []v1.EnvVar{{Name: "A", ValueFrom: from(v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: ref("cm"), Key: "no"}})}}}, "", "couldn't find key no in ConfigMap n/cm"},
		{"a secret's key that is missing", v1.Container{Env: []v1.EnvVar{{Name: "A", ValueFrom: from(v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: ref("s"), Key: "no"}})}}}, "", "couldn't find key no in Secret n/s"},
		{"missing and optional: not even empty", v1.Container{Env: []v1.EnvVar{
			{Name: "A", ValueFrom: from(v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: ref("cm"), Key: "no", Optional: yes}})},
			{Name: "B", ValueFrom: from(v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: ref("none"), Key: "no", Optional: yes}})},
			{Name: "F", ValueFrom: from(v1.EnvVarSource{FileKeyRef: &v1.FileKeySelector{VolumeName: "v", Path: "f", Key: "no", Optional: yes}})},
			{Name: "Z", Value: "$(A)"}}}, "Z=$(A)", ""},
		{"a file's key that is missing", v1.Container{Env: []v1.EnvVar{{Name: "F", ValueFrom: from(v1.EnvVarSource{FileKeyRef: &v1.FileKeySelector{VolumeName: "v", Path: "f", Key: "no"}})}}}, "", `environment variable key "no" not found in file`},
		{"a file's volume that is missing", v1.Container{Env: []v1.EnvVar{{Name: "F", ValueFrom: from(v1.EnvVarSource{FileKeyRef: &v1.FileKeySelector{VolumeName: "w", Path: "f", Key: "K", Optional: yes}})}}}, "", "cannot find the volume"},
		{"empty", v1.Container{Env: []v1.EnvVar{{Name: "A"}}}, "A=", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := podOf(tc.c)
			got, err := Env(pod, &pod.Spec.Containers[0], src)
			switch {
			case tc.bad != "" && (err == nil || !strings.Contains(err.Error(), tc.bad)):
				t.Fatalf("error %v", err)
			case tc.bad == "" && err != nil:
				t.Fatal(err)
			case text(got) != tc.want:
				t.Fatalf("%s, want %s", text(got), tc.want)
			}
		})
	}
}

// TestServiceEnv: which services a pod is told of, and how.
func TestServiceEnv(t *testing.T) {
	svc := func(ns, name, ip string, ports ...v1.ServicePort) *v1.Service {
		return &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: v1.ServiceSpec{ClusterIP: ip, Ports: ports}}
	}
	tcp := func(name string, port int32) v1.ServicePort {
		return v1.ServicePort{Name: name, Port: port, Protocol: v1.ProtocolTCP}
	}
	master := svc("default", "kubernetes", "10.0.0.1", tcp("https", 443))
	masterEnv := "KUBERNETES_PORT=tcp://10.0.0.1:443 KUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443 KUBERNETES_PORT_443_TCP_ADDR=10.0.0.1 KUBERNETES_PORT_443_TCP_PORT=443 KUBERNETES_PORT_443_TCP_PROTO=tcp KUBERNETES_SERVICE_HOST=10.0.0.1 KUBERNETES_SERVICE_PORT=443 KUBERNETES_SERVICE_PORT_HTTPS=443"
	for _, tc := range []struct {
		name     string
		links    *bool
		services []*v1.Service
		env      []v1.EnvVar
		want     string
	}{
		{"the API's own", nil, []*v1.Service{master}, nil, masterEnv},
		{"and nothing else without links", ptr(false), []*v1.Service{master, svc("n", "db", "10.0.0.2", tcp("", 1))}, nil, masterEnv},
		{"not other namespaces', headless or without address", nil, []*v1.Service{svc("other", "a", "10.0.0.3", tcp("", 1)), svc("n", "b", "None", tcp("", 1)), svc("n", "c", "", tcp("", 1))}, nil, ""},
		{"names, protocols and two ports", nil, []*v1.Service{svc("n", "my-db", "10.0.0.2", tcp("sql-port", 5432), v1.ServicePort{Name: "dns", Port: 53, Protocol: v1.ProtocolUDP})}, nil,
			"MY_DB_PORT=tcp://10.0.0.2:5432 MY_DB_PORT_53_UDP=udp://10.0.0.2:53 MY_DB_PORT_53_UDP_ADDR=10.0.0.2 MY_DB_PORT_53_UDP_PORT=53 MY_DB_PORT_53_UDP_PROTO=udp MY_DB_PORT_5432_TCP=tcp://10.0.0.2:5432 MY_DB_PORT_5432_TCP_ADDR=10.0.0.2 MY_DB_PORT_5432_TCP_PORT=5432 MY_DB_PORT_5432_TCP_PROTO=tcp MY_DB_SERVICE_HOST=10.0.0.2 MY_DB_SERVICE_PORT=5432 MY_DB_SERVICE_PORT_DNS=53 MY_DB_SERVICE_PORT_SQL_PORT=5432"},
		{"six", nil, []*v1.Service{svc("n", "v6", "fd00::1", tcp("", 80))}, nil,
			"V6_PORT=tcp://[fd00::1]:80 V6_PORT_80_TCP=tcp://[fd00::1]:80 V6_PORT_80_TCP_ADDR=fd00::1 V6_PORT_80_TCP_PORT=80 V6_PORT_80_TCP_PROTO=tcp V6_SERVICE_HOST=fd00::1 V6_SERVICE_PORT=80"},
		{"a namespace's own kubernetes counts", nil, []*v1.Service{master, svc("n", "kubernetes", "10.9.9.9", tcp("", 1))}, nil,
			"KUBERNETES_PORT=tcp://10.9.9.9:1 KUBERNETES_PORT_1_TCP=tcp://10.9.9.9:1 KUBERNETES_PORT_1_TCP_ADDR=10.9.9.9 KUBERNETES_PORT_1_TCP_PORT=1 KUBERNETES_PORT_1_TCP_PROTO=tcp KUBERNETES_SERVICE_HOST=10.9.9.9 KUBERNETES_SERVICE_PORT=1"},
		{"env may refer to them and overrides them", nil, []*v1.Service{svc("n", "x", "10.0.0.2", tcp("", 1))}, []v1.EnvVar{{Name: "HOST", Value: "$(X_SERVICE_HOST)"}, {Name: "X_SERVICE_PORT", Value: "own"}},
			"HOST=10.0.0.2 X_SERVICE_PORT=own X_PORT=tcp://10.0.0.2:1 X_PORT_1_TCP=tcp://10.0.0.2:1 X_PORT_1_TCP_ADDR=10.0.0.2 X_PORT_1_TCP_PORT=1 X_PORT_1_TCP_PROTO=tcp X_SERVICE_HOST=10.0.0.2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := podOf(v1.Container{Env: tc.env})
			pod.Spec.EnableServiceLinks = tc.links
			got, err := Env(pod, &pod.Spec.Containers[0], Sources{Services: tc.services})
			if err != nil || text(got) != tc.want {
				t.Fatalf("%v\n%s\nwant\n%s", err, text(got), tc.want)
			}
		})
	}
}

func TestSubPath(t *testing.T) {
	env := []Variable{{"POD", "p"}, {"EMPTY", ""}, {"UP", ".."}, {"ABS", "/etc"}}
	for _, tc := range []struct {
		m    v1.VolumeMount
		want string
		bad  bool
	}{
		{v1.VolumeMount{}, "", false},
		{v1.VolumeMount{SubPath: "a/b"}, "a/b", false},
		{v1.VolumeMount{SubPath: "a/$(POD)"}, "a/$(POD)", false}, // only the expression is expanded
		{v1.VolumeMount{SubPathExpr: "a/$(POD)"}, "a/p", false},
		{v1.VolumeMount{SubPathExpr: "a/$$(POD)"}, "a/$(POD)", false},
		{v1.VolumeMount{SubPathExpr: "$(NONE)"}, "", true},
		{v1.VolumeMount{SubPathExpr: "$(UP)/x"}, "", true},
		{v1.VolumeMount{SubPathExpr: "$(ABS)"}, "", true},
		{v1.VolumeMount{SubPath: "/a"}, "", true},
		{v1.VolumeMount{SubPath: "a/../b"}, "", true},
		{v1.VolumeMount{SubPath: "..a"}, "..a", false},
	} {
		got, err := SubPath(&tc.m, env)
		if got != tc.want || (err != nil) != tc.bad {
			t.Errorf("%q %q: %q, %v", tc.m.SubPath, tc.m.SubPathExpr, got, err)
		}
	}
}

func TestHosts(t *testing.T) {
	aliases := []v1.HostAlias{{IP: "1.2.3.4", Hostnames: []string{"a", "b"}}, {IP: "::5", Hostnames: []string{"c"}}}
	head := "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
	for _, tc := range []struct {
		got  []byte
		want string
	}{
		{ManagedHosts([]string{"10.0.0.1", "fd00::1"}, "h", "", nil), head + "10.0.0.1\th\nfd00::1\th\n"},
		{ManagedHosts([]string{"10.0.0.1"}, "h", "s.n.svc.cluster.local", aliases), head + "10.0.0.1\th.s.n.svc.cluster.local\th\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n::5\tc\n"},
		{NodeHosts([]byte("127.0.0.1 me\n"), aliases[:1]), "# Kubernetes-managed hosts file (host network).\n127.0.0.1 me\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"},
	} {
		if string(tc.got) != tc.want {
			t.Errorf("%q\nwant\n%q", tc.got, tc.want)
		}
	}
	if !MountsHosts(&v1.Container{VolumeMounts: []v1.VolumeMount{{MountPath: "/etc//hosts"}}}) || MountsHosts(&v1.Container{VolumeMounts: []v1.VolumeMount{{MountPath: "/etc"}}}) {
		t.Error("who mounts /etc/hosts")
	}
}

func TestObjects(t *testing.T) {
	ref := func(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }
	c := v1.Container{
		EnvFrom: []v1.EnvFromSource{{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: ref("b")}}, {SecretRef: &v1.SecretEnvSource{LocalObjectReference: ref("s")}}},
		Env: []v1.EnvVar{{Name: "A", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: ref("a")}}},
			{Name: "B", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: ref("b")}}},
			{Name: "C", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: ref("t")}}}},
	}
	cms, secrets := Objects(&c)
	if strings.Join(cms, " ") != "a b" || strings.Join(secrets, " ") != "s t" {
		t.Fatalf("%v %v", cms, secrets)
	}
}
