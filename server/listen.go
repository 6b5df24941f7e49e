package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Listen opens every configured address. Run does it by itself; calling it first tells early what cannot be opened.
// On an error everything is closed again.
func (s *Server) Listen() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ports != nil {
		return nil
	}
	defer func() {
		if err != nil {
			for _, p := range s.ports {
				_ = p.listener.Close()
			}
			s.ports = nil
		}
	}()
	add := func(name, address string, make func(l net.Listener) *port) error {
		if address == "" {
			return nil
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("listen for %s: %w", name, err)
		}
		s.ports = append(s.ports, make(l))
		return nil
	}
	err = errors.Join(
		add("https", s.cfg.Secure, func(l net.Listener) *port { return newPort("https", l, s.secureHandler(), s.certs.Listener()) }),
		add("readonly", s.cfg.ReadOnly, func(l net.Listener) *port { return newPort("readonly", l, s.readOnlyHandler(), nil) }),
		add("healthz", s.cfg.Healthz, func(l net.Listener) *port { return newPort("healthz", l, s.healthHandler(), nil) }),
		s.listenInspect(add),
	)
	if err != nil || s.cfg.Socket == "" {
		return err
	}
	l, err := listenSocket(s.cfg.Socket)
	if err != nil {
		return err
	}
	s.ports = append(s.ports, newPort("socket", l, s.socketHandler(), nil))
	return nil
}

// listenInspect opens the page's address, which must be this machine's alone.
func (s *Server) listenInspect(add func(string, string, func(net.Listener) *port) error) error {
	if s.cfg.Inspect == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(s.cfg.Inspect)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("listen for inspection: %q is not a loopback address", s.cfg.Inspect)
	}
	return add("inspect", s.cfg.Inspect, func(l net.Listener) *port { return newPort("inspect", l, s.pageHandler(), nil) })
}

// Addr returns where a port listens (https, readonly, healthz, inspect, socket); "" when it does not.
func (s *Server) Addr(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.ports {
		if p.name == name {
			return p.listener.Addr().String()
		}
	}
	return ""
}

// InspectURL returns the address of the inspection page with its token; "" when there is none. It is as secret as the
// token: it belongs on the terminal of whoever started the agent, not into a log.
func (s *Server) InspectURL() string {
	if a := s.Addr("inspect"); a != "" {
		return "http://" + a + "/actors/ui?token=" + s.cfg.InspectToken
	}
	return ""
}

// listenSocket opens the root-only socket. What a dead agent left behind is removed; a living one is an error.
func listenSocket(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of socket %s: %w", path, err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("folder of socket %s: %w", path, err)
	}
	// Closing a folder that others use would break them, and an open one would show the socket before its mode is set.
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("socket %s: folder %s is open to others (mode %o); it needs a folder of its own with mode 700", path, dir, st.Mode().Perm())
	}
	if _, err := os.Lstat(path); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			_ = c.Close()
			return nil, fmt.Errorf("socket %s: another agent listens there", path)
		case !errors.Is(err, unix.ECONNREFUSED):
			return nil, fmt.Errorf("socket %s is in the way: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove stale socket %s: %w", path, err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("close socket %s to others: %w", path, err)
	}
	return l, nil
}
