package featuregates

import (
	"os"
	"strings"
	"testing"

	"k8s.io/component-base/featuregate"
)

// The kubelet's own help lists its alpha and beta gates; the table must agree
// with every one of them and have no others.
func TestTableAgreesWithTheKubelet(t *testing.T) {
	raw, err := os.ReadFile("testdata/kubelet-1.36.3-gates.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if f[0] == allAlpha || f[0] == allBeta {
			continue
		}
		want[f[0]] = f[1] + " " + f[2]
	}
	names := map[stage]string{alpha: "ALPHA", beta: "BETA"}
	seen := map[string]bool{}
	for _, row := range known() {
		if seen[row.name] {
			t.Errorf("%s is listed twice", row.name)
		}
		seen[row.name] = true
		if row.stage != alpha && row.stage != beta {
			if want[row.name] != "" {
				t.Errorf("%s: the kubelet says %s, the table says it is past beta", row.name, want[row.name])
			}
			continue
		}
		value := "false"
		if row.initial {
			value = "true"
		}
		if got := names[row.stage] + " " + value; got != want[row.name] {
			t.Errorf("%s: table %q, kubelet %q", row.name, got, want[row.name])
		}
		delete(want, row.name)
	}
	for name := range want {
		t.Errorf("%s is missing from the table", name)
	}
	for name, deps := range needs() {
		for _, n := range append(deps, name) {
			if !seen[n] {
				t.Errorf("dependency table names the unknown gate %s", n)
			}
		}
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name    string
		in      map[string]bool
		on, off []string
		errs    []string
		warn    string
	}{
		{name: "defaults", on: []string{"NodeSwap", "PodLevelResources", "KubeletCrashLoopBackOffMax"}, off: []string{"EventedPLEG", "MemoryQoS", "SELinuxMount"}},
		{name: "set one", in: map[string]bool{"MemoryQoS": true}, on: []string{"MemoryQoS"}},
		{name: "unknown", in: map[string]bool{"MemoryQos1": true}, errs: []string{"featureGates.MemoryQos1", "did you mean MemoryQoS?"}},
		{name: "locked", in: map[string]bool{"NodeSwap": false}, errs: []string{"featureGates.NodeSwap", "locked to true"}},
		{name: "locked, same value", in: map[string]bool{"NodeSwap": true}, on: []string{"NodeSwap"}, warn: "NodeSwap is GA"},
		{name: "dependency", in: map[string]bool{"GracefulNodeShutdown": false}, errs: []string{"GracefulNodeShutdownBasedOnPodPriority", "needs GracefulNodeShutdown"}},
		{name: "both", in: map[string]bool{"GracefulNodeShutdown": false, "GracefulNodeShutdownBasedOnPodPriority": false, "WindowsGracefulNodeShutdown": false}, off: []string{"GracefulNodeShutdown"}},
		{name: "all alpha", in: map[string]bool{"AllAlpha": true, "EventedPLEG": false}, on: []string{"MemoryQoS", "QOSReserved"}, off: []string{"EventedPLEG", "SELinuxMount"}},
		{name: "two errors at once", in: map[string]bool{"NodeSwap": false, "Nonsense": true}, errs: []string{"NodeSwap", "Nonsense"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, warnings, err := Resolve(c.in)
			if len(c.errs) > 0 {
				if err == nil {
					t.Fatal("no error")
				}
				for _, want := range c.errs {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error lacks %q: %v", want, err)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range c.on {
				if !g.Enabled(n) {
					t.Errorf("%s is off", n)
				}
			}
			for _, n := range c.off {
				if g.Enabled(n) || !g.Known(n) {
					t.Errorf("%s is on or unknown", n)
				}
			}
			if got := strings.Join(warnings, "\n"); !strings.Contains(got, c.warn) {
				t.Errorf("warnings %q lack %q", got, c.warn)
			}
		})
	}
}

func TestComponentCarriesTheValues(t *testing.T) {
	g, _, err := Resolve(map[string]bool{"LoggingAlphaOptions": true})
	if err != nil {
		t.Fatal(err)
	}
	c := g.Component()
	for name, want := range g.All() {
		if got := c.Enabled(featuregate.Feature(name)); got != want {
			t.Errorf("%s = %t, want %t", name, got, want)
		}
	}
}
