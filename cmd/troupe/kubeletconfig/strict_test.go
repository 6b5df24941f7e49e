package kubeletconfig

import (
	"strings"
	"testing"
)

const head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

// Each row is a file and what the error has to say. Lines count from 1, and the
// two lines of head come first.
func TestDecodeNamesTheFieldAndTheFix(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"unknown", head + "maxPodz: 5\n", []string{"f:3: maxPodz: unknown field; did you mean maxPods?"}},
		{"case", head + "maxpods: 5\n", []string{"f:3: maxpods: unknown field; did you mean maxPods?"}},
		{"far off", head + "frobnicate: 5\n", []string{"f:3: frobnicate: unknown field; remove it"}},
		{"flag only", head + "hostnameOverride: a\n", []string{"f:3: hostnameOverride:", "exists only as a flag: pass --hostname-override"}},
		{"flag only, node ip", head + "nodeIP: 10.0.0.1\n", []string{"pass --node-ip"}},
		{"flag name", head + "max-pods: 5\n", []string{"f:3: max-pods:", "its field is maxPods"}},
		{"flag with another name", head + "podManifestPath: /x\n", []string{"--pod-manifest-path", "its field is staticPodPath"}},
		{"wrong level", head + "enabled: true\n", []string{"authentication.webhook.enabled", "authentication.anonymous.enabled"}},
		{"wrong level, one place", head + "swapBehavior: NoSwap\n", []string{"f:3: swapBehavior: does not belong here; write it as memorySwap.swapBehavior"}},
		{"too deep", head + "authentication:\n  clientCAFile: /x\n", []string{"f:4: authentication.clientCAFile:", "authentication.x509.clientCAFile"}},
		{"nested unknown", head + "authentication:\n  anonymous:\n    enable: true\n", []string{"f:5: authentication.anonymous.enable: unknown field; did you mean enabled?"}},
		{"number", head + "maxPods: many\n", []string{`f:3: maxPods: expected a whole number (32 bits), found "many"`}},
		{"too large", head + "maxPods: 99999999999\n", []string{"f:3: maxPods: expected a whole number (32 bits)"}},
		{"quoted number", head + "maxPods: \"5\"\n", []string{"f:3: maxPods: expected a whole number"}},
		{"duration", head + "syncFrequency: 10\n", []string{`f:3: syncFrequency: expected a duration such as "30s" or "2m", found "10"`}},
		{"string", head + "systemReserved:\n  cpu: 1\n", []string{"f:4: systemReserved.cpu: expected a string (put it in quotes)"}},
		{"bool", head + "enableServer: maybe\n", []string{"f:3: enableServer: expected true or false"}},
		{"list", head + "clusterDNS: 10.0.0.1\n", []string{"f:3: clusterDNS: expected a list, found a single value"}},
		{"mapping", head + "authentication: [a]\n", []string{"f:3: authentication: expected a mapping", "found a list"}},
		{"twice", head + "maxPods: 5\nmaxPods: 6\n", []string{"f:4: maxPods: is set a second time (first in line 3)"}},
		{"two at once", head + "maxPodz: 5\nsyncFrequency: 10\n", []string{"f:3:", "f:4:"}},
		{"list item", head + "registerWithTaints:\n- key: a\n  efect: NoSchedule\n", []string{"f:5: registerWithTaints[0].efect: unknown field; did you mean effect?"}},
		{"no apiVersion", "kind: KubeletConfiguration\n", []string{"apiVersion: is missing; write apiVersion: kubelet.config.k8s.io/v1beta1"}},
		{"no kind", "apiVersion: kubelet.config.k8s.io/v1beta1\n", []string{"kind: is missing"}},
		{"wrong version", "apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n", []string{`f:1: apiVersion: "kubelet.config.k8s.io/v1" is not supported here`}},
		{"wrong kind", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: Pod\n", []string{`f:2: kind: "Pod" is not supported here`}},
		{"empty", " \n", []string{"f: the file is empty"}},
		{"not yaml", "a: [b\n", []string{"f: not valid YAML or JSON"}},
		{"second document", head + "---\nmaxPods: 1\n", []string{"a second document"}},
		{"scalar", "hello\n", []string{"found a single value"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := decode("f", []byte(c.in))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q:\n%v", want, err)
				}
			}
		})
	}
}

func TestDecodeAccepts(t *testing.T) {
	for name, in := range map[string]string{
		"json":         `{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","maxPods":7}`,
		"json, tabs":   "{\n\t\"apiVersion\": \"kubelet.config.k8s.io/v1beta1\",\n\t\"kind\": \"KubeletConfiguration\",\n\t\"maxPods\": 7\n}\n",
		"anchors":      head + "kubeReserved: &r {cpu: 100m}\nsystemReserved: *r\nmaxPods: 7\n",
		"merge keys":   head + "kubeReserved: &r {cpu: 100m}\nsystemReserved: {<<: *r, memory: 1Gi}\nmaxPods: 7\n",
		"null":         head + "clusterDNS: null\nmaxPods: 7\n",
		"trailing ---": head + "maxPods: 7\n---\n",
		"old booleans": head + "enableServer: yes\nmaxPods: 7\n",
		"quantities":   head + "reservedMemory: [{numaNode: 0, limits: {memory: 1Gi, hugepages-2Mi: 4}}]\nmaxPods: 7\n",
		"logging":      head + "logging: {format: json, verbosity: 4, flushFrequency: 5s, vmodule: [{filePattern: a, verbosity: 3}], options: {json: {infoBufferSize: 1Ki}}}\nmaxPods: 7\n",
		"old logging":  head + "logging: {flushFrequency: 5000000000}\nmaxPods: 7\n",
		"taints":       head + "registerWithTaints: [{key: a, value: b, effect: NoSchedule}]\nmaxPods: 7\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := decode("f", []byte(in))
			if err != nil {
				t.Fatal(err)
			}
			if c.MaxPods != 7 {
				t.Errorf("maxPods = %d, want 7", c.MaxPods)
			}
		})
	}
}

// A file with every default written out decodes, and says the same.
func TestDecodeRoundTrip(t *testing.T) {
	want := NewDefault()
	m, err := toMap(want)
	if err != nil {
		t.Fatal(err)
	}
	m["apiVersion"], m["kind"] = "kubelet.config.k8s.io/v1beta1", Kind
	raw, err := toYAML(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode("f", raw)
	if err != nil {
		t.Fatal(err)
	}
	SetDefaults(got)
	warnings, err := Warnings(got, false)
	if err != nil {
		t.Fatal(err)
	}
	// Only evictionHard differs: the comparison is with a loaded file.
	if len(warnings) != 1 || !strings.HasSuffix(warnings[0], ": evictionHard") {
		t.Errorf("a file full of defaults differs from them: %q", warnings)
	}
}
