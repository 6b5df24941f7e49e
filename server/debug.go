package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strings"

	"k8s.io/component-base/logs"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
)

// debugRoutes look into the agent's process and the node's logs.
func (s *Server) debugRoutes(mux *http.ServeMux) {
	if s.deps.Configz != nil {
		handle(mux, "GET", "/configz", s.serveConfigz)
	}
	if s.cfg.EnableSystemLogHandler {
		files := http.StripPrefix("/logs/", http.FileServer(http.Dir(s.cfg.SystemLogDir)))
		mux.Handle("GET /logs/", files)
	} else {
		mux.HandleFunc("/logs/", disabled("logs endpoint is disabled."))
	}
	if s.cfg.EnableProfilingHandler {
		mux.HandleFunc("GET /debug/pprof/", profile)
		if s.cfg.EnableContentionProfiling {
			runtime.SetBlockProfileRate(1)
		}
	} else {
		mux.HandleFunc("/debug/pprof/", disabled("profiling endpoint is disabled."))
	}
	if s.cfg.EnableDebugFlagsHandler {
		mux.HandleFunc("/debug/flags/v", setVerbosity)
	} else {
		mux.HandleFunc("/debug/flags/v", disabled("flags endpoint is disabled."))
	}
}

// profile serves /debug/pprof/*.
func profile(w http.ResponseWriter, r *http.Request) {
	switch strings.TrimPrefix(r.URL.Path, "/debug/pprof/") {
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "cmdline":
		pprof.Cmdline(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
}

// setVerbosity changes the log level: PUT with the level as body.
func setVerbosity(w http.ResponseWriter, r *http.Request) {
	code, text := http.StatusNotAcceptable, "unsupported http method"
	if r.Method == http.MethodPut {
		body, err := io.ReadAll(io.LimitReader(r.Body, 64))
		if err == nil {
			text, err = logs.GlogSetter(string(body))
		}
		code = http.StatusOK
		if err != nil {
			code, text = http.StatusBadRequest, err.Error()
		}
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text)
}

// serveConfigz shows the configuration in effect. Headers of a static pod URL may hold credentials: their names are
// shown, their values are not.
func (s *Server) serveConfigz(w http.ResponseWriter, _ *http.Request) {
	cfg := s.deps.Configz()
	if c, ok := cfg.(*kubeletconfig.KubeletConfiguration); ok && len(c.StaticPodURLHeader) > 0 {
		c = c.DeepCopy()
		for name := range c.StaticPodURLHeader {
			c.StaticPodURLHeader[name] = []string{"<masked>"}
		}
		cfg = c
	}
	b, err := json.Marshal(map[string]any{"kubeletconfig": cfg})
	if err != nil {
		http.Error(w, "encode configuration: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b)
}
