package load

import (
	"sync"
	"time"
)

// Tracker keeps the times of every pod: when the bench asked and when it saw the answer. It is safe for concurrent use.
// What it is told about pods that it does not know is ignored.
type Tracker struct {
	mu     sync.Mutex
	pods   map[string]*pod
	writes uint64
	flips  uint64
}

type pod struct {
	uid                      string
	create, delete           time.Time
	readyAt, goneAt          time.Time
	isReady                  bool
	ready, gone              chan struct{} // closed at readyAt and goneAt
	createPhase, deletePhase int
}

// NewTracker makes a tracker that knows no pods.
func NewTracker() *Tracker { return &Tracker{pods: map[string]*pod{}} }

// Seen is told about each change of a pod's object that the target sees: one write by somebody.
func (t *Tracker) Seen(name, uid string, ready bool, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pods[name]
	if p == nil {
		return
	}
	p.uid = uid
	t.writes++
	if p.isReady && !ready && p.delete.IsZero() {
		t.flips++
	}
	p.isReady = ready
	if ready && p.readyAt.IsZero() {
		p.readyAt = at
		close(p.ready)
	}
}

// Gone is told when a pod's object has gone.
func (t *Tracker) Gone(name string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pods[name]
	if p == nil || !p.goneAt.IsZero() {
		return
	}
	t.writes++
	p.goneAt = at
	close(p.gone)
}

// created notes that a pod is about to be asked for.
func (t *Tracker) created(name string, phase int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pods[name] = &pod{create: time.Now(), ready: make(chan struct{}), gone: make(chan struct{}), createPhase: phase, deletePhase: -1}
}

// deleted notes that a pod is about to be deleted.
func (t *Tracker) deleted(name string, phase int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.pods[name]; p != nil {
		p.delete, p.deletePhase = time.Now(), phase
	}
}

// awaited returns the channels that are closed when the pod is Ready and gone.
func (t *Tracker) awaited(name string) (ready, gone <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pods[name]
	return p.ready, p.gone
}

// counters are the writes to pod objects and the turns from Ready to not Ready of pods that nobody deleted.
func (t *Tracker) counters() (writes, flips uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.writes, t.flips
}

// alive lists the pods that have not been deleted, oldest first.
func (t *Tracker) alive(order []string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, name := range order {
		if p := t.pods[name]; p != nil && p.delete.IsZero() {
			out = append(out, name)
		}
	}
	return out
}

// times are the latencies of one phase.
type times struct {
	ready, gone []time.Duration
	// inReady and inGone are the parts of them that CRI calls were in flight; of the same pods rest is what is left.
	inReady, inGone, restReady, restGone []time.Duration
	first, last                          time.Time
	missing                              []string
}

// phase collects the latencies of the pods that were created or deleted in it. runtime is by UID and may be nil. A pod that
// was both created and deleted in the phase is left out of the split.
func (t *Tracker) phase(n int, runtime map[string]time.Duration) times {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out times
	span := func(from, to time.Time) time.Duration {
		if out.first.IsZero() || from.Before(out.first) {
			out.first = from
		}
		if to.After(out.last) {
			out.last = to
		}
		return to.Sub(from)
	}
	for name, p := range t.pods {
		in, known := runtime[p.uid]
		known = known && (p.createPhase == n) != (p.deletePhase == n)
		if p.createPhase == n {
			if p.readyAt.IsZero() {
				out.missing = append(out.missing, name)
			} else {
				d := span(p.create, p.readyAt)
				out.ready = append(out.ready, d)
				if known {
					out.inReady, out.restReady = append(out.inReady, min(in, d)), append(out.restReady, max(0, d-in))
				}
			}
		}
		if p.deletePhase == n {
			if p.goneAt.IsZero() {
				out.missing = append(out.missing, name)
			} else {
				d := span(p.delete, p.goneAt)
				out.gone = append(out.gone, d)
				if known {
					out.inGone, out.restGone = append(out.inGone, min(in, d)), append(out.restGone, max(0, d-in))
				}
			}
		}
	}
	return out
}
