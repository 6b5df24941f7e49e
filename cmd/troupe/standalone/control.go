package standalone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

// control serves ps, logs and stop on a socket that only root may open.
type control struct {
	record Record
	agent  Agent
	// stop begins the end of the run; it does not wait for it.
	stop func(grace *int64)
	srv  *http.Server
}

// Report is what the control socket answers.
type Report struct {
	Record Record    `json:"record"`
	Phase  string    `json:"phase"` // starting, running, ending
	Error  string    `json:"error,omitempty"`
	Pods   []*v1.Pod `json:"pods"`
}

// stopRequest asks for the end; Grace in seconds, nil for the pods' own.
type stopRequest struct {
	Grace *int64 `json:"grace,omitempty"`
}

func serveControl(socket string, c *control, phase func() (string, error)) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	old := unix.Umask(0o177) // the socket is never open to others, not even for a moment
	lis, err := net.Listen("unix", socket)
	unix.Umask(old)
	if err != nil {
		return fmt.Errorf("open the control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		ph, err := phase()
		r := Report{Record: c.record, Phase: ph, Pods: c.agent.Pods()}
		if err != nil {
			r.Error = err.Error()
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r)
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, req *http.Request) {
		var s stopRequest
		if err := json.NewDecoder(io.LimitReader(req.Body, 1<<16)).Decode(&s); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.stop(s.Grace)
		w.WriteHeader(http.StatusAccepted)
	})
	c.srv = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = c.srv.Serve(lis) }()
	return nil
}

func (c *control) close() { _ = c.srv.Close() }

// Client speaks to a run's control socket.
type Client struct{ http http.Client }

// NewClient makes a client for the run in a state folder.
func NewClient(l Layout) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", l.ControlSocket())
	}
	return &Client{http: http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 10 * time.Second}}
}

// Report asks what runs. ErrNoRun when nobody answers.
func (c *Client) Report(ctx context.Context) (Report, error) {
	var r Report
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://run/report", nil)
	if err != nil {
		return r, err
	}
	resp, err := c.do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	return r, json.NewDecoder(resp.Body).Decode(&r)
}

// Stop asks the run to end.
func (c *Client) Stop(ctx context.Context, grace *int64) error {
	b, err := json.Marshal(stopRequest{Grace: grace})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://run/stop", bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, ErrNoRun
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<12))
		return nil, fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(b))
	}
	return resp, nil
}
