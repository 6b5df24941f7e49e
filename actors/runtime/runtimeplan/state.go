// Package runtimeplan decides what the /runtime actor does: when to check the connection, when to list, when an outage
// counts, when a child runtime is started again. It is pure: time comes with each event.
//
//	          check ok: new epoch, stream, list, status
//	Connecting ───────────────────────────────────────▶ Connected
//	     ▲                                                  │ stream ended, call failed: check at once
//	     └──────────────────────────────────────────────────┘ check failed
//
// A short outage is nobody's business: the gate for starts closes after GateGrace and the node hears of it after
// NodeGrace, so that a runtime that was killed and is back within seconds flips nothing.
package runtimeplan

import (
	"time"

	"github.com/troupe-dev/troupe/messages/nodemsg"
)

// Config holds the plan's durations; Defaults has the product's values.
type Config struct {
	// Child says that the runtime is a child process of the agent.
	Child bool
	// GateGrace is how long a confirmed outage lasts before new starts are held back.
	GateGrace time.Duration
	// NodeGrace is how long it lasts before the node is told (and becomes NotReady).
	NodeGrace time.Duration
	// StatusEvery is the period of the status read, aligned to the clock, while everything is ready.
	StatusEvery time.Duration
	// NotReadyEvery is the period while the runtime or its network is not ready.
	NotReadyEvery time.Duration
	// ListEvery is the period of the full list while the event stream stands.
	ListEvery time.Duration
	// PollEvery is the period of the full list where the runtime has no event stream.
	PollEvery time.Duration
	// StreamWait is how long the first list waits for the event stream to stand.
	StreamWait time.Duration
	// RetryMin and RetryMax bound the doubling delay between failed checks and between broken streams.
	RetryMin, RetryMax time.Duration
	// ChildMin and ChildMax bound the doubling delay before a child that keeps ending is started again; the first end
	// after ChildSteady of running costs no delay.
	ChildMin, ChildMax, ChildSteady time.Duration
}

// Defaults are the product's durations. StatusEvery and ListEvery are the node-wide tick.
func Defaults() Config {
	return Config{
		GateGrace: 2 * time.Second, NodeGrace: 10 * time.Second,
		StatusEvery: 10 * time.Second, NotReadyEvery: 500 * time.Millisecond,
		ListEvery: 10 * time.Second, PollEvery: time.Second, StreamWait: 2 * time.Second,
		RetryMin: 50 * time.Millisecond, RetryMax: 500 * time.Millisecond,
		ChildMin: 500 * time.Millisecond, ChildMax: 10 * time.Second, ChildSteady: time.Minute,
	}
}

// Conn is the state of the connection.
type Conn int

// The connection states.
const (
	Connecting Conn = iota
	Connected
)

// String returns the name that the inspection shows.
func (c Conn) String() string { return [...]string{"connecting", "connected"}[c] }

// Stream is the state of the event stream.
type Stream int

// The stream states: Broken waits for its next try, Absent is for ever (the runtime has no events).
const (
	StreamNone Stream = iota
	StreamOpening
	StreamLive
	StreamBroken
	StreamAbsent
)

// String returns the name that the inspection shows.
func (s Stream) String() string { return [...]string{"none", "opening", "live", "broken", "absent"}[s] }

// ChildPhase is the state of the child process.
type ChildPhase int

// The child's states.
const (
	ChildNone ChildPhase = iota
	ChildStarting
	ChildRunning
	ChildWaiting // for RetryAt
	ChildEnding  // a stop was asked for: it is not started again
)

// String returns the name that the inspection shows.
func (c ChildPhase) String() string {
	return [...]string{"none", "starting", "running", "waiting", "ending"}[c]
}

// Gate is what starts need.
type Gate struct{ RuntimeReady, NetworkReady bool }

// State is all that the plan knows. The zero value is the state before Started.
type State struct {
	Now  time.Time // of the newest event
	Conn Conn
	// Epoch counts connections and broken streams: what was asked in an older one has an unknown outcome.
	Epoch uint64
	// DownSince is when the outage was confirmed; zero when there is none.
	DownSince time.Time
	// Suspect asks for a check although we are connected.
	Suspect bool
	Fails   int // failed checks in a row
	// LastError is why the last check or read failed; "" after a good one.
	LastError string

	Stream      Stream
	StreamGen   uint64
	StreamSince time.Time
	StreamFails int

	ListWanted bool
	ListWhy    string

	// The calls in flight: at most one of each.
	Checking, Reading, Listing, SettingCIDR bool

	NextCheck, NextStatus, NextList, NextStream time.Time

	// StatusSeen: Status was read at least once. UnreadySince is when it began to say "not ready"; zero when it does not.
	StatusSeen   bool
	UnreadySince time.Time

	Seen     nodemsg.RuntimeInfo // the newest truth
	ToldNode nodemsg.RuntimeInfo
	ToldGate Gate
	NodeTold bool

	CIDRWanted, CIDRSet string

	Child        ChildPhase
	ChildPID     int
	ChildSince   time.Time
	ChildRetryAt time.Time
	ChildFails   int // ends in a row without a steady run
	Restarts     int // of the child, ever

	Waking time.Time // what the newest Wake asked for
}
