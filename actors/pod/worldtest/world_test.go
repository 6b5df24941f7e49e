package worldtest

import (
	"container/heap"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// world is everything outside the plans: time, chance, the runtime, the API server and the other actors.
type world struct {
	entropy []byte
	pos     int

	now   time.Time
	queue queue
	seq   int
	at    map[string]time.Time // last delivery on each way, so that messages of one sender stay in order

	rt    *fakeRuntime
	api   *v1.Pod // the object as the API server has it; nil once it is gone
	first *v1.Pod
	agent *agent
	// quiet is when faults end at the latest.
	quiet time.Time

	steps, sameMoment int
	verbose           bool
	log               []string
	started           map[string]bool              // names that ever ran
	succeeded         map[string]bool              // names that ever exited with 0
	exits             map[model.ContainerID]int32  // codes of all that ended
	probed            map[model.ContainerID]bool   // instances whose readiness probe succeeded
	fresh             map[model.ContainerID]string // for the log
	deletedAt         time.Time
	apiDown           bool
	finished          bool
}

type violation struct{ text string }

// maxSteps bounds the work of one world, maxAtOnce what may happen at one moment.
const (
	maxSteps  = 60000
	maxAtOnce = 3000
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld(entropy []byte) *world {
	w := &world{
		entropy: entropy, now: epoch, quiet: epoch.Add(5 * time.Minute), at: map[string]time.Time{}, started: map[string]bool{}, succeeded: map[string]bool{},
		exits: map[model.ContainerID]int32{}, probed: map[model.ContainerID]bool{},
	}
	w.rt = &fakeRuntime{w: w, reserved: map[string]bool{}, orphans: map[model.SandboxID]bool{}}
	return w
}

func (w *world) uid() types.UID { return w.first.UID }

// calm says that the faults are over.
func (w *world) calm() bool { return w.pos >= len(w.entropy) || !w.now.Before(w.quiet) }

// pick draws one of n; 0, the harmless choice, once the faults are over.
func (w *world) pick(n int) int {
	if n <= 1 || w.calm() {
		return 0
	}
	b := int(w.entropy[w.pos])
	w.pos++
	if n > 256 {
		b = b*256 + w.pick(256)
	}
	return b % n
}

// chance is true in so many of a hundred cases.
func (w *world) chance(percent int) bool { return w.pick(100) >= 100-percent }

func (w *world) latency() time.Duration {
	return []time.Duration{0, 0, time.Millisecond, 5 * time.Millisecond, 30 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second}[w.pick(7)]
}

func (w *world) note(format string, args ...any) {
	if !w.verbose {
		return
	}
	if len(w.log) > 4000 {
		w.log = append(w.log[:0], w.log[2000:]...)
	}
	w.log = append(w.log, fmt.Sprintf("%10.3f ", w.now.Sub(epoch).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	panic(violation{fmt.Sprintf(format, args...)})
}

type item struct {
	at  time.Time
	seq int
	fn  func()
}

type queue []item

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(item)) }
func (q *queue) Pop() any {
	old := *q
	it := old[len(old)-1]
	*q = old[:len(old)-1]
	return it
}

func (w *world) after(d time.Duration, fn func()) {
	w.seq++
	heap.Push(&w.queue, item{w.now.Add(d), w.seq, fn})
}

// send delivers a message; messages on one way stay in order.
func (w *world) send(way string, d time.Duration, fn func()) {
	at := w.now.Add(d)
	if last := w.at[way]; at.Before(last) {
		at = last
	}
	w.at[way] = at
	w.seq++
	heap.Push(&w.queue, item{at, w.seq, fn})
}

// hop is how long a message between two actors takes.
func (w *world) hop() time.Duration {
	return []time.Duration{0, 0, 0, 0, time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond}[w.pick(7)]
}

// run lets time pass until the moment, or until done.
func (w *world) run(until time.Time, done func() bool) {
	for len(w.queue) > 0 && !done() {
		it := w.queue[0]
		if it.at.After(until) {
			break
		}
		heap.Pop(&w.queue)
		if it.at.After(w.now) {
			w.now, w.sameMoment = it.at, 0
		}
		it.fn()
		w.steps++
		w.sameMoment++
		if w.steps > maxSteps {
			w.fail("too many steps")
		}
		if w.sameMoment > maxAtOnce {
			w.fail("it spins: %d steps at one moment", w.sameMoment)
		}
	}
	if w.now.Before(until) && !done() {
		w.now, w.sameMoment = until, 0
	}
}

// announce is the runtime's event stream: late, twice, or never.
func (w *world) announce(id model.ContainerID) {
	at := w.now
	for range 1 + w.pick(5)/4 {
		if w.chance(12) {
			continue
		}
		w.after(w.latency(), func() { w.agent.tellPod("events", podmsg.Dirty{Container: id, At: at}) })
	}
}

// slowList is the node's own tick: every pod is shown what a list has of it, sometimes late.
func (w *world) slowList() {
	w.after(10*time.Second, w.slowList)
	o, at := w.rt.observed(), w.now
	w.after(w.latency()*time.Duration(1+w.pick(4)), func() { w.agent.list(o, at) })
}

// change writes the API object and lets the source deliver it.
func (w *world) change(statusOnly bool, edit func(*v1.Pod)) {
	if w.api == nil {
		return
	}
	pod := w.api.DeepCopy()
	edit(pod)
	w.api = pod
	w.deliver(pod, statusOnly)
}

func (w *world) deliver(pod *v1.Pod, statusOnly bool) {
	w.send("source", w.hop(), func() { w.agent.desired(pod, statusOnly) })
}

// remove takes the object out of the API: the source no longer has it.
func (w *world) remove() {
	if w.api == nil {
		return
	}
	w.api = nil
	w.note("api: the object is gone")
	w.send("source", w.hop(), func() { w.agent.sourceGone() })
}

func (w *world) askDelete(grace int64) {
	if w.api == nil {
		return
	}
	w.note("api: delete with grace %d", grace)
	w.change(false, func(p *v1.Pod) {
		if p.DeletionGracePeriodSeconds != nil {
			if grace >= *p.DeletionGracePeriodSeconds {
				return
			}
		} else {
			p.Generation++
		}
		t := p.CreationTimestamp
		t.Time = w.now.Add(time.Duration(grace) * time.Second)
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &t, &grace
	})
	if w.deletedAt.IsZero() {
		w.deletedAt = w.now
	}
}

func (w *world) tail(n int) string {
	return strings.Join(w.log[max(0, len(w.log)-n):], "\n")
}
