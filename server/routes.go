package server

import (
	"net/http"
	"strings"

	"k8s.io/component-base/metrics/prometheus/slis"

	"github.com/troupe-dev/troupe/server/health"
)

// secureHandler is everything, for those who may.
func (s *Server) secureHandler() http.Handler {
	mux := http.NewServeMux()
	s.publicRoutes(mux)
	if s.cfg.EnableDebuggingHandlers {
		s.workloadRoutes(mux)
		s.debugRoutes(mux)
	} else {
		s.disabledRoutes(mux)
	}
	s.inspectRoutes(mux)
	mux.HandleFunc("GET /actors/ui", s.inspect.ServePage)
	return access(s.deps.Metrics.HTTP("readwrite", s.auth.Filter(mux, inspection)))
}

// inspection says whether a path is never for senders without credentials.
func inspection(path string) bool {
	for _, p := range []string{"/actors", "/explain"} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// readOnlyHandler is what the kubelet shows to everybody where the read-only port is configured.
func (s *Server) readOnlyHandler() http.Handler {
	mux := http.NewServeMux()
	s.publicRoutes(mux)
	return access(s.deps.Metrics.HTTP("readonly", mux))
}

// healthHandler is only /healthz.
func (s *Server) healthHandler() http.Handler {
	mux := http.NewServeMux()
	health.Install(mux, s.checks...)
	return access(mux)
}

// socketHandler is for root on this machine: what the command line asks for.
func (s *Server) socketHandler() http.Handler {
	mux := http.NewServeMux()
	s.publicRoutes(mux)
	s.workloadRoutes(mux)
	s.inspectRoutes(mux)
	if s.deps.Local != nil {
		s.deps.Local(mux)
	}
	return access(s.deps.Metrics.HTTP("socket", mux))
}

// publicRoutes are those that the read-only port has too.
func (s *Server) publicRoutes(mux *http.ServeMux) {
	health.Install(mux, s.checks...)
	slis.SLIMetricsWithReset{}.Install(mux)
	handle(mux, "GET", "/pods", s.servePods)
	mux.Handle("/metrics", s.deps.Metrics.Handler())
	mux.Handle("/metrics/probes", s.deps.Metrics.ProbesHandler())
	mux.HandleFunc("/metrics/resource", s.serveResourceMetrics)
	mux.HandleFunc("GET /stats/summary", s.serveSummary)
	mux.HandleFunc("POST /stats/summary", s.serveSummary)
}

// workloadRoutes reach into containers.
func (s *Server) workloadRoutes(mux *http.ServeMux) {
	const container, withUID = "/{namespace}/{pod}/{container}", "/{namespace}/{pod}/{uid}/{container}"
	mux.Handle("GET /containerLogs"+container, s.logs)
	handle(mux, "GET", "/runningpods", s.serveRunningPods)
	for _, path := range []string{container, withUID} {
		mux.HandleFunc("POST /run"+path, s.stream.Run)
		for _, method := range []string{"GET ", "POST "} {
			mux.HandleFunc(method+"/exec"+path, s.stream.Exec)
			mux.HandleFunc(method+"/attach"+path, s.stream.Attach)
		}
	}
	for _, method := range []string{"GET ", "POST "} {
		mux.HandleFunc(method+"/portForward/{namespace}/{pod}", s.stream.PortForward)
		mux.HandleFunc(method+"/portForward/{namespace}/{pod}/{uid}", s.stream.PortForward)
	}
	mux.HandleFunc("POST /checkpoint"+container, s.stream.Checkpoint)
}

// inspectRoutes show the actors.
func (s *Server) inspectRoutes(mux *http.ServeMux) {
	handle(mux, "GET", "/actors", s.inspect.ServeActors)
	mux.HandleFunc("GET /explain/{namespace}/{pod}", s.inspect.ServeExplain)
}

// disabledRoutes say why they do not answer, where enableDebuggingHandlers is off.
func (s *Server) disabledRoutes(mux *http.ServeMux) {
	for _, p := range []string{"/run/", "/exec/", "/attach/", "/portForward/", "/containerLogs/", "/runningpods/", "/debug/pprof/", "/logs/"} {
		mux.HandleFunc(p, disabled("Debug endpoints are disabled."))
	}
}

// disabled answers 405 with the reason.
func disabled(why string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, why, http.StatusMethodNotAllowed) }
}

// handle serves a path with and without a slash at its end.
func handle(mux *http.ServeMux, method, path string, h http.HandlerFunc) {
	mux.HandleFunc(method+" "+path, h)
	mux.HandleFunc(method+" "+path+"/{$}", h)
}
