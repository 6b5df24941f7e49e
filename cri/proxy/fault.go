package proxy

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Fault is what happens to a call instead of, before or after its forwarding. The family is sealed.
type Fault interface{ fault() }

// Kind is a fault without parameters.
type Kind int

// The faults without parameters.
const (
	// Hang keeps the call back until the rule is released (then it is forwarded) or the caller gives up.
	Hang Kind = iota
	// LostReply forwards the call and answers as a broken connection does.
	LostReply
	// LateReply forwards the call and keeps the answer back until the rule is released or the caller gives up.
	LateReply
)

type (
	// Error answers with this error and forwards nothing.
	Error struct {
		Code    codes.Code
		Message string
	}
	// Delay forwards the call so much later.
	Delay time.Duration
)

func (Kind) fault()  {}
func (Error) fault() {}
func (Delay) fault() {}

func faultName(f Fault) string {
	switch f := f.(type) {
	case nil:
		return ""
	case Kind:
		return [...]string{"hang", "lost reply", "late reply"}[f]
	case Error:
		return "error " + f.Code.String()
	case Delay:
		return "delay " + time.Duration(f).String()
	}
	return fmt.Sprint(f)
}

// Match selects calls; empty fields match all.
type Match struct {
	Op, UID, Pod, Container string
}

func (m Match) matches(c Call) bool {
	return (m.Op == "" || m.Op == c.Op) && (m.UID == "" || m.UID == c.UID) && (m.Pod == "" || m.Pod == c.Pod) &&
		(m.Container == "" || m.Container == c.Container)
}

// Rule is a fault in force.
type Rule struct {
	match Match
	fault Fault
	every int

	mu       sync.Mutex
	left     int // negative: no end
	seen     int
	hits     int
	changed  chan struct{}
	released chan struct{}
}

// Inject puts a fault on the next so many calls that match; times 0 means all until the rule is released.
func (p *Proxy) Inject(m Match, f Fault, times int) *Rule { return p.add(m, f, times, 1) }

// InjectEvery puts a fault on every n-th call that matches, beginning with the n-th, until the rule is released.
func (p *Proxy) InjectEvery(m Match, f Fault, n int) *Rule { return p.add(m, f, 0, n) }

func (p *Proxy) add(m Match, f Fault, times, every int) *Rule {
	u := &Rule{match: m, fault: f, left: times, every: every, changed: make(chan struct{}), released: make(chan struct{})}
	if times <= 0 {
		u.left = -1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, u)
	return u
}

// Release lets go what the rule holds and ends it.
func (u *Rule) Release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.left = 0
	select {
	case <-u.released:
	default:
		close(u.released)
	}
}

// Hits counts the calls that the rule has decided.
func (u *Rule) Hits() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.hits
}

// Wait waits until the rule has decided n calls.
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

func (u *Rule) take() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.left == 0 {
		return false
	}
	if u.seen++; u.seen%u.every != 0 {
		return false
	}
	if u.left > 0 {
		u.left--
	}
	u.hits++
	close(u.changed)
	u.changed = make(chan struct{})
	return true
}

func (u *Rule) hold(ctx context.Context) error {
	select {
	case <-u.released:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// decide returns the fault of a call and its rule; nil where there is none. The oldest rule that matches decides.
func (p *Proxy) decide(c Call) (Fault, *Rule) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, u := range p.rules {
		if u.match.matches(c) && u.take() {
			return u.fault, u
		}
	}
	return nil, nil
}
