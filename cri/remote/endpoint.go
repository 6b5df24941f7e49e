package remote

import (
	"fmt"
	"net/url"
	"strings"
)

// SocketPath returns the path of the unix socket that an endpoint names: unix:///run/x.sock, or a bare path, which the
// kubelet still accepts; bare says so, and the caller warns. Anything else is refused.
func SocketPath(endpoint string) (path string, bare bool, err error) {
	if endpoint == "" {
		return "", false, fmt.Errorf("the runtime endpoint is empty")
	}
	if !strings.Contains(endpoint, "://") {
		if strings.HasPrefix(endpoint, "unix:") {
			endpoint = strings.TrimPrefix(endpoint, "unix:")
		} else {
			bare = true
		}
		endpoint = "unix://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", false, fmt.Errorf("runtime endpoint %q: %w", endpoint, err)
	}
	if u.Scheme != "unix" {
		return "", false, fmt.Errorf("runtime endpoint %q: scheme %q is not supported, use unix:///path", endpoint, u.Scheme)
	}
	if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
		return "", false, fmt.Errorf("runtime endpoint %q: the path of the socket must be absolute (unix:///path)", endpoint)
	}
	return u.Path, bare, nil
}
