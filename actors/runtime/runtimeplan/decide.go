package runtimeplan

import (
	"reflect"
	"time"

	"github.com/troupe-dev/troupe/messages/nodemsg"
)

// decide computes what should happen now and subtracts what is in flight.
func decide(c Config, before, s State) (State, []Action) {
	var acts []Action
	do := func(a Action) { acts = append(acts, a) }

	s = decideChild(c, before, s, do)
	if (before.Stream == StreamOpening || before.Stream == StreamLive) && s.Stream == StreamNone {
		do(CloseStream{})
	}
	if s.wantsCheck(c) {
		s.Checking = true
		do(Check{})
	}
	if s.Conn == Connected {
		s = decideConnected(c, s, do)
	}
	s = decideTell(c, s, do)
	if at := s.nextWake(c); !at.IsZero() && (!at.Equal(s.Waking) || !s.Waking.After(s.Now)) {
		s.Waking = at
		do(Wake{At: at})
	}
	return s, acts
}

func decideChild(c Config, before, s State, do func(Action)) State {
	if !c.Child {
		return s
	}
	switch s.Child {
	case ChildNone:
		s.Child = ChildStarting
		do(StartChild{})
	case ChildWaiting:
		if !s.Now.Before(s.ChildRetryAt) {
			s.Child = ChildStarting
			do(StartChild{})
		}
	case ChildEnding:
		if s.ChildPID != 0 && (before.Child != ChildEnding || before.ChildPID == 0) {
			do(StopChild{})
		}
	case ChildStarting, ChildRunning:
	}
	return s
}

func (s State) wantsCheck(c Config) bool {
	if s.Checking || c.Child && s.Child != ChildRunning {
		return false
	}
	if s.Conn == Connected {
		return s.Suspect
	}
	return !s.Now.Before(s.NextCheck)
}

func decideConnected(c Config, s State, do func(Action)) State {
	settled := !s.Suspect && !s.Checking
	if settled && (s.Stream == StreamNone || s.Stream == StreamBroken) && !s.Now.Before(s.NextStream) {
		if s.Stream == StreamBroken {
			s = renew(c, s, "the event stream broke")
		}
		s.StreamGen++
		s.Stream, s.StreamSince = StreamOpening, s.Now
		do(OpenStream{Gen: s.StreamGen})
	}
	if s.wantsList(c) {
		why := s.ListWhy
		if !s.ListWanted {
			why = "the slow list is due"
		}
		s.Listing, s.ListWanted, s.ListWhy = true, false, ""
		do(List{Epoch: s.Epoch, Why: why})
	}
	if !s.Reading && !s.Now.Before(s.NextStatus) {
		s.Reading = true
		do(ReadStatus{})
	}
	if settled && !s.SettingCIDR && s.CIDRWanted != "" && s.CIDRWanted != s.CIDRSet {
		s.SettingCIDR = true
		do(SetCIDR{CIDR: s.CIDRWanted})
	}
	return s
}

// wantsList: a list waits for the stream (so that together they miss nothing), but not for ever.
func (s State) wantsList(c Config) bool {
	if s.Listing || s.Now.Before(s.NextList) {
		return false
	}
	return s.Stream != StreamOpening || !s.Now.Before(s.StreamSince.Add(c.StreamWait))
}

func decideTell(c Config, s State, do func(Action)) State {
	gate := Gate{RuntimeReady: s.Seen.Up && s.Seen.RuntimeReady, NetworkReady: s.Seen.Up && s.Seen.NetworkReady}
	if down(s, c.GateGrace) {
		gate = Gate{}
	}
	if gate != s.ToldGate {
		s.ToldGate = gate
		do(TellGate{Gate: gate})
	}
	if info, ok := s.nodeInfo(c); ok && (!s.NodeTold || !reflect.DeepEqual(info, s.ToldNode)) {
		s.NodeTold, s.ToldNode = true, info
		do(TellNode{Info: info})
	}
	return s
}

func down(s State, grace time.Duration) bool {
	return !s.DownSince.IsZero() && !s.Now.Before(s.DownSince.Add(grace))
}

// nodeInfo is what the node should know; false while nothing new is certain: before the first status, and within the
// graces of an outage or of a status that says "not ready" after it said "ready".
func (s State) nodeInfo(c Config) (nodemsg.RuntimeInfo, bool) {
	info := s.Seen
	if !s.DownSince.IsZero() {
		info.Up, info.RuntimeReady, info.NetworkReady = false, false, false
		info.Reason = "the container runtime does not answer: " + s.LastError
		if s.NodeTold && !s.ToldNode.Up {
			info.Reason = s.ToldNode.Reason // the first reason of an outage stands
		}
		return info, down(s, c.NodeGrace)
	}
	wasReady := s.NodeTold && s.ToldNode.RuntimeReady && s.ToldNode.NetworkReady
	if wasReady && !(info.RuntimeReady && info.NetworkReady) {
		return info, !s.UnreadySince.IsZero() && !s.Now.Before(s.UnreadySince.Add(c.GateGrace))
	}
	return info, s.StatusSeen && info.Up
}

// nextWake is the nearest time after now at which something may become due by itself; zero for none. What is in
// flight wakes the plan by its result.
func (s State) nextWake(c Config) time.Time {
	var at time.Time
	consider := func(ok bool, t time.Time) {
		if ok && t.After(s.Now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	connected := s.Conn == Connected
	consider(!connected && !s.Checking && !(c.Child && s.Child != ChildRunning), s.NextCheck)
	consider(connected && !s.Reading, s.NextStatus)
	consider(connected && !s.Listing, s.NextList)
	consider(connected && s.Stream == StreamBroken, s.NextStream)
	consider(connected && s.Stream == StreamOpening && !s.Listing, s.StreamSince.Add(c.StreamWait))
	consider(!s.DownSince.IsZero(), s.DownSince.Add(c.GateGrace))
	consider(!s.DownSince.IsZero(), s.DownSince.Add(c.NodeGrace))
	consider(!s.UnreadySince.IsZero(), s.UnreadySince.Add(c.GateGrace))
	consider(c.Child && s.Child == ChildWaiting, s.ChildRetryAt)
	return at
}
