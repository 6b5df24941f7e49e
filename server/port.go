package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// port is one listener with its HTTP server and everything that came in through it.
type port struct {
	name     string
	listener *connections
	http     *http.Server
	tls      *tls.Config // nil for plain HTTP
	requests sync.WaitGroup
}

// newPort prepares a server for a listener that is already open.
func newPort(name string, l net.Listener, h http.Handler, t *tls.Config) *port {
	p := &port{name: name, listener: &connections{Listener: l, open: map[net.Conn]struct{}{}}, tls: t}
	p.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.requests.Add(1)
			defer p.requests.Done()
			h.ServeHTTP(w, r)
		}),
		TLSConfig:         t,
		IdleTimeout:       idleTimeout,
		ReadTimeout:       streamTimeout,
		WriteTimeout:      streamTimeout,
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    maxHeader,
	}
	return p
}

// serve answers requests until close is called. Requests see a context that ends with ctx.
func (p *port) serve(ctx context.Context, log klog.Logger) error {
	p.http.BaseContext = func(net.Listener) context.Context { return klog.NewContext(ctx, log) }
	// What net/http has to say is about broken clients: handshakes, resets.
	p.http.ErrorLog = stdlog.New(lineLog{log.V(3)}, "", 0)
	var err error
	if p.tls != nil {
		err = p.http.ServeTLS(p.listener, "", "")
	} else {
		err = p.http.Serve(p.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s on %s: %w", p.name, p.listener.Addr(), err)
}

// close ends the port: requests get a moment to end by themselves (their context has ended), then every connection is
// cut, also those that became streams, which net/http no longer knows of.
func (p *port) close(log klog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), leave)
	defer cancel()
	_ = p.http.Shutdown(ctx)
	_ = p.http.Close()
	p.listener.cut()
	done := make(chan struct{})
	go func() {
		p.requests.Wait()
		close(done)
	}()
	t := time.NewTimer(5 * leave)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		log.Info("A request did not end with its connection", "port", p.name)
	}
}

// connections is a listener that knows which of its connections are open.
type connections struct {
	net.Listener
	mu   sync.Mutex
	open map[net.Conn]struct{}
	shut bool
}

// Accept implements net.Listener.
func (l *connections) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t := &connection{Conn: c, of: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	l.open[t] = struct{}{}
	return t, nil
}

// cut closes all connections.
func (l *connections) cut() {
	l.mu.Lock()
	l.shut = true
	open := make([]net.Conn, 0, len(l.open))
	for c := range l.open {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// connection leaves its listener's list when it is closed.
type connection struct {
	net.Conn
	of *connections
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// lineLog turns lines of the standard logger into log entries.
type lineLog struct{ log klog.Logger }

// Write implements io.Writer.
func (l lineLog) Write(b []byte) (int, error) {
	l.log.Info("HTTP server", "message", string(b))
	return len(b), nil
}
