package spawn

import (
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-dev/troupe/supervisor/registry"
	"github.com/troupe-dev/troupe/supervisor/strategy"
)

// shell is the library's side of a cell.
type shell struct{ c *Cell }

var _ actor.SupervisorStrategy = shell{}

func (c *Cell) props() *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return shell{c} }, actor.WithMailbox(func() actor.Mailbox {
		// Keeps nothing after a burst, unlike the default one.
		mb := actor.UnboundedLockfree()()
		c.entry.SetMailbox(mb.UserMessageCount)
		return mb
	}), actor.WithDispatcher(&c.sys.turns))
}

// HandleFailure deals with a child that panicked, on this actor's goroutine.
func (s shell) HandleFailure(as *actor.ActorSystem, sup actor.Supervisor, pid *actor.PID, rs *actor.RestartStatistics, reason, msg any) {
	strategy.OneForOne{Failed: s.c.childFailed}.HandleFailure(as, sup, pid, rs, reason, msg)
}

// Receive implements actor.Actor.
func (s shell) Receive(ctx actor.Context) {
	c := s.c
	c.ac = ctx
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.start()
	case *actor.Stopping, *actor.Restarting:
		c.end()
	case *actor.Stopped:
		if c.onGone != nil {
			c.onGone()
		}
	case *actor.Terminated:
		c.childTerminated(m.Who)
	case letter:
		c.take(m.msg, c.sys.now()-m.at)
	case actor.SystemMessage, actor.AutoReceiveMessage:
	default:
		c.take(m, 0)
	}
}

func (c *Cell) start() {
	defer c.guard("Started")
	c.receiver = c.producer(c)
	if c.receiver == nil {
		panic("producer made no receiver")
	}
	if wrap := c.sys.cfg.Wrap; wrap != nil && c.entry != nil {
		c.receiver = wrap(c, c.receiver)
	}
	if s, ok := c.receiver.(Starter); ok {
		s.Started(c)
	}
}

// end is called once per incarnation, when it stops for whatever reason. A panic in it must not reach the library, which
// would resurrect the actor or hang.
func (c *Cell) end() {
	if c.ended {
		return
	}
	c.ended = true
	c.self.dead.Store(true)
	if c.cancel != nil {
		c.cancel()
	}
	for t := range c.timers {
		t.t.Stop()
	}
	c.timers = nil
	for _, ch := range c.byName {
		ch.ref.r.cur.Store(nil)
		if ch.timer != nil {
			ch.timer.Stop()
		}
		if ch.self == nil {
			ch.entry.Remove()
		}
	}
	defer func() {
		if v := recover(); v != nil {
			c.sys.report(c.entry, c.info("Stopping", v, debug.Stack()))
		}
	}()
	if s, ok := c.receiver.(Stopper); ok {
		s.Stopping(c)
	}
}

func (c *Cell) take(msg any, waited time.Duration) {
	if c.ended {
		return
	}
	switch m := msg.(type) {
	case *timer:
		if _, ok := c.timers[m]; ok {
			delete(c.timers, m)
			c.deliver(m.msg, waited)
		}
	case respawn:
		c.rebuild(m.ch)
	case childGone:
		c.bury(m.ch)
	default:
		c.deliver(msg, waited)
	}
}

// deliver hands a message to the receiver, with the accounts kept.
func (c *Cell) deliver(msg any, waited time.Duration) {
	t := reflect.TypeOf(msg)
	c.entry.Begin(t, waited, time.Now())
	defer c.guardMessage(t)
	c.receiver.Receive(c, msg)
	c.entry.End(time.Now())
}

// guard keeps the stack of a panic and hands it on to the supervision.
func (c *Cell) guard(where string) {
	if v := recover(); v != nil {
		c.fail(where, v)
	}
}

func (c *Cell) guardMessage(t reflect.Type) {
	if v := recover(); v != nil {
		c.entry.End(time.Now())
		where := "nil"
		if t != nil {
			where = t.String()
		}
		c.fail(where, v)
	}
}

func (c *Cell) fail(where string, v any) {
	if info, ok := v.(*PanicInfo); ok { // already reported
		panic(info)
	}
	info := c.info(where, v, debug.Stack())
	c.self.dead.Store(true)
	c.sys.report(c.entry, info)
	panic(info)
}

func (c *Cell) info(where string, v any, stack []byte) *PanicInfo {
	return &PanicInfo{
		Path: c.entry.Path(), Kind: c.entry.Kind(), Incarnation: c.incarnation,
		Where: where, Value: describe(v), Stack: stack, At: time.Now(),
	}
}

// report keeps and logs a panic, once.
func (s *System) report(e *registry.Entry, p *PanicInfo) {
	e.Panicked(registry.Panic{At: p.At, Where: p.Where, Value: p.Value, Stack: string(p.Stack)})
	s.cfg.Logger.Error(nil, "Actor panicked", "actor", p.Path, "where", p.Where, "value", p.Value, "stack", string(p.Stack))
	if f := s.cfg.OnPanic; f != nil {
		defer func() { _ = recover() }() // a hook must not turn one panic into two
		f(*p)
	}
}

// maxValue bounds how much of a panic's value is kept.
const maxValue = 256

// describe is a panic's value in words. Only errors and strings are shown: other values may hold anything.
func describe(v any) string {
	var s string
	switch v := v.(type) {
	case error:
		s = v.Error()
	case string:
		s = v
	default:
		return fmt.Sprintf("a %T", v)
	}
	if len(s) > maxValue {
		s = s[:maxValue] + "…"
	}
	return s
}
