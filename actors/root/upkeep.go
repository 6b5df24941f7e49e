package root

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/troupe-dev/troupe/actors/garbage"
	"github.com/troupe-dev/troupe/actors/garbage/garbageplan"
	"github.com/troupe-dev/troupe/actors/image/pullrecords"
	"github.com/troupe-dev/troupe/actors/logrotate"
	"github.com/troupe-dev/troupe/actors/pod/sandboxspec"
	"github.com/troupe-dev/troupe/messages"
)

// upkeep are the actors that tidy up on the node's tick.
type upkeep struct {
	logs, garbage, images late
	// records are of pulled images; nil when none are kept.
	records *pullrecords.Store
}

// ticks are those that want the node's tick.
func (u *upkeep) ticks() []messages.Sink { return []messages.Sink{&u.logs, &u.garbage, &u.images} }

// startUpkeep makes the actors that tidy up. Its errors are about the configuration.
func (a *Agent) startUpkeep(d Deps, cfg Config) error {
	k := cfg.Kubelet
	size, err := resource.ParseQuantity(k.ContainerLogMaxSize)
	if err != nil {
		return fmt.Errorf("containerLogMaxSize: %w", err)
	}
	logDir := func(pod *v1.Pod) string { return sandboxspec.LogDir(k.PodLogsDir, pod) }
	lc := logrotate.Config{MaxSize: size.Value(), MaxFiles: 5, Workers: 1, Tick: k.NodeStatusUpdateFrequency.Duration, Interval: 10 * time.Second}
	if k.ContainerLogMaxFiles != nil {
		lc.MaxFiles = int(*k.ContainerLogMaxFiles)
	}
	if k.ContainerLogMaxWorkers != nil {
		lc.Workers = int(*k.ContainerLogMaxWorkers)
	}
	if k.ContainerLogMonitorInterval != nil {
		lc.Interval = k.ContainerLogMonitorInterval.Duration
	}
	a.upkeep.logs.set(a.System.Root("logs", logrotate.Kind, logrotate.New(
		logrotate.Deps{Runtime: d.Runtime, Runner: a.Runner, Pods: a.Table, LogDir: logDir, Logger: d.Logger}, lc)))
	gc := garbage.Config{Policy: garbageplan.Policy{MaxPerContainer: 1, MaxTotal: -1}, LogsRoot: k.PodLogsDir, LinksDir: cfg.LinksDir, CallTimeout: k.RuntimeRequestTimeout.Duration}
	if cfg.Garbage != nil {
		gc.Policy = *cfg.Garbage
	}
	a.upkeep.garbage.set(a.System.Root("garbage", garbage.Kind, garbage.New(garbage.Deps{
		Runtime: d.Runtime, Runner: a.Runner, Pods: a.Table, Ready: a.isSynced, Event: a.nodeEvent, Logger: d.Logger,
	}, gc)))
	a.startImageGC(d, cfg)
	return nil
}

// isSynced says whether every source has delivered and the runtime was listed.
func (a *Agent) isSynced() bool {
	select {
	case <-a.synced:
		return true
	default:
		return false
	}
}

// nodeEvent records an event on the node's object.
func (a *Agent) nodeEvent(kind, reason, message string) {
	a.Recorder().Event(a.Events.Node(), kind, reason, message)
}
