// Package health serves /healthz: named checks, asked when somebody asks. It keeps no timer and no goroutine.
package health

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/component-base/metrics/prometheus/slis"
	"k8s.io/klog/v2"
)

// Check is one named health check. Check must return soon, and nil when all is well; its error is logged, not served,
// because /healthz is public on some ports.
type Check struct {
	Name  string
	Check func() error
}

// Ping is the check that says only that the server answers.
func Ping() Check { return Check{Name: "ping", Check: func() error { return nil }} }

// logPatience is how long a flush of the log may take before the log counts as blocked.
const logPatience = 2 * time.Second

// Log is the check that fails when the log cannot be written (a full pipe, a hung disk).
func Log() Check {
	l := &flushing{flush: klog.Flush, patience: logPatience}
	return Check{Name: "log", Check: l.check}
}

// flushing runs at most one flush at a time: a blocked log costs one goroutine, however often it is asked.
type flushing struct {
	flush    func()
	patience time.Duration
	mu       sync.Mutex
	running  chan struct{} // closed when the flush in flight has ended; nil when there is none
}

func (l *flushing) check() error {
	l.mu.Lock()
	done := l.running
	if done == nil {
		done = make(chan struct{})
		l.running = done
		go func() {
			l.flush()
			l.mu.Lock()
			l.running = nil
			l.mu.Unlock()
			close(done)
		}()
	}
	l.mu.Unlock()
	t := time.NewTimer(l.patience)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-t.C:
		return errors.New("logging blocked")
	}
}

// Install serves /healthz with all checks and /healthz/<name> with one. Query: verbose, exclude=<name>. The bodies are
// those of k8s.io/apiserver's healthz.
func Install(mux *http.ServeMux, checks ...Check) {
	all := func(w http.ResponseWriter, r *http.Request) { root(w, r, checks) }
	mux.HandleFunc("/healthz", all)
	mux.HandleFunc("/healthz/{$}", all)
	for _, c := range checks {
		mux.HandleFunc("/healthz/"+c.Name, func(w http.ResponseWriter, _ *http.Request) {
			if err := c.Check(); err != nil {
				http.Error(w, "internal server error: "+err.Error(), http.StatusInternalServerError)
				return
			}
			_, _ = w.Write([]byte("ok"))
		})
	}
}

// root answers for every check that is not excluded.
func root(w http.ResponseWriter, r *http.Request, checks []Check) {
	excluded := r.URL.Query()["exclude"]
	var out, failed strings.Builder
	for _, c := range checks {
		if slices.Contains(excluded, c.Name) {
			fmt.Fprintf(&out, "[+]%s excluded: ok\n", c.Name)
			continue
		}
		if err := c.Check(); err != nil {
			slis.ObserveHealthcheck(r.Context(), c.Name, "healthz", slis.Error)
			fmt.Fprintf(&out, "[-]%s failed: reason withheld\n", c.Name)
			fmt.Fprintf(&failed, "[-]%s failed: %v\n", c.Name, err)
			continue
		}
		slis.ObserveHealthcheck(r.Context(), c.Name, "healthz", slis.Success)
		fmt.Fprintf(&out, "[+]%s ok\n", c.Name)
	}
	if failed.Len() > 0 {
		klog.FromContext(r.Context()).V(2).Info("healthz check failed", "checks", failed.String())
		http.Error(w, out.String()+"healthz check failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, verbose := r.URL.Query()["verbose"]; !verbose {
		_, _ = w.Write([]byte("ok"))
		return
	}
	_, _ = w.Write([]byte(out.String() + "healthz check passed\n"))
}
