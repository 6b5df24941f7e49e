package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
)

const (
	// maxMessage is containerd's limit of one gRPC message.
	maxMessage = 16 << 20
	// pipeBuffer is the buffer of an in-memory connection.
	pipeBuffer = 1 << 20
)

// Server serves a Runtime at one place. It can be stopped and started again: connections drop and calls in flight are
// given up, while sandboxes and containers live on, as they do behind a real runtime that restarts.
type Server struct {
	rt     *Runtime
	listen func() (net.Listener, error)

	mu   sync.Mutex
	srv  *grpc.Server
	pipe *bufconn.Listener
}

// Serve serves at a unix socket from now on. A socket file that a dead server left behind is replaced.
func (r *Runtime) Serve(path string) (*Server, error) {
	s := &Server{rt: r, listen: func() (net.Listener, error) {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return nil, err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		return net.Listen("unix", path)
	}}
	if err := s.Start(); err != nil {
		return nil, fmt.Errorf("serve the simulated runtime at %s: %w", path, err)
	}
	return s, nil
}

// ServePipe serves in memory from now on; Dial is the way in.
func (r *Runtime) ServePipe() *Server {
	s := &Server{rt: r}
	s.listen = func() (net.Listener, error) {
		s.pipe = bufconn.Listen(pipeBuffer)
		return s.pipe, nil
	}
	_ = s.Start() // a pipe's listen does not fail
	return s
}

// Dial connects to a server in memory; it is a Dialer of cri/remote.
func (s *Server) Dial(ctx context.Context, _ string) (net.Conn, error) {
	s.mu.Lock()
	pipe, up := s.pipe, s.srv != nil
	s.mu.Unlock()
	if !up || pipe == nil {
		return nil, errors.New("the simulated runtime does not serve")
	}
	return pipe.DialContext(ctx)
}

// Start serves again after a Stop; while it serves it does nothing.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv != nil {
		return nil
	}
	l, err := s.listen()
	if err != nil {
		return err
	}
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	s.rt.Register(srv)
	s.srv = srv
	go srv.Serve(l)
	return nil
}

// Stop drops every connection and refuses new ones.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv != nil {
		s.srv.Stop()
		s.srv = nil
	}
}

// Restart is a Stop and a Start.
func (s *Server) Restart() error {
	s.Stop()
	return s.Start()
}
