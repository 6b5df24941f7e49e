package spawn

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/go-logr/logr/funcr"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/supervisor/registry"
)

// probe is a Receiver made of functions.
type probe struct {
	receive  func(c *Cell, msg any)
	started  func(c *Cell)
	stopping func(c *Cell)
}

func (p probe) Receive(c *Cell, msg any) {
	if p.receive != nil {
		p.receive(c, msg)
	}
}

func (p probe) Started(c *Cell) {
	if p.started != nil {
		p.started(c)
	}
}

func (p probe) Stopping(c *Cell) {
	if p.stopping != nil {
		p.stopping(c)
	}
}

func as(p probe) func(*Cell) Receiver { return func(*Cell) Receiver { return p } }

// log collects lines from many goroutines.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
	l.mu.Unlock()
}

func (l *log) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := strings.Join(l.lines, " ")
	l.lines = nil
	return s
}

// system runs a test in a bubble with a system that is stopped at its end.
func system(t *testing.T, cfg Config, f func(t *testing.T, s *System)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := NewSystem(cfg)
		f(t, s)
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if n := s.Registry().Len(); n != 0 {
			t.Errorf("%d entries left in the registry", n)
		}
		time.Sleep(2 * time.Second) // the library's dead-letter throttle
	})
}

type boom struct{}

func TestTellChildrenAndPaths(t *testing.T) {
	var l log
	system(t, Config{}, func(t *testing.T, s *System) {
		pods := s.Root("pods", "pods", as(probe{
			started: func(c *Cell) {
				c.Child("uid/1", "pod", as(probe{receive: func(c *Cell, msg any) { l.add("%s:%v", c.Path(), msg) }}))
			},
			receive: func(c *Cell, msg any) {
				r, ok := c.ChildNamed("uid_1")
				l.add("%s:%v:%v", c.Path(), msg, ok)
				r.Tell(msg)
			},
		}))
		pods.Tell("a")
		pods.Tell("b")
		synctest.Wait()
		if got := l.take(); got != "/pods:a:true /pods:b:true /pods/uid_1:a /pods/uid_1:b" && !strings.HasPrefix(got, "/pods:a:true /pods/uid_1:a") {
			t.Error(got)
		}
		n, ok := s.Registry().Find("/pods/uid_1")
		if !ok || n.Handled != 2 || n.Kind != "pod" || n.Events[0].Kind != "string" {
			t.Errorf("%+v", n)
		}
	})
}

// A child's panic ends its incarnation and nothing else; the Ref reaches the next one, and what the parent tells after
// Restarted arrives.
func TestPanicRebuildsChild(t *testing.T) {
	var l log
	var panics []PanicInfo
	var oldSelf messages.Sink
	var oldCtx context.Context
	cfg := Config{OnPanic: func(p PanicInfo) { panics = append(panics, p) }}
	system(t, cfg, func(t *testing.T, s *System) {
		child := probe{
			started: func(c *Cell) {
				l.add("started%d", c.Incarnation())
				if c.Incarnation() == 1 {
					oldSelf, oldCtx = c.Self(), c.Context()
					c.After(time.Minute, "old timer")
					c.Child("grand", "g", as(probe{stopping: func(*Cell) { l.add("grand-stopping") }}))
				}
			},
			receive: func(c *Cell, msg any) {
				if _, ok := msg.(boom); ok {
					panic("boom")
				}
				l.add("%d:%v", c.Incarnation(), msg)
			},
			stopping: func(c *Cell) { l.add("stopping%d:%v", c.Incarnation(), c.Context().Err()) },
		}
		var ref Ref
		parent := s.Root("pods", "pods", as(probe{
			started: func(c *Cell) {
				ref = c.Child("a", "pod", as(child))
				c.Child("sibling", "pod", as(probe{stopping: func(*Cell) { l.add("sibling-stopping") }}))
			},
			receive: func(c *Cell, msg any) {
				switch m := msg.(type) {
				case Restarted:
					l.add("restarted:%s:%v:%s", m.Name, m.Lost, m.Panic.Value)
					m.Ref.Tell("again")
				default:
					l.add("parent:%v", msg)
				}
			},
		}))
		_ = parent
		synctest.Wait()
		l.take()
		ref.Tell("x")
		ref.Tell(boom{})
		synctest.Wait()
		got := l.take()
		for _, want := range []string{"1:x", "stopping1:context canceled", "grand-stopping", "restarted:a:[grand]:boom", "started2", "2:again"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is missing in %q", want, got)
			}
		}
		if strings.Contains(got, "sibling") {
			t.Error("the sibling was touched: ", got)
		}
		if oldCtx.Err() == nil {
			t.Error("old context lives")
		}
		oldSelf.Tell("stale result")
		time.Sleep(2 * time.Minute)
		ref.Tell("y")
		synctest.Wait()
		if got := l.take(); got != "2:y" {
			t.Errorf("after restart: %q", got)
		}
		if len(panics) != 1 || panics[0].Path != "/pods/a" || !strings.Contains(string(panics[0].Stack), "spawn_test.go") || panics[0].Where != "spawn.boom" {
			t.Errorf("%+v", panics)
		}
		n, _ := s.Registry().Find("/pods/a")
		if n.Restarts != 1 || n.Panics != 1 || n.LastPanic == nil || !strings.Contains(n.LastPanic.Stack, "spawn_test.go") || n.Dropped != 1 || n.InHand != "" {
			t.Errorf("%+v", n)
		}
		if len(n.Children) != 0 {
			t.Error("lost children are still in the tree")
		}
	})
}

// Three panics in a minute: quarantine, then retries by back-off, at virtual times that the policy gives.
func TestQuarantine(t *testing.T) {
	var l log
	var quarantines atomic.Int32
	system(t, Config{OnQuarantine: func(Quarantined) { quarantines.Add(1) }}, func(t *testing.T, s *System) {
		start := time.Now()
		s.Root("pods", "pods", as(probe{
			started: func(c *Cell) {
				c.Child("bad", "pod", as(probe{started: func(c *Cell) {
					l.add("%d@%v", c.Incarnation(), time.Since(start))
					if c.Incarnation() < 6 {
						panic("bad")
					}
				}}))
			},
			receive: func(_ *Cell, msg any) {
				if q, ok := msg.(Quarantined); ok {
					l.add("until@%v", q.Until.Sub(start))
				}
			},
		}))
		time.Sleep(time.Second)
		synctest.Wait()
		n, _ := s.Registry().Find("/pods/bad")
		if n.QuarantinedUntil == nil || !n.QuarantinedUntil.Equal(start.Add(10*time.Second)) {
			t.Errorf("%+v", n)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		want := "1@0s 2@0s 3@0s until@10s 4@10s until@30s 5@30s until@1m10s 6@1m10s"
		if got := l.take(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		n, _ = s.Registry().Find("/pods/bad")
		if n.QuarantinedUntil != nil || n.Restarts != 5 || quarantines.Load() != 3 {
			t.Errorf("%+v", n)
		}
	})
}

// A child in quarantine can be stopped, and stays stopped.
func TestStopInQuarantine(t *testing.T) {
	var l log
	system(t, Config{}, func(t *testing.T, s *System) {
		p := s.Root("pods", "pods", as(probe{
			started: func(c *Cell) {
				c.Child("bad", "pod", func(*Cell) Receiver { l.add("made"); panic("in the producer") })
			},
			receive: func(c *Cell, msg any) {
				switch m := msg.(type) {
				case string:
					r, _ := c.ChildNamed("bad")
					c.StopChild(r)
					c.StopChild(r) // repeated
				case Ended:
					l.add("ended:%s:%v", m.Name, m.Panic != nil)
				}
			},
		}))
		time.Sleep(time.Second)
		p.Tell("stop")
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := l.take(); got != "made made made ended:bad:true" {
			t.Error(got)
		}
	})
}

// A child that is told to stop while its failed incarnation still ends is not built anew.
func TestStopWhileFailing(t *testing.T) {
	var l log
	system(t, Config{}, func(t *testing.T, s *System) {
		gate := make(chan struct{})
		p := s.Root("pods", "pods", as(probe{
			started: func(c *Cell) {
				c.Child("bad", "pod", as(probe{
					started:  func(*Cell) { l.add("made"); panic("bad") },
					stopping: func(*Cell) { <-gate },
				}))
			},
			receive: func(c *Cell, msg any) {
				switch m := msg.(type) {
				case string:
					r, _ := c.ChildNamed("bad")
					c.StopChild(r)
				case Ended:
					l.add("ended:%s:%v", m.Name, m.Panic != nil)
				case Restarted:
					l.add("restarted")
				}
			},
		}))
		synctest.Wait()
		p.Tell("stop")
		synctest.Wait()
		close(gate)
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := l.take(); got != "made ended:bad:true" {
			t.Error(got)
		}
	})
}

func TestStopAndEnded(t *testing.T) {
	var l log
	system(t, Config{OnRootEnded: func(e Ended) { l.add("root-ended:%s", e.Name) }}, func(t *testing.T, s *System) {
		var self, stopped Ref
		p := s.Root("pods", "pods", as(probe{
			started: func(c *Cell) {
				self = c.Child("self", "pod", as(probe{receive: func(c *Cell, _ any) { c.Stop() }}))
				stopped = c.Child("stopped", "pod", as(probe{stopping: func(*Cell) { panic("in Stopping") }}))
			},
			receive: func(c *Cell, msg any) {
				switch m := msg.(type) {
				case Ref:
					c.StopChild(m)
				case Ended:
					l.add("ended:%s:%v", m.Name, m.Panic != nil)
				}
			},
		}))
		synctest.Wait()
		self.Tell("go")
		synctest.Wait()
		p.Tell(stopped)
		synctest.Wait()
		if got := l.take(); got != "ended:self:false ended:stopped:false" {
			t.Error(got)
		}
		self.Tell("nobody")
		if r := s.Registry().Lookup("/pods/self"); r != nil {
			t.Error("still in the tree")
		}
		s.StopRoot(p)
		synctest.Wait()
		if got := l.take(); got != "root-ended:pods" {
			t.Error(got)
		}
	})
}

// The same name again while the old one still stops: two incarnations never share an address.
func TestReplace(t *testing.T) {
	var l log
	system(t, Config{}, func(t *testing.T, s *System) {
		p := s.Root("pods", "pods", as(probe{receive: func(c *Cell, msg any) {
			switch m := msg.(type) {
			case string:
				c.Child("x", "pod", func(*Cell) Receiver {
					return probe{receive: func(_ *Cell, got any) { l.add("%s:%v", m, got) }}
				}).Tell("hello")
			case Ended:
				l.add("ended")
			}
		}}))
		p.Tell("first")
		synctest.Wait()
		p.Tell("second")
		synctest.Wait()
		if got := l.take(); got != "first:hello second:hello ended" && got != "first:hello ended second:hello" {
			t.Error(got)
		}
		if n, ok := s.Registry().Find("/pods/x"); !ok || n.Handled != 1 {
			t.Errorf("%+v", n)
		}
	})
}

func TestTimers(t *testing.T) {
	var l log
	system(t, Config{}, func(t *testing.T, s *System) {
		start := time.Now()
		var cancel func()
		p := s.Root("a", "a", as(probe{
			started: func(c *Cell) {
				c.After(time.Second, "one")
				cancel = c.After(2*time.Second, "never")
				c.After(3*time.Second, "three")
			},
			receive: func(c *Cell, msg any) {
				if msg == "one" {
					cancel()
					cancel()
				}
				l.add("%v@%v", msg, time.Since(start))
			},
		}))
		time.Sleep(2500 * time.Millisecond)
		s.StopRoot(p)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := l.take(); got != "one@1s" {
			t.Error(got)
		}
	})
}

// A due timer whose message waits in the mailbox is still cancelled by cancel.
func TestCancelOfDueTimer(t *testing.T) {
	var l log
	system(t, Config{}, func(t *testing.T, s *System) {
		var cancel func()
		gate := make(chan struct{})
		p := s.Root("a", "a", as(probe{
			started: func(c *Cell) { cancel = c.After(time.Second, "late") },
			receive: func(_ *Cell, msg any) {
				l.add("%v", msg)
				if msg == "block" {
					<-gate
					cancel()
				}
			},
		}))
		p.Tell("block")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if st := s.Registry().Stuck(time.Now(), 4*time.Second); len(st) != 1 || st[0].Path != "/a" || st[0].InHand != "string" || st[0].Mailbox != 1 {
			t.Errorf("stuck %+v", st)
		}
		if top := s.Registry().Top(3); len(top) != 1 || top[0].Mailbox != 1 {
			t.Errorf("top %+v", top)
		}
		close(gate)
		synctest.Wait()
		if got := l.take(); got != "block" {
			t.Error(got)
		}
	})
}

// A root's panic is supervised like a child's, and told to the hook; the panic of a parent names the children it took along.
func TestRootPanic(t *testing.T) {
	var l log
	cfg := Config{OnRootRestarted: func(r Restarted) { l.add("%s lost %v", r.Name, r.Lost) }}
	system(t, cfg, func(t *testing.T, s *System) {
		p := s.Root("images", "images", as(probe{
			started: func(c *Cell) { c.Child(fmt.Sprint("c", c.Incarnation()), "x", as(probe{})) },
			receive: func(c *Cell, msg any) {
				if _, ok := msg.(boom); ok {
					panic(fmt.Errorf("wrapped"))
				}
				l.add("%v", msg)
			},
		}))
		p.Tell(boom{})
		synctest.Wait()
		p.Tell("alive")
		synctest.Wait()
		if got := l.take(); got != "images lost [c1] alive" {
			t.Error(got)
		}
		if _, ok := s.Registry().Find("/images/c2"); !ok {
			t.Error("the new incarnation's child is missing")
		}
	})
}

// Nothing of a message reaches the log, whatever the library logs.
func TestLogsAreRedacted(t *testing.T) {
	var l log
	logger := funcr.New(func(_, args string) { l.add("%s", args) }, funcr.Options{Verbosity: 10})
	slogger := redacting(logger)(nil)
	slogger.Info("[DeadLetter]", slog.Any("message", struct{ Token string }{"secret"}), slog.Any("pid", &actor.PID{Id: "pods/x"}))
	slogger.Error("bad", slog.Any("message", "secret"), slog.Any("reason", fmt.Errorf("secret")))
	slogger.With(slog.Any("message", []byte("secret"))).Error("worse")
	got := l.take()
	if strings.Contains(got, "secret") || !strings.Contains(got, "pods/x") || !strings.Contains(got, "worse") {
		t.Error(got)
	}
}

func TestForeignSink(t *testing.T) {
	system(t, Config{}, func(t *testing.T, s *System) {
		var got atomic.Int32
		pid := s.as.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(string); ok {
				got.Add(1)
			}
		}))
		sink := Sink(s.as.Root, pid)
		sink.Tell("x")
		synctest.Wait()
		s.as.Root.Stop(pid)
		synctest.Wait()
		sink.Tell("y")
		synctest.Wait()
		if got.Load() != 1 {
			t.Error(got.Load())
		}
	})
}

// Many actors with panics, stops and senders from outside, on real goroutines: for the race detector.
func TestStorm(t *testing.T) {
	reg := registry.New()
	s := NewSystem(Config{Registry: reg})
	var got atomic.Int64
	p := s.Root("pods", "pods", as(probe{receive: func(c *Cell, msg any) {
		if n, ok := msg.(int); ok {
			name := fmt.Sprint(n % 50)
			r, ok := c.ChildNamed(name)
			switch {
			case !ok:
				r = c.Child(name, "pod", as(probe{receive: func(c *Cell, msg any) {
					got.Add(1)
					if msg.(int)%97 == 0 {
						panic("storm")
					}
				}}))
			case n%31 == 0:
				c.StopChild(r)
			}
			r.Tell(n)
		}
	}}))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				p.Tell(g*2000 + i)
				if i%200 == 0 {
					reg.Snapshot()
					reg.Top(5)
					reg.Stuck(time.Now(), time.Hour)
				}
			}
		})
	}
	wg.Wait()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if n, _ := reg.Find("/pods"); n.Mailbox == 0 && n.InHand == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the parent did not catch up")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(ctx); err != nil {
		t.Fatal("second stop:", err)
	}
	if got.Load() == 0 || reg.Len() != 0 {
		t.Errorf("%d messages, %d entries left", got.Load(), reg.Len())
	}
	if r := s.Root("late", "x", as(probe{})); !r.IsZero() {
		t.Error("an actor was made after the end")
	}
}

func BenchmarkTell(b *testing.B) {
	s := NewSystem(Config{})
	var n atomic.Int64
	done := make(chan struct{})
	r := s.Root("a", "a", as(probe{receive: func(*Cell, any) {
		if n.Add(1) == int64(b.N) {
			close(done)
		}
	}}))
	b.ResetTimer()
	for range b.N {
		r.Tell(boom{})
	}
	<-done
}
