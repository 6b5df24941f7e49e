package runtimeplan

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever happened before, in any order and with results that come late or never twice: at most one call of a kind is
// in flight, nothing but checks is asked of a runtime that is not connected, epochs never go back, and a runtime that
// answers is used within a second.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Defaults()
		c.Child = rapid.Bool().Draw(t, "child")
		h := &history{t: t, c: c, now: t0}
		h.send(Started{})
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			h.step()
		}
		h.recover()
	})
}

type history struct {
	t       *rapid.T
	c       Config
	s       State
	now     time.Time
	pending []Action // calls in flight
	wake    time.Time
	pid     int
	alive   bool
}

func (h *history) send(ev Event) {
	old := h.s
	var acts []Action
	h.s, acts = Next(h.c, h.s, h.now, ev)
	if h.s.Epoch < old.Epoch {
		h.t.Fatalf("epoch went from %d to %d", old.Epoch, h.s.Epoch)
	}
	for _, a := range acts {
		switch a := a.(type) {
		case Wake:
			if !a.At.After(h.now) {
				h.t.Fatalf("wake at %v is not after %v", a.At, h.now)
			}
			h.wake = a.At
		case TellGate, TellNode, CloseStream, StopChild:
		case Check, StartChild:
			h.begin(a)
		case List, ReadStatus, SetCIDR, OpenStream:
			if h.s.Conn != Connected {
				h.t.Fatalf("%T while %v", a, h.s.Conn)
			}
			h.begin(a)
		}
	}
}

func kind(a Action) string {
	switch a.(type) {
	case Check:
		return "check"
	case List:
		return "list"
	case ReadStatus:
		return "status"
	case SetCIDR:
		return "cidr"
	case OpenStream:
		return "stream"
	case StartChild:
		return "child"
	case TellGate, TellNode, CloseStream, StopChild, Wake:
	}
	return "-"
}

func (h *history) begin(a Action) {
	if k := kind(a); k != "stream" {
		for _, p := range h.pending {
			if kind(p) == k {
				h.t.Fatalf("two calls %q in flight", k)
			}
		}
	}
	h.pending = append(h.pending, a)
}

func (h *history) step() {
	h.now = h.now.Add(time.Duration(rapid.IntRange(0, 700).Draw(h.t, "ms")) * time.Millisecond)
	switch rapid.IntRange(0, 7).Draw(h.t, "what") {
	case 0, 1, 2:
		if len(h.pending) > 0 {
			h.finish(rapid.IntRange(0, len(h.pending)-1).Draw(h.t, "call"), rapid.Bool().Draw(h.t, "ok"))
		}
	case 3:
		h.send(Suspected{Network: rapid.Bool().Draw(h.t, "network")})
	case 4:
		h.send(StreamEnded{Gen: uint64(rapid.IntRange(0, int(h.s.StreamGen)).Draw(h.t, "gen")), Err: "EOF"})
	case 5:
		if h.alive {
			h.alive = false
			h.send(ChildDown{PID: h.pid, Exit: "killed"})
		}
	case 6:
		h.send(RelistAsked{"asked"})
	case 7:
		h.send(Tick{})
	}
}

func (h *history) finish(i int, ok bool) {
	a := h.pending[i]
	h.pending = append(h.pending[:i:i], h.pending[i+1:]...)
	e := ""
	if !ok {
		e = "unavailable"
	}
	switch a := a.(type) {
	case Check:
		h.send(Checked{Err: e})
	case List:
		h.send(Listed{Epoch: a.Epoch, Err: e, Lost: !ok})
	case ReadStatus:
		h.send(StatusRead{Err: e, Lost: !ok, RuntimeReady: ok, NetworkReady: ok})
	case SetCIDR:
		h.send(CIDRDone{CIDR: a.CIDR, Err: e, Lost: !ok})
	case OpenStream:
		if ok {
			h.send(StreamUp{Gen: a.Gen})
		} else {
			h.send(StreamEnded{Gen: a.Gen, Err: e})
		}
	case StartChild:
		if h.alive = ok; ok {
			h.pid++
			h.send(ChildUp{PID: h.pid})
		} else {
			h.send(ChildUp{Err: e})
		}
	case CloseStream, TellGate, TellNode, StopChild, Wake:
	}
}

// recover lets every call succeed from now on.
func (h *history) recover() {
	listed := h.s.Epoch
	for end := h.now.Add(15 * time.Second); h.now.Before(end); {
		if len(h.pending) > 0 {
			if l, ok := h.pending[0].(List); ok {
				listed = l.Epoch
			}
			h.finish(0, true)
			continue
		}
		if !h.wake.After(h.now) { // a timer that was due during the steps fires late
			h.send(Tick{})
		}
		if len(h.pending) == 0 && !h.wake.After(h.now) {
			h.t.Fatalf("nothing is in flight and nothing wakes the plan: %+v", h.s)
		}
		if len(h.pending) == 0 {
			h.now = h.wake
			h.send(Tick{})
		}
	}
	s := h.s
	if s.ToldGate != (Gate{true, true}) || !s.ToldNode.RuntimeReady || s.Stream != StreamLive || s.ListWanted || listed != s.Epoch {
		h.t.Fatalf("a runtime that answers is not used: %+v", s)
	}
}
