// Package version says which Kubernetes this node agent behaves as, and which
// build of Troupe it is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// The Kubernetes release whose kubelet Troupe replaces.
const (
	Major      = 1
	Minor      = 36
	Kubernetes = "v1.36.3"
)

// build names the source that the binary was made from. The Makefile sets it
// with -ldflags "-X …/version.build=<commit>"; without that it comes from what
// the Go tool records.
var build = ""

// Info is everything known about this binary.
type Info struct {
	// Kubelet is the version that goes into the node's status: the Kubernetes
	// release, then our build as semver metadata.
	Kubelet    string `json:"kubeletVersion"`
	Kubernetes string `json:"kubernetesVersion"`
	Build      string `json:"build"`
	// Modified is true when the source had changes that no commit has.
	Modified bool   `json:"modified,omitempty"`
	Time     string `json:"commitTime,omitempty"`
	Go       string `json:"goVersion"`
	Platform string `json:"platform"`
}

// Get returns the facts about this binary.
func Get() Info {
	i := Info{Kubernetes: Kubernetes, Build: build, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				if i.Build == "" {
					i.Build = s.Value[:min(len(s.Value), 12)]
				}
			case "vcs.time":
				i.Time = s.Value
			case "vcs.modified":
				i.Modified = s.Value == "true"
			}
		}
	}
	if i.Build == "" {
		i.Build = "dev"
	}
	i.Kubelet = fmt.Sprintf("%s+troupe.%s", Kubernetes, metadata(i.Build))
	return i
}

// metadata keeps what semver allows in a build identifier.
func metadata(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '.', r == '-':
			return r
		}
		return '-'
	}, s)
}
