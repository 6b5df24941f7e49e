package sim

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// Outcome is how a scripted call ends. The family is sealed.
type Outcome interface{ outcome() }

// Kind is an outcome without parameters.
type Kind int

// The outcomes without parameters.
const (
	// OK is a call as if there were no script.
	OK Kind = iota
	// Unavailable fails at once and does nothing.
	Unavailable
	// Hang does nothing until the rule is released (then it goes on as OK) or the caller gives up.
	Hang
	// LostReply does the work and then fails as a broken connection does.
	LostReply
	// LateReply does the work and then keeps the answer back until the rule is released or the caller gives up.
	LateReply
)

type (
	// Fail takes the call's time, does nothing and returns this error.
	Fail struct {
		Code    codes.Code
		Message string
	}
	// Delay takes this much longer.
	Delay time.Duration
	// Stall takes this much longer and does the work even when the caller has given up long since: the way in which
	// names stay reserved behind a timeout.
	Stall time.Duration
)

func (Kind) outcome()  {}
func (Fail) outcome()  {}
func (Delay) outcome() {}
func (Stall) outcome() {}

// Match selects calls; empty fields match all.
type Match struct {
	UID, Pod, Container string // pod UID, pod name, container name; of a pull Container is the image
}

func (m Match) matches(c call) bool {
	return (m.UID == "" || m.UID == c.UID) && (m.Pod == "" || m.Pod == c.Pod) && (m.Container == "" || m.Container == c.Container)
}

// Rule is a script in force.
type Rule struct {
	op       string
	match    Match
	always   bool
	outcomes []Outcome

	mu       sync.Mutex
	next     int
	hits     int
	changed  chan struct{} // closed and replaced at every hit
	released chan struct{}
}

// Release lets every call go on that Hang or LateReply holds, and ends the rule.
func (u *Rule) Release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	select {
	case <-u.released:
	default:
		close(u.released)
	}
	u.always, u.next = false, len(u.outcomes)
}

// Hits counts the calls that the rule has decided.
func (u *Rule) Hits() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.hits
}

// Wait waits until the rule has decided n calls: then the n-th is in flight, or over.
func (u *Rule) Wait(ctx context.Context, n int) error {
	for {
		u.mu.Lock()
		hits, changed := u.hits, u.changed
		u.mu.Unlock()
		if hits >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (u *Rule) take() (Outcome, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.always && u.next >= len(u.outcomes) {
		return nil, false
	}
	u.hits++
	close(u.changed)
	u.changed = make(chan struct{})
	if u.always {
		return u.outcomes[0], true
	}
	u.next++
	return u.outcomes[u.next-1], true
}

func (u *Rule) spent() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.always && u.next >= len(u.outcomes)
}

type scripts struct {
	mu    sync.RWMutex
	rules []*Rule
}

// Script decides the next calls of an operation (its CRI name; "" for every operation), one outcome after the other.
func (r *Runtime) Script(op string, outcomes ...Outcome) *Rule {
	return r.ScriptFor(Match{}, op, outcomes...)
}

// ScriptFor is Script for some pods or containers. The rule that was added first decides first.
func (r *Runtime) ScriptFor(m Match, op string, outcomes ...Outcome) *Rule {
	return r.scripts.add(&Rule{op: op, match: m, outcomes: outcomes, changed: make(chan struct{}), released: make(chan struct{})})
}

// Always decides every call of an operation until the rule is released.
func (r *Runtime) Always(m Match, op string, outcome Outcome) *Rule {
	return r.scripts.add(&Rule{op: op, match: m, always: true, outcomes: []Outcome{outcome}, changed: make(chan struct{}), released: make(chan struct{})})
}

func (s *scripts) add(u *Rule) *Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.rules[:0:0]
	for _, old := range s.rules {
		if !old.spent() {
			kept = append(kept, old)
		}
	}
	s.rules = append(kept, u)
	return u
}

// decide returns the outcome of a call and its rule, which is nil where no script applies.
func (s *scripts) decide(c call) (Outcome, *Rule) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, u := range s.rules {
		if (u.op != "" && u.op != c.op) || !u.match.matches(c) {
			continue
		}
		if o, ok := u.take(); ok {
			return o, u
		}
	}
	return OK, nil
}
