package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/component-base/metrics/legacyregistry"
)

// Register adds a collector to /metrics; two of the same name are a programming error and panic.
func (r *Recorder) Register(c prometheus.Collector) { r.registry.MustRegister(c) }

// Handler serves /metrics: Troupe's own, and what the Kubernetes libraries count (API client, Go runtime, process).
func (r *Recorder) Handler() http.Handler {
	return promhttp.HandlerFor(prometheus.Gatherers{r.registry, legacyregistry.DefaultGatherer}, options())
}

// ProbesHandler serves /metrics/probes.
func (r *Recorder) ProbesHandler() http.Handler { return promhttp.HandlerFor(r.probes, options()) }

func options() promhttp.HandlerOpts {
	return promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}
}
