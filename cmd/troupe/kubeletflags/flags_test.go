package kubeletflags

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
)

const head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

// kubeletFlags are the names and defaults that the kubelet's own help prints.
func kubeletFlags(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("testdata/kubelet-1.36.3-flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		name, initial, _ := strings.Cut(strings.TrimSpace(line), " ")
		out[name] = initial
	}
	return out
}

// zero are spellings of "nothing"; the kubelet's help leaves such defaults out.
func zero(s string) bool {
	return slices.Contains([]string{"", "-", "0", "0s", "false", "[]"}, s)
}

func TestEveryKubeletFlagIsAccepted(t *testing.T) {
	ours := FlagSet()
	for name, initial := range kubeletFlags(t) {
		f := ours.Lookup(name)
		switch {
		case f == nil:
			t.Errorf("--%s is not accepted", name)
		case f.Hidden:
			t.Errorf("--%s exists in 1.36 but is treated as removed", name)
		case name == "feature-gates" || zero(f.DefValue) && zero(initial):
		case f.DefValue != initial:
			t.Errorf("--%s: default %q, the kubelet's is %q", name, f.DefValue, initial)
		}
	}
}

// Every flag of ours is the kubelet's, a removed one, or named here.
func TestNoOtherFlags(t *testing.T) {
	theirs := kubeletFlags(t)
	FlagSet().VisitAll(func(f *pflag.Flag) {
		if _, ok := theirs[f.Name]; !ok && !f.Hidden && !slices.Contains([]string{"socket", "help", "help-all"}, f.Name) {
			t.Errorf("--%s is no flag of the kubelet", f.Name)
		}
	})
}

// A flag sets a field, is one of the flags without a field, or has a sentence.
func TestEveryFlagHasAPlace(t *testing.T) {
	fields := kubeletconfig.FlagFields()
	alone := kubeletconfig.FlagOnly()
	var noop []string
	for _, n := range append(noops(), removed()...) {
		noop = append(noop, n.name)
		if n.why == "" {
			t.Errorf("--%s has no reason", n.name)
		}
	}
	for name := range kubeletFlags(t) {
		places := 0
		if _, ok := fields[name]; ok {
			places++
		}
		if slices.Contains(alone, name) || name == "version" {
			places++
		}
		if slices.Contains(noop, name) && name != "experimental-mounter-path" {
			places++
		}
		if places != 1 {
			t.Errorf("--%s is in %d tables", name, places)
		}
	}
	for name := range fields {
		if FlagSet().Lookup(name) == nil {
			t.Errorf("the table has --%s, the command line has not", name)
		}
	}
}

// Setting a flag that mirrors a field changes that field and no other.
func TestMirroringFlagsReachTheirField(t *testing.T) {
	values := map[string]string{
		"address": "10.0.0.1", "healthz-bind-address": "10.0.0.1", "authorization-mode": "Webhook", "tls-min-version": "VersionTLS13",
		"register-with-taints": "a=b:NoSchedule", "reserved-memory": "0:memory=1Gi", "feature-gates": "MemoryQoS=true",
		"eviction-hard": "memory.available<1Gi", "eviction-soft": "memory.available<1Gi", "manifest-url-header": "a:b", "vmodule": "a=3",
		"logging-format": "json", "log-text-info-buffer-size": "1Ki", "log-json-info-buffer-size": "1Ki",
	}
	for name, field := range kubeletconfig.FlagFields() {
		line := newCommandLine(kubeletconfig.NewLegacyDefault())
		f := line.all.Lookup(name)
		value, ok := values[name]
		if !ok {
			switch f.Value.Type() {
			case "bool":
				value = map[string]string{"true": "false", "false": "true"}[f.DefValue]
			case "duration":
				value = "17s"
			case "mapStringString":
				value = "memory=17"
			case "strings":
				value = "seventeen"
			default:
				value = "17"
			}
		}
		if err := line.parse([]string{"--" + name + "=" + value}); err != nil {
			t.Errorf("--%s=%s: %v", name, value, err)
			continue
		}
		changed := kubeletconfig.Changed(kubeletconfig.NewLegacyDefault(), line.config)
		if top, _, _ := strings.Cut(field, "."); !slices.Equal(changed, []string{top}) {
			t.Errorf("--%s=%s changed %v, want %s", name, value, changed, top)
		}
	}
}

func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "k.yaml")
	drop := filepath.Join(dir, "d")
	if err := os.Mkdir(drop, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		file:                          head + "maxPods: 10\npodsPerCore: 10\nport: 1010\nclusterDNS: [10.0.0.1]\nfeatureGates: {MemoryQoS: true, PodsAPI: true}\n",
		filepath.Join(drop, "1.conf"): head + "podsPerCore: 20\nport: 2020\nfeatureGates: {PodsAPI: false, EventedPLEG: true}\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Parse([]string{"--config", file, "--config-dir=" + drop, "--port", "3030", "--cluster-dns=10.0.0.2,10.0.0.3", "--feature-gates=EventedPLEG=false"}, kubeletconfig.Host{})
	if err != nil {
		t.Fatal(err)
	}
	c := got.Options.Config
	if c.MaxPods != 10 || c.PodsPerCore != 20 || c.Port != 3030 || c.EventBurst != 100 {
		t.Errorf("maxPods %d, podsPerCore %d, port %d, eventBurst %d; want file, drop-in, flag, default", c.MaxPods, c.PodsPerCore, c.Port, c.EventBurst)
	}
	if !slices.Equal(c.ClusterDNS, []string{"10.0.0.2", "10.0.0.3"}) {
		t.Errorf("clusterDNS %v: a flag replaces the list", c.ClusterDNS)
	}
	g := got.Options.Gates
	if !g.Enabled("MemoryQoS") || g.Enabled("PodsAPI") || g.Enabled("EventedPLEG") {
		t.Errorf("gates %v: want those of the file, then of the drop-in, then of the flag", c.FeatureGates)
	}
	if *c.Authentication.Anonymous.Enabled || c.ReadOnlyPort != 0 {
		t.Error("a config file leaves the API open")
	}

	bare, err := Parse(nil, kubeletconfig.Host{})
	if err != nil {
		t.Fatal(err)
	}
	if b := bare.Options.Config; !*b.Authentication.Anonymous.Enabled || b.ReadOnlyPort != 10255 || b.Authorization.Mode != "AlwaysAllow" || len(b.EvictionHard) != 0 {
		t.Error("without a file the kubelet's old defaults hold")
	}
	if len(bare.Options.Warnings) != 0 {
		t.Errorf("no flags give warnings: %q", bare.Options.Warnings)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--kubconfig=x"}, "unknown flag --kubconfig; did you mean --kubeconfig?"},
		{[]string{"--maxPods=5"}, "maxPods is a configuration field, its flag is --max-pods"},
		{[]string{"--maxParallelImagePulls=5"}, "configuration field without a flag"},
		{[]string{"--zzzzzz"}, "--help-all lists every flag"},
		{[]string{"run"}, `unexpected argument "run"`},
		{[]string{"--max-pods=x"}, "--max-pods"},
		{[]string{"--max-pods=-1"}, "maxPods (--max-pods): -1 is negative"},
		{[]string{"--register-with-taints=a=b"}, "has no effect; write key=value:NoSchedule"},
		{[]string{"--register-with-taints=a=b:Never"}, "is not one of NoSchedule"},
		{[]string{"--reserved-memory=memory=1Gi"}, "is not of the form node:type=amount"},
		{[]string{"--feature-gates=MemoryQos1=true"}, "did you mean MemoryQoS?"},
		{[]string{"--address=localhost"}, "is not an IP address"},
		{[]string{"--config=/does/not/exist"}, "/does/not/exist"},
		{[]string{"--version=v1.2.3"}, "only raw is accepted"},
		{[]string{"--node-labels=kubernetes.io/x=y"}, "may not set"},
	} {
		_, err := Parse(c.args, kubeletconfig.Host{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}

// What an old unit passes is told once each, and does not stop the start.
func TestOldUnits(t *testing.T) {
	got, err := Parse([]string{
		"--container-runtime=remote", "--pod-infra-container-image", "registry.k8s.io/pause:3.9", "--network-plugin=cni",
		"--cni-bin-dir=/opt/cni/bin", "--logtostderr", "--housekeeping_interval=5s", "--enable-load-reader",
		"--max-pods=50", "--runtime-cgroups=/r", "--v=2", "--allow-privileged=true",
	}, kubeletconfig.Host{})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(got.Options.Warnings, "\n")
	for _, want := range []string{
		"--container-runtime is not a flag of Kubernetes 1.36", "--pod-infra-container-image is not", "--network-plugin is not",
		"--cni-bin-dir is not", "--logtostderr is not", "--allow-privileged is not",
		"--housekeeping-interval has no effect", "--enable-load-reader has no effect",
		"flags that are set but not honoured yet: --runtime-cgroups",
		"deprecates in favour of the file of --config: --max-pods",
	} {
		if strings.Count(all, want) != 1 {
			t.Errorf("warnings have %q %d times:\n%s", want, strings.Count(all, want), all)
		}
	}
	if strings.Contains(all, "--v") {
		t.Errorf("--v is not deprecated:\n%s", all)
	}
	if got.Options.Config.MaxPods != 50 || got.Options.Config.Logging.Verbosity != 2 {
		t.Error("flags beside the old ones were lost")
	}
}

func TestHelpAndVersion(t *testing.T) {
	for args, want := range map[string]Result{
		"-h": {Help: true}, "--help": {Help: true}, "--help-all": {HelpAll: true}, "--version": {Version: "true"}, "--version=raw": {Version: "raw"},
	} {
		got, err := Parse([]string{args}, kubeletconfig.Host{CgroupV1: true})
		if err != nil || got.Help != want.Help || got.HelpAll != want.HelpAll || got.Version != want.Version {
			t.Errorf("%s: %+v, %v", args, got, err)
		}
	}
	var few, all bytes.Buffer
	if err := WriteHelp(&few, false, 0); err != nil {
		t.Fatal(err)
	}
	if err := WriteHelp(&all, true, 0); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(few.String(), "\n"); n > 60 {
		t.Errorf("the short help has %d lines", n)
	}
	for name := range kubeletFlags(t) {
		if !strings.Contains(all.String(), "--"+name) {
			t.Errorf("the full help lacks --%s", name)
		}
	}
	if strings.Contains(all.String(), "network-plugin") {
		t.Error("the full help shows a removed flag")
	}
}
