package spawn

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-dev/troupe/supervisor/policy"
	"github.com/troupe-dev/troupe/supervisor/registry"
	"github.com/troupe-dev/troupe/supervisor/strategy"
)

// child is what a parent knows of a child, across its incarnations.
//
// self is set from the spawn until Terminated; failed from a panic until the next incarnation; then timer or respawn leads
// to the next spawn. A child told to stop is no longer in byName and is never spawned again.
type child struct {
	name        string
	ref         Ref
	entry       *registry.Entry
	producer    func(*Cell) Receiver
	incarnation int
	self        *bound
	stopping    bool
	failed      *PanicInfo
	lost        []string
	record      strategy.Record
	timer       *time.Timer
}

// Messages of a cell to itself.
type (
	respawn   struct{ ch *child }
	childGone struct{ ch *child }
)

// spawn makes the child's next incarnation.
func (c *Cell) spawn(ch *child) {
	ch.incarnation++
	ch.timer = nil
	// Every incarnation has a name of its own: an address of the past cannot come to mean a later one.
	id := fmt.Sprintf("%s#%d", ch.name, c.sys.seq.Add(1))
	b := &bound{sys: c.sys, pid: c.sys.as.NewLocalPID(c.self.pid.Id + "/" + id), entry: ch.entry}
	k := &Cell{sys: c.sys, ref: ch.ref, entry: ch.entry, self: b, producer: ch.producer, incarnation: ch.incarnation}
	ch.entry.Incarnated(ch.incarnation > 1)
	if _, err := c.ac.SpawnNamed(k.props(), id); err != nil {
		panic(fmt.Errorf("spawn %s: %w", ch.entry.Path(), err)) // only a name in use; names are never used twice
	}
	ch.self = b
	c.byPID[b.pid.Id] = ch
	ch.ref.r.cur.Store(b)
}

// childFailed is called when a child's Receive panicked, before the child is stopped.
func (c *Cell) childFailed(pid *actor.PID, reason any) {
	ch := c.byPID[pid.Id]
	if ch == nil {
		return
	}
	ch.ref.r.cur.Store(nil)
	ch.self.dead.Store(true)
	if info, ok := reason.(*PanicInfo); ok {
		ch.failed = info
	} else { // a panic outside the guard: the library's own
		ch.failed = &PanicInfo{Path: ch.entry.Path(), Kind: ch.entry.Kind(), Incarnation: ch.incarnation, Value: describe(reason), At: time.Now()}
		c.sys.report(ch.entry, ch.failed)
	}
	ch.lost = ch.entry.Orphan()
}

// childTerminated is called when an incarnation is gone, with all below it.
func (c *Cell) childTerminated(pid *actor.PID) {
	ch := c.byPID[pid.Id]
	if ch == nil {
		return
	}
	delete(c.byPID, pid.Id)
	ch.self = nil
	if c.ended {
		ch.entry.Remove()
		return
	}
	if ch.failed == nil || ch.stopping {
		c.bury(ch)
		return
	}
	now := time.Now()
	d := ch.record.Panicked(c.sys.cfg.Policy, ch.failed.At, now)
	if d.Action == policy.Stay { // a policy that gives up
		c.bury(ch)
		return
	}
	wait := d.Wait(now)
	if wait == 0 {
		c.rebuild(ch)
		return
	}
	self := c.self
	ch.timer = time.AfterFunc(wait, func() { self.Tell(respawn{ch}) })
	if d.Action == policy.Quarantine {
		q := Quarantined{Name: ch.name, Ref: ch.ref, Panic: ch.failed, Until: d.At}
		ch.entry.Quarantined(d.At)
		c.sys.cfg.Logger.Error(nil, "Actor quarantined", "actor", ch.entry.Path(), "until", d.At)
		if f := c.sys.cfg.OnQuarantine; f != nil {
			f(q)
		}
		c.deliver(q, 0)
	}
}

// rebuild makes the next incarnation and tells the receiver.
func (c *Cell) rebuild(ch *child) {
	if ch.stopping {
		return
	}
	info, lost := ch.failed, ch.lost
	ch.failed, ch.lost = nil, nil
	c.spawn(ch)
	c.deliver(Restarted{Name: ch.name, Ref: ch.ref, Panic: info, Lost: lost}, 0)
}

// bury forgets a child for good and tells the receiver.
func (c *Cell) bury(ch *child) {
	ch.ref.r.cur.Store(nil)
	if c.byName[ch.name] == ch {
		delete(c.byName, ch.name)
	}
	ch.entry.Remove()
	c.deliver(Ended{Name: ch.name, Ref: ch.ref, Panic: ch.failed}, 0)
}
