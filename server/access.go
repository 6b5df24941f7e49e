package server

import (
	"bufio"
	"net"
	"net/http"
	"time"

	"k8s.io/klog/v2"
)

// access logs requests at level 4 and above. Only the path is logged: queries hold commands, headers hold tokens.
func access(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log := klog.FromContext(r.Context()).V(4)
		if !log.Enabled() {
			next.ServeHTTP(w, r)
			return
		}
		start := time.Now()
		c := &coded{ResponseWriter: w}
		defer func() {
			log.Info("HTTP", "verb", r.Method, "path", r.URL.Path, "code", c.code, "latency", time.Since(start), "source", r.RemoteAddr, "userAgent", r.UserAgent())
		}()
		next.ServeHTTP(c, r)
	})
}

// coded remembers the status code. Streams need the interfaces of the writer below.
type coded struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (c *coded) WriteHeader(code int) {
	if c.code == 0 {
		c.code = code
	}
	c.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (c *coded) Write(b []byte) (int, error) {
	if c.code == 0 {
		c.code = http.StatusOK
	}
	return c.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (c *coded) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Flush implements http.Flusher.
func (c *coded) Flush() { _ = http.NewResponseController(c.ResponseWriter).Flush() }

// Hijack implements http.Hijacker.
func (c *coded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c.code = http.StatusSwitchingProtocols
	return http.NewResponseController(c.ResponseWriter).Hijack()
}
