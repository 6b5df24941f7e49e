package runtimeplan

import (
	"time"

	"github.com/troupe-dev/troupe/messages/nodemsg"
)

// Next folds the event into the state and decides from the whole of it.
func Next(c Config, s State, now time.Time, ev Event) (State, []Action) {
	s.Now = now
	before := s
	s = fold(c, s, ev)
	return decide(c, before, s)
}

func fold(c Config, s State, ev Event) State {
	switch e := ev.(type) {
	case Started, Tick:
	case Checked:
		s = foldChecked(c, s, e)
	case StatusRead:
		s = foldStatus(c, s, e)
	case StreamUp:
		if e.Gen == s.StreamGen && s.Stream == StreamOpening {
			s.Stream, s.StreamSince = StreamLive, s.Now
			s = want(s, "the event stream stands")
		}
	case StreamEnded:
		s = foldStreamEnded(c, s, e)
	case Listed:
		s.Listing = false
		switch {
		case e.Lost:
			s.Suspect, s.LastError = true, e.Err
			fallthrough
		case e.Err != "":
			s = want(s, "the last list failed")
			s.NextList = s.Now.Add(c.RetryMax)
		case e.Epoch != s.Epoch: // made for a connection that is gone: another one is due anyway
			s = want(s, s.ListWhy)
		case !s.ListWanted: // one that was asked for meanwhile is due already
			every := listEvery(c, s)
			s.NextList = s.Now.Truncate(every).Add(every) // with the node's other ticks
		}
	case Suspected:
		s.Suspect = true
		if e.Network {
			s.NextStatus = s.Now
		}
	case RelistAsked:
		s = want(s, e.Why)
	case TellAgain:
		s.ToldGate, s.NodeTold, s.ToldNode = Gate{}, false, nodemsg.RuntimeInfo{}
		s = want(s, "what was listed is forgotten")
	case CIDRAsked:
		s.CIDRWanted = e.CIDR
	case CIDRDone:
		s.SettingCIDR = false
		if !e.Lost {
			s.CIDRSet = e.CIDR
		}
	case ChildUp:
		s = foldChildUp(c, s, e)
	case ChildDown:
		s = foldChildDown(c, s, e)
	case StopAsked:
		s.Child = ChildEnding
	}
	return s
}

func foldChecked(c Config, s State, e Checked) State {
	s.Checking, s.Suspect = false, false
	if e.Err != "" {
		s.LastError = e.Err
		s.NextCheck = s.Now.Add(doubling(c.RetryMin, c.RetryMax, s.Fails))
		s.Fails++
		return lose(s)
	}
	if s.Conn == Connecting && outage(s) >= c.GateGrace {
		s.Seen.RuntimeReady, s.Seen.NetworkReady = false, false // until the next status read
	}
	s.Fails, s.LastError, s.DownSince = 0, "", time.Time{}
	s.Seen.Up, s.Seen.Name, s.Seen.Version, s.Seen.CgroupDriver = true, e.Name, e.Version, e.CgroupDriver
	if s.Conn == Connecting {
		s.Conn = Connected
		s = renew(c, s, "connected")
		s.NextStatus, s.CIDRSet = s.Now, ""
		s.Stream, s.NextStream, s.StreamFails = StreamNone, s.Now, 0
	}
	return s
}

// lose ends the connection: what is in flight has an unknown outcome from here on.
func lose(s State) State {
	if s.DownSince.IsZero() {
		s.DownSince = s.Now
	}
	s.Conn, s.Stream = Connecting, StreamNone
	return s
}

// outage is how long a confirmed outage has lasted; 0 when there is none.
func outage(s State) time.Duration {
	if s.DownSince.IsZero() {
		return 0
	}
	return s.Now.Sub(s.DownSince)
}

// renew begins an epoch: everything is looked at again.
func renew(c Config, s State, why string) State {
	s.Epoch++
	s.NextList = s.Now
	return want(s, why)
}

func want(s State, why string) State {
	if !s.ListWanted {
		s.ListWanted, s.ListWhy = true, why
	}
	if s.NextList.After(s.Now) {
		s.NextList = s.Now
	}
	return s
}

func foldStatus(c Config, s State, e StatusRead) State {
	s.Reading = false
	if e.Err != "" {
		s.LastError = e.Err
		if e.Lost {
			s.Suspect = true
		} else {
			s.Seen.RuntimeReady, s.Seen.Reason = false, e.Err
		}
		s.NextStatus = s.Now.Add(c.NotReadyEvery)
		return s
	}
	s.Seen.RuntimeReady, s.Seen.NetworkReady, s.Seen.Reason = e.RuntimeReady, e.NetworkReady, e.Reason
	s.StatusSeen = true
	s.Seen.Handlers, s.Seen.SupplementalGroupsPolicy = e.Info.Handlers, e.Info.SupplementalGroupsPolicy
	if e.RuntimeReady && e.NetworkReady {
		s.UnreadySince = time.Time{}
		s.NextStatus = s.Now.Truncate(c.StatusEvery).Add(c.StatusEvery)
		return s
	}
	if s.UnreadySince.IsZero() {
		s.UnreadySince = s.Now
	}
	s.NextStatus = s.Now.Add(c.NotReadyEvery)
	return s
}

func foldStreamEnded(c Config, s State, e StreamEnded) State {
	if e.Gen != s.StreamGen || s.Stream == StreamNone {
		return s // of a connection that is gone
	}
	if e.Absent {
		s.Stream = StreamAbsent
		s.NextList = s.Now
		return want(s, "the runtime has no event stream")
	}
	if s.Stream == StreamLive && s.Now.Sub(s.StreamSince) >= c.NodeGrace {
		s.StreamFails = 0
	}
	s.Stream, s.Suspect, s.LastError = StreamBroken, true, e.Err
	s.NextStream = s.Now.Add(doubling(c.RetryMin, c.ChildMax, s.StreamFails))
	s.StreamFails++
	return s
}

func foldChildUp(c Config, s State, e ChildUp) State {
	if e.Err != "" {
		s.LastError = e.Err
		return childFailed(c, s)
	}
	s.ChildPID, s.ChildSince = e.PID, s.Now
	if s.Child != ChildEnding {
		s.Child = ChildRunning
		s.NextCheck, s.Fails = s.Now, 0
	}
	return s
}

func foldChildDown(c Config, s State, e ChildDown) State {
	if e.PID != s.ChildPID {
		return s
	}
	s.ChildPID, s.LastError = 0, e.Exit
	if s.Child == ChildEnding {
		return lose(s)
	}
	if s.Now.Sub(s.ChildSince) >= c.ChildSteady {
		s.ChildFails = 0
	}
	return childFailed(c, lose(s))
}

// childFailed plans the next start: the first one at once, then after ChildMin, doubling.
func childFailed(c Config, s State) State {
	if s.Child == ChildEnding {
		return s
	}
	s.Child, s.ChildRetryAt = ChildWaiting, s.Now
	if s.ChildFails > 0 {
		s.ChildRetryAt = s.Now.Add(doubling(c.ChildMin, c.ChildMax, s.ChildFails-1))
	}
	s.ChildFails++
	s.Restarts++
	return s
}

func listEvery(c Config, s State) time.Duration {
	if s.Stream == StreamAbsent {
		return c.PollEvery
	}
	return c.ListEvery
}

// doubling is least·2ⁿ, at most most.
func doubling(least, most time.Duration, n int) time.Duration {
	d := least
	for ; n > 0 && d < most; n-- {
		d *= 2
	}
	return min(d, most)
}
