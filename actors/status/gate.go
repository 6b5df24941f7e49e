package status

import (
	"time"

	"github.com/troupe-dev/troupe/actors/status/statusplan"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// gate holds calls back while no API server answers, so that an outage costs one attempt at a time however many pods
// have something to say. With the first answer all of them pass. A pod that is held has no call in flight: what it will
// send is decided when its turn comes.
type gate struct {
	down     bool
	failures int
	flying   int
	waiting  []model.UID
	knocking func() // cancels the timer of the next attempt
}

// The pauses between attempts during an outage.
const (
	knockFirst = 200 * time.Millisecond
	knockMost  = 5 * time.Second
)

// pass makes the call that the plan asked for, or holds its pod.
func (g *gate) pass(s *shell, c *spawn.Cell, e *entry, start statusplan.Start) {
	if !g.down {
		g.flying++
		e.letter = newLetter(start)
		if start.After > 0 {
			c.After(start.After, post{e.uid, start, e.letter})
			return
		}
		s.run(c, e.uid, start, e.letter)
		return
	}
	e.state.InFlight, e.state.Sent = statusplan.None, 0
	e.state.Reread = e.state.Reread || start.Op == statusplan.Reading
	if !e.held {
		e.held = true
		g.waiting = append(g.waiting, e.uid)
	}
	if g.flying == 0 && g.knocking == nil {
		g.due(s, c)
	}
}

// due lets one pod try.
func (g *gate) due(s *shell, c *spawn.Cell) {
	g.knocking = nil
	for len(g.waiting) > 0 && g.flying == 0 {
		uid := g.waiting[0]
		g.waiting = g.waiting[1:]
		g.down = false
		g.release(s, c, uid)
		g.down = true
	}
}

func (g *gate) release(s *shell, c *spawn.Cell, uid model.UID) {
	if e := s.pods[uid]; e != nil && e.held {
		e.held = false
		s.feed(c, e, statusplan.Tick{Now: time.Now()})
	}
}

func (g *gate) answered(s *shell, c *spawn.Cell, reached bool) {
	g.flying--
	if !reached {
		if !g.down {
			g.down = true
			s.deps.Logger.Info("API server does not answer, statuses wait")
			c.Entry().SetState("API server does not answer")
		}
		if g.knocking == nil {
			g.knocking = c.After(min(knockFirst<<min(g.failures, 10), knockMost), knock{})
			g.failures++
		}
		return
	}
	if !g.down {
		return
	}
	g.down, g.failures = false, 0
	if g.knocking != nil {
		g.knocking()
		g.knocking = nil
	}
	s.deps.Logger.Info("API server answers again", "waitingStatuses", len(g.waiting))
	c.Entry().SetState("")
	waiting := g.waiting
	g.waiting = nil
	for _, uid := range waiting {
		g.release(s, c, uid)
	}
}
