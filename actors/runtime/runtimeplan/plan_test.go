package runtimeplan

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 3, 0, time.UTC)

// drive performs actions against a runtime that is up or not, on a clock of its own. Calls end at once.
type drive struct {
	t   *testing.T
	c   Config
	s   State
	now time.Time
	log []string // "3.050 List 1 connected", in seconds since t0

	up, hang, absent, networkDown bool
	wake                          time.Time
	queue                         []Event
	pid                           int
}

func start(t *testing.T, mod func(*drive)) *drive {
	d := &drive{t: t, c: Defaults(), now: t0, up: true}
	if mod != nil {
		mod(d)
	}
	d.send(Started{})
	return d
}

func (d *drive) send(ev Event) {
	d.queue = append(d.queue, ev)
	for n := 0; len(d.queue) > 0; n++ {
		if n > 200 {
			d.t.Fatalf("the plan does not settle: %v", d.log[len(d.log)-10:])
		}
		ev := d.queue[0]
		d.queue = d.queue[1:]
		var acts []Action
		d.s, acts = Next(d.c, d.s, d.now, ev)
		for _, a := range acts {
			d.perform(a)
		}
	}
}

func (d *drive) note(format string, args ...any) {
	d.log = append(d.log, fmt.Sprintf("%.2f ", d.now.Sub(t0).Seconds())+fmt.Sprintf(format, args...))
}

func (d *drive) reply(ok, failed Event) {
	switch {
	case d.hang:
	case d.up:
		d.queue = append(d.queue, ok)
	default:
		d.queue = append(d.queue, failed)
	}
}

func (d *drive) perform(a Action) {
	switch a := a.(type) {
	case Check:
		d.reply(Checked{Name: "sim", Version: "1"}, Checked{Err: "connection refused"})
	case ReadStatus:
		d.reply(StatusRead{RuntimeReady: true, NetworkReady: !d.networkDown}, StatusRead{Err: "connection refused", Lost: true})
	case OpenStream:
		d.note("stream")
		if d.absent {
			d.queue = append(d.queue, StreamUp{a.Gen}, StreamEnded{Gen: a.Gen, Absent: true})
			return
		}
		d.reply(StreamUp{a.Gen}, StreamEnded{Gen: a.Gen, Err: "connection refused"})
	case CloseStream:
	case List:
		d.note("list %d: %s", a.Epoch, a.Why)
		d.reply(Listed{Epoch: a.Epoch}, Listed{Epoch: a.Epoch, Err: "connection refused", Lost: true})
	case SetCIDR:
		d.note("cidr %s", a.CIDR)
		d.reply(CIDRDone{CIDR: a.CIDR}, CIDRDone{CIDR: a.CIDR, Err: "connection refused", Lost: true})
	case TellGate:
		d.note("gate %v %v", a.Gate.RuntimeReady, a.Gate.NetworkReady)
	case TellNode:
		d.note("node %v %v %v", a.Info.Up, a.Info.RuntimeReady, a.Info.NetworkReady)
	case StartChild:
		d.pid++
		d.note("child %d", d.pid)
		d.queue = append(d.queue, ChildUp{PID: d.pid})
	case StopChild:
		d.note("stop child")
		d.queue = append(d.queue, ChildDown{PID: d.pid, Exit: "exited with code 0"})
	case Wake:
		d.wake = a.At
	}
}

// pass lets time go by.
func (d *drive) pass(dur time.Duration) {
	for end := d.now.Add(dur); ; {
		if d.wake.IsZero() || d.wake.After(end) {
			d.now = end
			return
		}
		if d.wake.After(d.now) {
			d.now = d.wake
		}
		d.wake = time.Time{}
		d.send(Tick{})
	}
}

func (d *drive) want(lines ...string) {
	d.t.Helper()
	if !slices.Equal(d.log, lines) {
		d.t.Errorf("log:\n%q\nwant:\n%q", d.log, lines)
	}
	d.log = nil
}

func TestStartConnectsListsAndTells(t *testing.T) {
	d := start(t, nil)
	d.want("0.00 stream", "0.00 list 1: connected", "0.00 gate true true", "0.00 node true true true")
}

func TestRuntimeThatComesLaterIsFoundSoon(t *testing.T) {
	d := start(t, func(d *drive) { d.up = false })
	d.pass(9 * time.Second)
	d.want()
	d.pass(2 * time.Second)
	d.want("10.00 node false false false")
	d.up = true
	d.pass(500 * time.Millisecond)
	if d.s.ToldGate != (Gate{true, true}) || !d.s.ToldNode.Up {
		t.Errorf("gate %+v node %+v after the runtime came", d.s.ToldGate, d.s.ToldNode)
	}
}

func TestShortOutageTellsNobodyButListsAgain(t *testing.T) {
	d := start(t, nil)
	d.pass(time.Second)
	d.log = nil
	d.up = false
	d.send(StreamEnded{Gen: d.s.StreamGen, Err: "EOF"})
	d.pass(1500 * time.Millisecond)
	d.up = true
	d.pass(time.Second)
	d.want("2.75 stream", "2.75 list 2: connected")
}

func TestLongOutageClosesTheGateThenTellsTheNode(t *testing.T) {
	d := start(t, nil)
	d.pass(time.Second)
	d.log = nil
	d.up = false
	d.send(Suspected{Why: "Unavailable"})
	d.pass(20 * time.Second)
	d.want("3.00 gate false false", "11.00 node false false false")
	d.up = true
	d.pass(600 * time.Millisecond)
	if d.s.ToldGate != (Gate{true, true}) || !d.s.ToldNode.RuntimeReady || d.s.Epoch != 2 {
		t.Errorf("gate %+v node %+v epoch %d after the return", d.s.ToldGate, d.s.ToldNode, d.s.Epoch)
	}
}

func TestSuspicionThatProvesWrongChangesNothing(t *testing.T) {
	d := start(t, nil)
	d.log = nil
	d.send(Suspected{Why: "one call timed out"})
	d.want()
	if d.s.Epoch != 1 {
		t.Errorf("epoch = %d, want 1", d.s.Epoch)
	}
}

func TestBrokenStreamBeginsAnEpoch(t *testing.T) {
	d := start(t, nil)
	d.pass(time.Second)
	d.log = nil
	d.send(StreamEnded{Gen: d.s.StreamGen, Err: "EOF"})
	d.pass(time.Second)
	d.want("1.05 stream", "1.05 list 2: the event stream broke")
	d.send(StreamEnded{Gen: 1, Err: "late news of the first stream"})
	d.pass(time.Second)
	d.want()
}

func TestWithoutEventsTheListIsPolled(t *testing.T) {
	d := start(t, func(d *drive) { d.absent = true })
	d.log = nil
	d.pass(2100 * time.Millisecond)
	d.want("1.00 list 1: the slow list is due", "2.00 list 1: the slow list is due")
}

func TestNetworkThatComesLateOpensItsGate(t *testing.T) {
	d := start(t, func(d *drive) { d.networkDown = true })
	d.want("0.00 stream", "0.00 list 1: connected", "0.00 gate true false", "0.00 node true true false")
	d.pass(time.Second)
	d.networkDown = false
	d.pass(600 * time.Millisecond)
	d.want("1.50 gate true true", "1.50 node true true true")
}

func TestNetworkHintReadsTheStatusAtOnce(t *testing.T) {
	d := start(t, nil)
	d.log = nil
	d.pass(100 * time.Millisecond)
	d.networkDown = true
	d.send(Suspected{Network: true})
	d.want("0.10 gate true false")
	d.pass(3 * time.Second)
	d.want("2.10 node true true false")
}

func TestIdleWakesOncePerTick(t *testing.T) {
	d := start(t, nil)
	d.pass(time.Minute)
	wakes := 0
	for end := d.now.Add(time.Minute); d.wake.Before(end); wakes++ {
		if d.wake.Second()%10 != 0 && d.wake.Sub(t0)%time.Minute != 0 {
			t.Errorf("wake at %v is not aligned", d.wake)
		}
		d.now = d.wake
		d.send(Tick{})
	}
	if wakes > 8 {
		t.Errorf("%d wakes in an idle minute", wakes)
	}
}

func TestPodCIDRIsSetAgainAfterAReturn(t *testing.T) {
	d := start(t, nil)
	d.log = nil
	d.send(CIDRAsked{"10.0.0.0/24"})
	d.send(CIDRAsked{"10.0.0.0/24"})
	d.want("0.00 cidr 10.0.0.0/24")
	d.up = false
	d.send(Suspected{})
	d.up = true
	d.pass(time.Second)
	if !slices.ContainsFunc(d.log, func(l string) bool { return l[5:] == "cidr 10.0.0.0/24" }) {
		t.Errorf("log %q has no second cidr", d.log)
	}
}

func TestChildIsStartedAgainAtOnceThenWithBackoff(t *testing.T) {
	d := start(t, func(d *drive) { d.c.Child = true })
	d.want("0.00 child 1", "0.00 stream", "0.00 list 1: connected", "0.00 gate true true", "0.00 node true true true")
	var starts []float64
	for range 4 {
		at := d.now
		d.send(ChildDown{PID: d.pid, Exit: "killed"})
		for pid := d.pid; d.s.Child != ChildRunning; {
			d.pass(100 * time.Millisecond)
			if d.now.Sub(at) > time.Minute {
				t.Fatalf("child %d is not started again", pid)
			}
		}
		starts = append(starts, d.s.ChildSince.Sub(at).Seconds())
	}
	if want := []float64{0, .5, 1, 2}; !slices.Equal(starts, want) {
		t.Errorf("delays %v, want %v", starts, want)
	}
	d.pass(2 * d.c.ChildSteady)
	d.send(ChildDown{PID: d.pid, Exit: "killed"})
	if d.s.Child != ChildRunning {
		t.Errorf("after a steady run the child is %v, want running again at once", d.s.Child)
	}
}

func TestStoppedChildStaysDown(t *testing.T) {
	d := start(t, func(d *drive) { d.c.Child = true })
	d.log = nil
	d.send(StopAsked{})
	d.pass(30 * time.Second)
	if d.pid != 1 || d.s.Child != ChildEnding || d.log[0] != "0.00 stop child" {
		t.Errorf("child %d %v, log %q", d.pid, d.s.Child, d.log)
	}
}
