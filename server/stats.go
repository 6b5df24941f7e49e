package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/troupe-dev/troupe/server/metrics"
)

// Stats measures the node and its pods now, from the kernel's own files; nothing is sampled between requests.
type Stats interface {
	// Summary measures everything, or only CPU and memory, which is much cheaper.
	Summary(ctx context.Context, onlyCPUAndMemory bool) (*statsapi.Summary, error)
}

// serveSummary answers /stats/summary.
func (s *Server) serveSummary(w http.ResponseWriter, r *http.Request) {
	if s.deps.Stats == nil {
		http.Error(w, "this node has no statistics", http.StatusNotImplemented)
		return
	}
	only, _ := strconv.ParseBool(r.FormValue("only_cpu_and_memory"))
	sum, err := s.deps.Stats.Summary(r.Context(), only)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	_ = e.Encode(sum)
}

// serveResourceMetrics answers /metrics/resource from one measurement.
func (s *Server) serveResourceMetrics(w http.ResponseWriter, r *http.Request) {
	if s.deps.Stats == nil {
		http.Error(w, "this node has no statistics", http.StatusNotImplemented)
		return
	}
	sum, err := s.deps.Stats.Summary(r.Context(), true)
	metrics.ServeResource(w, r, sum, err)
}
