package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// ServeResource answers /metrics/resource with one measurement; err says that it failed. What could not be measured is left
// out.
func ServeResource(w http.ResponseWriter, r *http.Request, sum *statsapi.Summary, err error) {
	reg := prometheus.NewRegistry()
	failed := gauge(reg, "resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise")
	gauge(reg, "scrape_error", "(Deprecated) 1 if there was an error while getting container metrics, 0 otherwise").Set(boolValue(err != nil))
	failed.Set(boolValue(err != nil))
	if sum != nil {
		reg.MustRegister(collector{collect: func(ch chan<- prometheus.Metric) { resource(sum, ch) }})
	}
	promhttp.HandlerFor(reg, options()).ServeHTTP(w, r)
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// resource turns a summary into the metrics of /metrics/resource, each with the time of its measurement.
func resource(sum *statsapi.Summary, ch chan<- prometheus.Metric) {
	send := func(t prometheus.ValueType, name, help string, at time.Time, v *uint64, scale float64, labels prometheus.Labels) {
		if v == nil {
			return
		}
		m := prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, labels), t, float64(*v)*scale)
		if !at.IsZero() {
			m = prometheus.NewMetricWithTimestamp(at, m)
		}
		ch <- m
	}
	of := func(prefix, what string, cpu *statsapi.CPUStats, mem *statsapi.MemoryStats, swap *statsapi.SwapStats, l prometheus.Labels) {
		if cpu != nil {
			send(prometheus.CounterValue, prefix+"_cpu_usage_seconds_total", "Cumulative cpu time consumed by the "+what+" in core-seconds", cpu.Time.Time, cpu.UsageCoreNanoSeconds, 1e-9, l)
		}
		if mem != nil {
			send(prometheus.GaugeValue, prefix+"_memory_working_set_bytes", "Current working set of the "+what+" in bytes", mem.Time.Time, mem.WorkingSetBytes, 1, l)
		}
		if swap != nil {
			send(prometheus.GaugeValue, prefix+"_swap_usage_bytes", "Current swap usage of the "+what+" in bytes. Reported only on non-windows systems", swap.Time.Time, swap.SwapUsageBytes, 1, l)
		}
	}
	of("node", "node", sum.Node.CPU, sum.Node.Memory, sum.Node.Swap, nil)
	for _, p := range sum.Pods {
		of("pod", "pod", p.CPU, p.Memory, p.Swap, prometheus.Labels{"pod": p.PodRef.Name, "namespace": p.PodRef.Namespace})
		for _, c := range p.Containers {
			l := prometheus.Labels{"container": c.Name, "pod": p.PodRef.Name, "namespace": p.PodRef.Namespace}
			of("container", "container", c.CPU, c.Memory, c.Swap, l)
			if c.Swap != nil && c.Swap.SwapUsageBytes != nil && c.Swap.SwapAvailableBytes != nil {
				limit := *c.Swap.SwapUsageBytes + *c.Swap.SwapAvailableBytes
				send(prometheus.GaugeValue, "container_swap_limit_bytes", "Current amount of the container swap limit in bytes. Reported only on non-windows systems", c.Swap.Time.Time, &limit, 1, l)
			}
			if !c.StartTime.IsZero() {
				ms := uint64(c.StartTime.UnixMilli())
				send(prometheus.GaugeValue, "container_start_time_seconds", "Start time of the container since unix epoch in seconds", time.Time{}, &ms, 1e-3, l)
			}
		}
	}
}
