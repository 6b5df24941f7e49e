package metrics

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// httpMetrics counts requests to the node API.
type httpMetrics struct {
	requests   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	inflight   *prometheus.GaugeVec
	websockets *prometheus.CounterVec
}

func newHTTPMetrics(r prometheus.Registerer) httpMetrics {
	labels := []string{"method", "path", "server_type", "long_running"}
	return httpMetrics{
		requests:   counterVec(r, "kubelet_http_requests_total", "Requests to the node API.", labels...),
		durations:  histogramVec(r, "kubelet_http_requests_duration_seconds", "Duration of requests to the node API.", prometheus.DefBuckets, labels...),
		inflight:   gaugeVec(r, "kubelet_http_inflight_requests", "Requests to the node API in progress.", labels...),
		websockets: counterVec(r, "kubelet_websocket_streaming_requests_total", "WebSocket requests for exec, attach and port-forward.", "subresource"),
	}
}

// WebSocket counts a WebSocket request.
func (r *Recorder) WebSocket(subresource string) {
	r.http.websockets.WithLabelValues(subresource).Inc()
}

// HTTP counts the requests that next serves. serverType is readwrite, readonly or socket. Labels come from fixed sets:
// nobody can make series by inventing paths.
func (r *Recorder) HTTP(serverType string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		path := pathBucket(req.URL.Path)
		long := path == "exec" || path == "attach" || path == "portForward" || path == "debug"
		labels := []string{methodBucket(req.Method), path, serverType, strconv.FormatBool(long)}
		r.http.requests.WithLabelValues(labels...).Inc()
		gauge := r.http.inflight.WithLabelValues(labels...)
		gauge.Inc()
		defer func(start time.Time) {
			gauge.Dec()
			r.http.durations.WithLabelValues(labels...).Observe(time.Since(start).Seconds())
		}(time.Now())
		next.ServeHTTP(w, req)
	})
}

// pathBucket is the first element of a known path, or two of /metrics/…; everything else is other.
func pathBucket(path string) string {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "metrics":
		switch second, _, _ := strings.Cut(rest, "/"); second {
		case "cadvisor", "probes", "resource", "slis":
			return "metrics/" + second
		case "":
			return first
		}
	case "healthz", "pods", "stats", "run", "exec", "attach", "portForward", "containerLogs", "configz", "runningpods",
		"checkpoint", "debug", "logs", "actors", "explain", "flagz", "statusz":
		return first
	}
	return "other"
}

func methodBucket(method string) string {
	switch method {
	case "OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT":
		return method
	}
	return "other"
}
