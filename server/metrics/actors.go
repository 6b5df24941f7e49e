package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-dev/troupe/supervisor/registry"
)

// Actors shows the tree of actors.
type Actors interface {
	Snapshot() registry.Tree
	Stuck(now time.Time, threshold time.Duration) []registry.Node
}

// stuckAfter is how long a message may be in hand: handlers never wait.
const stuckAfter = 10 * time.Second

// ActorState collects the tree of actors when it is scraped, summed up by kind: series for each actor would grow with
// the pods that ever ran.
func ActorState(a Actors) prometheus.Collector {
	return collector{describe: actorDescs(), collect: func(ch chan<- prometheus.Metric) {
		collectActors(a.Snapshot(), len(a.Stuck(time.Now(), stuckAfter)), ch)
	}}
}

// Indexes into actorDescs.
const (
	dActors = iota
	dMailbox
	dMailboxMax
	dWaitMax
	dHandled
	dBusy
	dRestarts
	dPanics
	dQuarantined
	dStuck
)

func actorDescs() []*prometheus.Desc {
	return []*prometheus.Desc{
		desc("troupe_actors", "Actors by kind and state.", "kind", "state"),
		desc("troupe_actor_mailbox_messages", "Messages that wait, by kind of actor.", "kind"),
		desc("troupe_actor_mailbox_messages_max", "Messages that wait in the fullest mailbox of a kind.", "kind"),
		desc("troupe_actor_mailbox_wait_seconds_max", "Longest time that the newest message of an actor of this kind has waited.", "kind"),
		desc("troupe_actor_messages_handled", "Messages handled by the actors that exist now; falls when one ends.", "kind"),
		desc("troupe_actor_busy_seconds", "Time spent in handlers by the actors that exist now; falls when one ends.", "kind"),
		desc("troupe_actor_restarts", "Restarts of the actors that exist now.", "kind"),
		desc("troupe_actor_panics", "Panics of the actors that exist now.", "kind"),
		desc("troupe_actors_quarantined", "Actors that are not built anew because they panicked too often.", "kind"),
		desc("troupe_actors_stuck", "Actors that have had one message in hand for too long."),
	}
}

// sums is what is told of one kind.
type sums struct {
	states                        map[string]int
	mailbox, deepest              int
	waited, busy                  time.Duration
	handled                       uint64
	restarts, panics, quarantined int
}

func (s *sums) add(n registry.Node, now time.Time) {
	s.states[n.State]++
	s.mailbox += n.Mailbox
	s.deepest = max(s.deepest, n.Mailbox)
	s.waited = max(s.waited, n.Waited)
	s.busy += n.Busy
	s.handled += n.Handled
	s.restarts += n.Restarts
	s.panics += n.Panics
	if n.QuarantinedUntil != nil && n.QuarantinedUntil.After(now) {
		s.quarantined++
	}
}

func collectActors(t registry.Tree, stuck int, ch chan<- prometheus.Metric) {
	kinds := map[string]*sums{}
	var walk func([]registry.Node)
	walk = func(nodes []registry.Node) {
		for _, n := range nodes {
			s := kinds[n.Kind]
			if s == nil {
				s = &sums{states: map[string]int{}}
				kinds[n.Kind] = s
			}
			s.add(n, t.At)
			walk(n.Children)
		}
	}
	walk(t.Roots)
	d := actorDescs()
	gauge := func(i int, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d[i], prometheus.GaugeValue, v, labels...)
	}
	for kind, s := range kinds {
		for state, n := range s.states {
			gauge(dActors, float64(n), kind, state)
		}
		gauge(dMailbox, float64(s.mailbox), kind)
		gauge(dMailboxMax, float64(s.deepest), kind)
		gauge(dWaitMax, s.waited.Seconds(), kind)
		gauge(dHandled, float64(s.handled), kind)
		gauge(dBusy, s.busy.Seconds(), kind)
		gauge(dRestarts, float64(s.restarts), kind)
		gauge(dPanics, float64(s.panics), kind)
		gauge(dQuarantined, float64(s.quarantined), kind)
	}
	gauge(dStuck, float64(stuck))
}
