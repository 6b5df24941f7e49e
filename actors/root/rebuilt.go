package root

import (
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/messages/runtimemsg"
	"github.com/troupe-dev/troupe/messages/statusmsg"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// again makes the sources deliver everything again.
type again struct {
	mu  sync.Mutex
	all []func()
}

func (g *again) add(resend func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, resend)
}

func (g *again) resend() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.all {
		f()
	}
}

// rootRestarted is called when an actor at the top of the tree has been built anew after a panic: what it was told before
// is told again by whoever knows it, and what it was asked is asked again. It runs in the topmost actor and waits for
// nothing.
func (a *Agent) rootRestarted(m spawn.Restarted) {
	switch m.Name {
	case "pods":
		a.again.resend()
		a.refs.runtime.Tell(runtimemsg.TellAgain{})
	case "status", "mirrors":
		a.again.resend()
	case "node":
		a.refs.runtime.Tell(runtimemsg.TellAgain{})
	}
	a.refs.pods.Tell(podsmsg.ToAll{Event: podmsg.OwnerRestarted{}})
}

// vanished is told of a pod that was there before /pods was built anew and is not any more.
func (a *Agent) vanished(uid model.UID) {
	a.refs.node.Tell(nodemsg.Release{UID: uid})
	a.refs.status.Tell(statusmsg.Forget{UID: uid})
	a.Table.Forget(uid)
}

// quarantined records an event about an actor that panicked repeatedly. What its pods show stays as it was last.
func (a *Agent) quarantined(q spawn.Quarantined) {
	const reason = "ActorQuarantined"
	if a.Events == nil {
		return
	}
	recorder, until := a.Recorder(), q.Until.Format(time.RFC3339)
	path := strings.Split(strings.Trim(q.Ref.Path(), "/"), "/")
	if len(path) > 2 {
		return // of a container: its pod records it
	}
	if len(path) == 2 && path[0] == "pods" {
		if pod, ok := a.Table.ByUID(model.UID(path[1])); ok {
			recorder.Eventf(pod, v1.EventTypeWarning, reason, "The actor of the pod failed repeatedly and rests until %s; what runs runs on", until)
			return
		}
	}
	recorder.Eventf(a.Events.Node(), v1.EventTypeWarning, reason, "The actor %s failed repeatedly and rests until %s; what runs runs on", q.Ref.Path(), until)
}
