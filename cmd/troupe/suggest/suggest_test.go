package suggest

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"maxPods", "podsPerCore", "clusterDNS", "clusterDomain", "kubeconfig", "config"}
	for _, c := range []struct{ word, want string }{
		{"maxpods", "maxPods"},
		{"max-pods", "maxPods"},
		{"max_pods", "maxPods"},
		{"maxPod", "maxPods"},
		{"clutserDNS", "clusterDNS"},
		{"kubeconfg", "kubeconfig"},
		{"podsPerCroe", "podsPerCore"},
		{"hostname", ""},
		{"x", ""},
		{"", ""},
	} {
		if got := Nearest(c.word, names); got != c.want {
			t.Errorf("Nearest(%q) = %q, want %q", c.word, got, c.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"ab", "ba", 1}, {"abc", "abc", 0}, {"abc", "axc", 1}, {"abc", "abcd", 1}, {"abcd", "abc", 1}, {"kitten", "sitting", 3}, {"a", "zzzzzzzzzzzz", 9}} {
		if got := distance(c.a, c.b, 9); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
