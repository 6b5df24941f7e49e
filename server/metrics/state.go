package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/supervisor/runner"
)

// Pods lists the pods with the newest status that this agent built.
type Pods interface{ List() []*v1.Pod }

// Effects shows what the effect runner does.
type Effects interface{ Snapshot() runner.Snapshot }

// PodState collects the gauges of pods when they are scraped.
func PodState(pods Pods) prometheus.Collector {
	return collector{describe: podDescs(), collect: func(ch chan<- prometheus.Metric) { collectPods(pods.List(), ch) }}
}

// EffectState collects the lanes of the effect runner when they are scraped.
func EffectState(e Effects) prometheus.Collector {
	return collector{describe: laneDescs(), collect: func(ch chan<- prometheus.Metric) { collectLanes(e.Snapshot(), ch) }}
}

// collector makes metrics from state at the moment of a scrape.
type collector struct {
	describe []*prometheus.Desc
	collect  func(chan<- prometheus.Metric)
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.describe {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) { c.collect(ch) }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Indexes into podDescs.
const (
	dRunningPods = iota
	dRunningContainers
	dDesiredPods
	dActivePods
	dMirrorPods
)

func podDescs() []*prometheus.Desc {
	return []*prometheus.Desc{
		desc("kubelet_running_pods", "Pods that have a running sandbox."),
		desc("kubelet_running_containers", "Containers by state.", "container_state"),
		desc("kubelet_desired_pods", "Pods that the node was told to run.", "static"),
		desc("kubelet_active_pods", "Pods that are not terminal.", "static"),
		desc("kubelet_mirror_pods", "Static pods, each of which has a mirror in the API."),
	}
}

// collectPods counts by the pods' statuses.
func collectPods(pods []*v1.Pod, ch chan<- prometheus.Metric) {
	d := podDescs()
	running := 0
	states := map[string]int{"created": 0, "running": 0, "exited": 0, "unknown": 0}
	desired, active := map[string]int{"true": 0, "false": 0}, map[string]int{"true": 0, "false": 0}
	for _, p := range pods {
		static := "false"
		if p.Annotations["kubernetes.io/config.source"] != "" && p.Annotations["kubernetes.io/config.source"] != "api" {
			static = "true"
		}
		desired[static]++
		if p.Status.Phase != v1.PodSucceeded && p.Status.Phase != v1.PodFailed {
			active[static]++
		}
		if hasSandbox(p) {
			running++
		}
		for _, list := range [][]v1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
			for i := range list {
				switch st := list[i].State; {
				case st.Running != nil:
					states["running"]++
				case st.Terminated != nil:
					states["exited"]++
				}
			}
		}
	}
	ch <- prometheus.MustNewConstMetric(d[dRunningPods], prometheus.GaugeValue, float64(running))
	for s, n := range states {
		if n > 0 || s == "running" {
			ch <- prometheus.MustNewConstMetric(d[dRunningContainers], prometheus.GaugeValue, float64(n), s)
		}
	}
	for _, s := range []string{"true", "false"} {
		ch <- prometheus.MustNewConstMetric(d[dDesiredPods], prometheus.GaugeValue, float64(desired[s]), s)
		ch <- prometheus.MustNewConstMetric(d[dActivePods], prometheus.GaugeValue, float64(active[s]), s)
	}
	ch <- prometheus.MustNewConstMetric(d[dMirrorPods], prometheus.GaugeValue, float64(desired["true"]))
}

// hasSandbox says whether the status shows a sandbox that stands.
func hasSandbox(p *v1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReadyToStartContainers {
			return c.Status == v1.ConditionTrue
		}
	}
	return p.Status.Phase == v1.PodRunning
}

// Indexes into laneDescs.
const (
	dWidth = iota
	dInFlight
	dQueued
	dOverdue
	dEffects
	dEffectErrors
	dEffectSeconds
	dEffectPanics
)

func laneDescs() []*prometheus.Desc {
	return []*prometheus.Desc{
		desc("troupe_lane_width", "How many effects a lane runs at once now.", "lane"),
		desc("troupe_lane_running", "Effects in progress, overdue ones included.", "lane"),
		desc("troupe_lane_queued", "Effects that wait for their turn.", "lane"),
		desc("troupe_lane_overdue", "Effects in progress that have outlived what is usual.", "lane"),
		desc("troupe_effects_total", "Effects that have ended.", "lane", "op"),
		desc("troupe_effect_errors_total", "Effects that failed.", "lane", "op"),
		desc("troupe_effect_duration_seconds", "Duration of effects, without the time in the queue.", "lane", "op"),
		desc("troupe_effect_panics_total", "Panics in effects."),
	}
}

func collectLanes(s runner.Snapshot, ch chan<- prometheus.Metric) {
	d := laneDescs()
	gauge := func(i int, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d[i], prometheus.GaugeValue, v, labels...)
	}
	for _, l := range s.Lanes {
		lane := string(l.Lane)
		gauge(dWidth, float64(l.Width), lane)
		gauge(dInFlight, float64(l.Running), lane)
		gauge(dQueued, float64(l.Queued), lane)
		gauge(dOverdue, float64(l.Overdue), lane)
		for _, op := range l.Ops {
			ch <- prometheus.MustNewConstMetric(d[dEffects], prometheus.CounterValue, float64(op.Count), lane, op.Op)
			ch <- prometheus.MustNewConstMetric(d[dEffectErrors], prometheus.CounterValue, float64(op.Errors), lane, op.Op)
			ch <- prometheus.MustNewConstHistogram(d[dEffectSeconds], uint64(op.Count), op.Sum.Seconds(), coarse(op.Buckets), lane, op.Op)
		}
	}
	ch <- prometheus.MustNewConstMetric(d[dEffectPanics], prometheus.CounterValue, float64(s.Panics))
}

// coarse sums the runner's fine buckets up into few: a series for each of fifty buckets of each op would cost more than
// it tells. A fine bucket counts where its upper edge lies.
func coarse(fine []runner.Bucket) map[float64]uint64 {
	edges := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 600}
	out := make(map[float64]uint64, len(edges))
	for _, e := range edges {
		out[e] = 0
		for _, b := range fine {
			if b.UpTo.Seconds() <= e {
				out[e] += uint64(b.Count)
			}
		}
	}
	return out
}
