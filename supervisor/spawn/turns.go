package spawn

import (
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

const (
	// throughput is how many messages an actor takes before it lets other goroutines run: the library's default.
	throughput = 300
	// restingMost is how many goroutines are kept for later turns. Each holds the stack that it has grown.
	restingMost = 16
	// restMost bounds for how long they are kept, so that an idle agent has none.
	restMost = time.Second
)

// turns runs actors' turns, each on a goroutine of its own, and keeps goroutines that have ended one for the next: a turn
// that begins on a new goroutine first grows its stack to the depth of a plan. In profiles of 500 pods that came and went
// this was a twentieth of the agent's CPU; a message to a resting actor costs 2 instead of 8 µs (BenchmarkTurns). How many
// turns run at a time is not bounded: an actor that does not return from one holds up nobody.
type turns struct {
	mu      sync.Mutex
	resting []*rester // the last one that came to rest is used first
	timed   bool      // a timer will send the resting ones away
	over    bool      // none rests any more
}

var _ actor.Dispatcher = (*turns)(nil)

// rester is a goroutine that waits for a turn; nil sends it away.
type rester struct{ next chan func() }

// Throughput implements actor.Dispatcher.
func (*turns) Throughput() int { return throughput }

// Schedule implements actor.Dispatcher.
func (t *turns) Schedule(turn func()) {
	t.mu.Lock()
	n := len(t.resting) - 1
	if n < 0 {
		t.mu.Unlock()
		go t.run(turn)
		return
	}
	r := t.resting[n]
	t.resting[n] = nil
	t.resting = t.resting[:n]
	t.mu.Unlock()
	r.next <- turn
}

func (t *turns) run(turn func()) {
	r := &rester{next: make(chan func(), 1)}
	for turn != nil {
		turn()
		if !t.rest(r) {
			return
		}
		turn = <-r.next
	}
}

// rest says whether r is to wait for another turn.
func (t *turns) rest(r *rester) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || len(t.resting) == restingMost {
		return false
	}
	t.resting = append(t.resting, r)
	if !t.timed {
		t.timed = true
		time.AfterFunc(restMost, t.leave)
	}
	return true
}

// leave sends all resting goroutines away, also those that came just now: a second's burst has enough turns to make up
// for 16 new ones.
func (t *turns) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timed = false
	t.dismiss()
}

// end leaves no goroutine resting. Turns may still be scheduled: actors end after the last of them has been told to.
func (t *turns) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.dismiss()
}

func (t *turns) dismiss() {
	for i, r := range t.resting {
		r.next <- nil
		t.resting[i] = nil
	}
	t.resting = t.resting[:0]
}
