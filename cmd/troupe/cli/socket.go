package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ListenSocket opens the root-only inspection socket: mode 0600 in a folder of
// mode 0700 if it has to be made. A socket that nobody serves is replaced; one
// that somebody serves is an error. Closing the listener removes the file.
func ListenSocket(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("inspection socket: %w", err)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("inspection socket %s: another agent serves it; give this one its own --socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("inspection socket: %w", err)
	}
	// The folder may be open to others (/run): bind under a name that is
	// moved into place only when its mode is right.
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("inspection socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	err = os.Chmod(fresh, 0o600)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		l.Close()
		os.Remove(fresh)
		return nil, fmt.Errorf("inspection socket: %w", err)
	}
	return removing{l, path}, nil
}

type removing struct {
	net.Listener
	path string
}

func (l removing) Close() error {
	os.Remove(l.path)
	return l.Listener.Close()
}

// fetch asks the agent behind the socket. The error is a sentence for a person.
func fetch(ctx context.Context, socket, path string, query url.Values) ([]byte, error) {
	client := http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}},
	}
	defer client.CloseIdleConnections()
	address := url.URL{Scheme: "http", Host: "troupe", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("no agent answers at %s: start one with `troupe run` or `troupe node`, or name its --socket", socket)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s is for root only", socket)
	case err != nil:
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of the agent: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the agent answers: %s", strings.TrimSpace(string(body)))
	}
	return body, nil
}
