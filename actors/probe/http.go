package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/container"
	"github.com/troupe-dev/troupe/actors/container/probeplan"
)

// linger makes closed connections leave no TIME_WAIT behind: thousands of probes would use the ports up.
func linger(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1, Linger: 1})
	})
}

func (r *Runner) httpGet(ctx context.Context, t container.ProbeTarget, g *v1.HTTPGetAction, ip string) (probeplan.Result, string) {
	req, err := request(ctx, g, t.Container, ip, "kube-probe/"+r.Version)
	if err != nil {
		return probeplan.Unknown, err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	var offHost bool
	client, closeIdle := client(func(next *http.Request, via []*http.Request) error {
		if next.URL.Hostname() != via[0].URL.Hostname() {
			offHost = true
			return http.ErrUseLastResponse
		}
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		return nil
	})
	defer closeIdle()
	resp, err := client.Do(req.WithContext(ctx))
	if err != nil {
		return probeplan.Failure, err.Error()
	}
	defer resp.Body.Close()
	body := readBody(resp.Body)
	switch {
	case offHost:
		return probeplan.Warning, "Probe terminated redirects, Response body: " + body
	case resp.StatusCode >= 200 && resp.StatusCode < 400:
		return probeplan.Success, body
	}
	return probeplan.Failure, fmt.Sprintf("HTTP probe failed with statuscode: %d", resp.StatusCode)
}

// client is for one request: no proxy, no certificate checks, no connection kept.
func client(redirect func(*http.Request, []*http.Request) error) (*http.Client, func()) {
	tr := &http.Transport{
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // probes check that something answers, as the kubelet's do
		DisableKeepAlives:  true,
		DisableCompression: true,
		DialContext:        (&net.Dialer{Control: linger, Timeout: 30 * time.Second}).DialContext,
	}
	return &http.Client{Transport: tr, CheckRedirect: redirect}, tr.CloseIdleConnections
}

func request(ctx context.Context, g *v1.HTTPGetAction, c *v1.Container, ip, agent string) (*http.Request, error) {
	port, err := portOf(g.Port, c)
	if err != nil {
		return nil, err
	}
	host := g.Host
	if host == "" {
		host = ip
	}
	scheme := strings.ToLower(string(g.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	u, err := url.Parse(g.Path)
	if err != nil {
		u = &url.URL{Path: g.Path}
	}
	u.Scheme, u.Host = scheme, net.JoinHostPort(host, strconv.Itoa(port))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = http.Header{}
	for _, h := range g.HTTPHeaders {
		req.Header.Add(h.Name, h.Value)
	}
	if _, set := req.Header["User-Agent"]; !set {
		req.Header.Set("User-Agent", agent)
	}
	if _, set := req.Header["Accept"]; !set {
		req.Header.Set("Accept", "*/*")
	} else if req.Header.Get("Accept") == "" {
		req.Header.Del("Accept")
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	return req, nil
}
