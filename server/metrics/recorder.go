// Package metrics is what the node tells Prometheus: the kubelet's names where Troupe has the same thing to say, and
// troupe_* for actors and effect lanes. State is read when it is scraped; only what happened in between is counted as it
// happens. A name whose meaning Troupe does not have is left out rather than filled with something else.
package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Recorder counts what happens between scrapes. Its methods never block and are safe for concurrent use.
type Recorder struct {
	registry *prometheus.Registry
	probes   *prometheus.Registry

	opsTotal, opsErrors *prometheus.CounterVec
	opsDuration         *prometheus.HistogramVec
	sandboxDuration     *prometheus.HistogramVec
	sandboxErrors       *prometheus.CounterVec
	startedPods         prometheus.Counter
	startedPodErrors    prometheus.Counter
	userns              *usernsPods
	startedContainers   *prometheus.CounterVec
	terminated          *prometheus.CounterVec
	startErrors         *prometheus.CounterVec
	podStart            prometheus.Histogram
	podStartSLI         prometheus.Histogram
	podStartTotal       prometheus.Histogram
	statusSync          prometheus.Histogram
	lookDuration        prometheus.Histogram
	lookInterval        prometheus.Histogram
	lookLast            prometheus.Gauge
	eventsConnected     prometheus.Counter
	eventsFailed        prometheus.Counter
	eventsLatency       prometheus.Histogram
	pulls               *prometheus.HistogramVec
	rejections          *prometheus.CounterVec
	evictions           *prometheus.CounterVec
	probeTotal          *prometheus.CounterVec
	probeDuration       *prometheus.HistogramVec
	http                httpMetrics
}

// New returns a recorder for the named node. cgroupVersion is 1 or 2, 0 when unknown.
func New(nodeName string, cgroupVersion int) *Recorder {
	r := &Recorder{registry: prometheus.NewRegistry(), probes: prometheus.NewRegistry()}
	r.nodeMetrics(nodeName, cgroupVersion)
	r.runtimeMetrics()
	r.podMetrics()
	r.http = newHTTPMetrics(r.registry)
	r.probeMetrics()
	return r
}

func (r *Recorder) nodeMetrics(nodeName string, cgroupVersion int) {
	node := gaugeVec(r.registry, "kubelet_node_name", "The node's name. The count is always 1.", "node")
	node.WithLabelValues(nodeName).Set(1)
	if cgroupVersion > 0 {
		gauge(r.registry, "kubelet_cgroup_version", "cgroup version on the hosts.").Set(float64(cgroupVersion))
	}
	r.rejections = counterVec(r.registry, "kubelet_admission_rejections_total", "Pods that the node refused, by reason.", "reason")
	r.evictions = counterVec(r.registry, "kubelet_evictions", "Pods evicted, by eviction signal.", "eviction_signal")
}

func (r *Recorder) runtimeMetrics() {
	g := r.registry
	r.opsTotal = counterVec(g, "kubelet_runtime_operations_total", "Calls to the container runtime, by operation type.", "operation_type")
	r.opsErrors = counterVec(g, "kubelet_runtime_operations_errors_total", "Failed calls to the container runtime, by operation type.", "operation_type")
	// Buckets as the kubelet's: 5 ms to 12 min.
	r.opsDuration = histogramVec(g, "kubelet_runtime_operations_duration_seconds", "Duration of calls to the container runtime, by operation type.",
		prometheus.ExponentialBuckets(.005, 2.5, 14), "operation_type")
	r.sandboxDuration = histogramVec(g, "kubelet_run_podsandbox_duration_seconds", "Duration of RunPodSandbox, by runtime handler.", prometheus.DefBuckets, "runtime_handler")
	r.sandboxErrors = counterVec(g, "kubelet_run_podsandbox_errors_total", "Failures of RunPodSandbox, by runtime handler.", "runtime_handler")
	r.lookDuration = histogram(g, "kubelet_pleg_relist_duration_seconds", "Duration of full lists of the runtime.", prometheus.DefBuckets)
	r.lookInterval = histogram(g, "kubelet_pleg_relist_interval_seconds", "Time between full lists of the runtime.", prometheus.DefBuckets)
	r.lookLast = gauge(g, "kubelet_pleg_last_seen_seconds", "Unix time of the last full list of the runtime that succeeded.")
	r.eventsConnected = counter(g, "kubelet_evented_pleg_connection_success_count", "How often the runtime's event stream was opened.")
	r.eventsFailed = counter(g, "kubelet_evented_pleg_connection_error_count", "How often the runtime's event stream ended with an error.")
	r.eventsLatency = histogram(g, "kubelet_evented_pleg_connection_latency_seconds", "Delay between an event's timestamp and its arrival.", prometheus.DefBuckets)
	// Buckets as the kubelet's, by size of the image.
	r.pulls = histogramVec(g, "kubelet_image_pull_duration_seconds", "Duration of image pulls, by image size.",
		[]float64{1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600}, "image_size_in_bytes")
}

func (r *Recorder) podMetrics() {
	g := r.registry
	// Buckets as the kubelet's podStartupDurationBuckets: 0.5 s to 1 h.
	start := []float64{0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600}
	r.startedPods = counter(g, "kubelet_started_pods_total", "Pod sandboxes that were to be started.")
	r.startedPodErrors = counter(g, "kubelet_started_pods_errors_total", "Pod sandboxes that could not be started.")
	r.userns = newUsernsPods(g)
	r.startedContainers = counterVec(g, "kubelet_started_containers_total", "Containers started, by type.", "container_type")
	r.terminated = counterVec(g, "kubelet_terminated_containers_total", "Containers that have ended, by type, exit code and reason.", "container_type", "exit_code", "reason")
	r.startErrors = counterVec(g, "kubelet_started_containers_errors_total", "Containers that could not be started, by type and reason.", "container_type", "code")
	r.podStart = histogram(g, "kubelet_pod_start_duration_seconds", "Time from first sight of a pod to its containers running.", start)
	r.podStartSLI = histogram(g, "kubelet_pod_start_sli_duration_seconds", "Time from a pod's creation to its containers observed running, without image pulls and init containers.", start)
	r.podStartTotal = histogram(g, "kubelet_pod_start_total_duration_seconds", "Time from a pod's creation to its containers observed running.", start)
	r.statusSync = histogram(g, "kubelet_pod_status_sync_duration_seconds", "Time from a status change to the API server's acknowledgement.",
		[]float64{0.010, 0.050, 0.100, 0.500, 1, 5, 10, 20, 30, 45, 60})
}

func (r *Recorder) probeMetrics() {
	labels := []string{"probe_type", "container", "pod", "namespace", "pod_uid"}
	r.probeTotal = counterVec(r.probes, "prober_probe_total", "Probes of a container, by result.",
		append([]string{"result"}, labels...)...)
	r.probeDuration = histogramVec(r.probes, "prober_probe_duration_seconds", "Duration of probes.", prometheus.DefBuckets,
		"probe_type", "container", "pod", "namespace")
}

// PodStarted tells of a pod whose containers were first seen running at the given time. seen is when the agent first saw the
// pod, created its creation in the API, apart the time spent in image pulls and init containers.
func (r *Recorder) PodStarted(created, seen, running time.Time, apart time.Duration) {
	r.podStart.Observe(running.Sub(seen).Seconds())
	r.podStartTotal.Observe(running.Sub(created).Seconds())
	r.podStartSLI.Observe(max(0, running.Sub(created)-apart).Seconds())
}

// ContainerStarted tells of a start of a container. kind is container, init_container or ephemeral_container; code is the
// API reason of a failure, "" for success.
func (r *Recorder) ContainerStarted(kind, code string) {
	r.startedContainers.WithLabelValues(kind).Inc()
	if code != "" {
		r.startErrors.WithLabelValues(kind, code).Inc()
	}
}

// ContainerTerminated tells of the end of a container, with what its status says of it.
func (r *Recorder) ContainerTerminated(kind string, exitCode int32, reason string) {
	r.terminated.WithLabelValues(kind, strconv.Itoa(int(exitCode)), reason).Inc()
}

// StatusAcknowledged tells how long the API server took to hold a status, from the change on.
func (r *Recorder) StatusAcknowledged(took time.Duration) { r.statusSync.Observe(took.Seconds()) }

// FullLook tells of a full list of the runtime that succeeded at the given time. previous is the time of the one before,
// zero for none.
func (r *Recorder) FullLook(at, previous time.Time, took time.Duration) {
	r.lookDuration.Observe(took.Seconds())
	if !previous.IsZero() {
		r.lookInterval.Observe(at.Sub(previous).Seconds())
	}
	r.lookLast.Set(float64(at.UnixNano()) / 1e9)
}

// ImagePulled tells of a pull that succeeded. size is the image's size in bytes, 0 when unknown.
func (r *Recorder) ImagePulled(size int64, took time.Duration) {
	r.pulls.WithLabelValues(sizeRange(size)).Observe(took.Seconds())
}

// PodRejected tells of a pod that the node refused.
func (r *Recorder) PodRejected(reason string) { r.rejections.WithLabelValues(reason).Inc() }

// PodEvicted tells of an eviction; signal is e.g. memory.available.
func (r *Recorder) PodEvicted(signal string) { r.evictions.WithLabelValues(signal).Inc() }

// Probe names the container that is probed; Type is Liveness, Readiness or Startup.
type Probe struct{ Type, Container, Pod, Namespace, UID string }

func (p Probe) labels() prometheus.Labels {
	return prometheus.Labels{"probe_type": p.Type, "container": p.Container, "pod": p.Pod, "namespace": p.Namespace}
}

// Probed tells of one probe; result is successful, failed or unknown.
func (r *Recorder) Probed(p Probe, result string, took time.Duration) {
	r.probeTotal.WithLabelValues(result, p.Type, p.Container, p.Pod, p.Namespace, p.UID).Inc()
	r.probeDuration.With(p.labels()).Observe(took.Seconds())
}

// PodGone forgets the series of a pod that has ended.
func (r *Recorder) PodGone(namespace, name, uid string) {
	r.probeTotal.DeletePartialMatch(prometheus.Labels{"pod_uid": uid})
	r.probeDuration.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "pod": name})
}

// sizeRange is the kubelet's label for image sizes.
func sizeRange(size int64) string {
	const mib, gib = 1 << 20, 1 << 30
	steps := []struct {
		above int64
		name  string
	}{
		{100 * gib, "GT100GB"}, {60 * gib, "60GB-100GB"}, {40 * gib, "40GB-60GB"}, {30 * gib, "30GB-40GB"}, {20 * gib, "20GB-30GB"},
		{10 * gib, "10GB-20GB"}, {5 * gib, "5GB-10GB"}, {gib, "1GB-5GB"}, {500 * mib, "500MB-1GB"}, {100 * mib, "100MB-500MB"},
		{10 * mib, "10MB-100MB"}, {0, "0-10MB"},
	}
	for _, s := range steps {
		if size > s.above {
			return s.name
		}
	}
	return "N/A"
}
