// Package userns is the /userns actor: the one owner of the ranges of user ids that pods with hostUsers: false get. Which
// range is decided in usernsplan; each one is on disk before its pod hears of it, and all are read back at the start.
package userns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/userns/usernsfile"
	"github.com/troupe-dev/troupe/actors/userns/usernsplan"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/usernsmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Kind is the actor's kind in the inspection.
const Kind = "userns"

// Deps are the parties that the actor talks to. All are required.
type Deps struct {
	Runner *runner.Runner
	Logger klog.Logger
}

// Config of the actor.
type Config struct {
	// PodsDir has the directories of all pods by UID.
	PodsDir string
	Plan    usernsplan.Config
}

const (
	diskTimeout = 10 * time.Second
	loadRetry   = 5 * time.Second
)

// New returns the producer of the actor. Its errors are about Config.
func New(deps Deps, cfg Config) (func(*spawn.Cell) spawn.Receiver, error) {
	if _, err := usernsplan.New(cfg.Plan); err != nil {
		return nil, err
	}
	return func(*spawn.Cell) spawn.Receiver {
		ranges, _ := usernsplan.New(cfg.Plan) // checked above
		return &shell{deps: deps, cfg: cfg, ranges: ranges, pods: map[model.UID]*entry{}}
	}, nil
}

// shell is one incarnation: it begins with what is on disk.
//
// Invariant: a range is in use from before its record is written until after its record is gone.
type shell struct {
	deps   Deps
	cfg    Config
	ranges *usernsplan.Ranges
	loaded bool
	held   []usernsmsg.Message // what came before the records were read
	pods   map[model.UID]*entry
}

// entry is a pod with a range, or one that asks for it.
type entry struct {
	recorded bool
	busy     bool // a write or a removal of the record is under way
	drop     bool
	waiting  []messages.Sink
}

// Messages of the shell to itself.
type (
	load   struct{}
	loaded struct {
		found map[model.UID]model.IDRange
		bad   map[model.UID]error
		err   error
	}
	written struct {
		uid model.UID
		err error
	}
	removed struct {
		uid model.UID
		err error
	}
)

// Started reads the records.
func (s *shell) Started(c *spawn.Cell) { s.load(c) }

// Receive takes usernsmsg messages.
func (s *shell) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case usernsmsg.Message:
		if !s.loaded {
			s.held = append(s.held, m)
			return
		}
		s.receive(c, m)
	case load:
		s.load(c)
	case loaded:
		s.take(c, m)
	case written:
		s.written(c, m)
	case removed:
		s.removed(c, m)
	}
}

func (s *shell) receive(c *spawn.Cell, msg usernsmsg.Message) {
	switch m := msg.(type) {
	case usernsmsg.Want:
		e := s.pods[m.UID]
		if e == nil {
			e = &entry{}
			s.pods[m.UID] = e
		}
		e.drop = false
		e.waiting = append(e.waiting, m.Reply)
		s.settle(c, m.UID)
	case usernsmsg.Drop:
		s.drop(c, m.UID)
	case usernsmsg.Sweep:
		for _, uid := range s.ranges.Owners() {
			if _, owned := m.Owned[uid]; !owned {
				s.drop(c, uid)
			}
		}
	}
}

func (s *shell) drop(c *spawn.Cell, uid model.UID) {
	if e := s.pods[uid]; e != nil {
		e.drop = true
		s.settle(c, uid)
	}
}

// settle does the next thing for a pod: remove its record, write it, or answer.
func (s *shell) settle(c *spawn.Cell, uid model.UID) {
	e := s.pods[uid]
	switch {
	case e.busy:
	case e.drop:
		e.answer(usernsmsg.Have{Err: errors.New("the pod has ended")})
		e.busy = true
		s.disk(c, uid, "remove the user id range", usernsfile.Remove, func(err error) any { return removed{uid, err} })
	default:
		r, err := s.ranges.Take(uid)
		switch {
		case err != nil:
			delete(s.pods, uid)
			e.answer(usernsmsg.Have{Err: err})
		case e.recorded:
			e.answer(usernsmsg.Have{Range: r})
		default:
			e.busy = true
			write := func(dir string) error { return usernsfile.Write(dir, r) }
			s.disk(c, uid, "record the user id range", write, func(err error) any { return written{uid, err} })
		}
	}
}

func (e *entry) answer(have usernsmsg.Have) {
	for _, to := range e.waiting {
		to.Tell(have)
	}
	e.waiting = nil
}

func (s *shell) written(c *spawn.Cell, m written) {
	e := s.pods[m.uid]
	e.busy = false
	if m.err != nil {
		s.deps.Logger.Error(m.err, "Could not record the user ids of a pod", "podUID", m.uid)
		e.answer(usernsmsg.Have{Err: m.err})
		e.drop = true // whatever of it is on disk has to go before the range is free again
	} else {
		e.recorded = true
	}
	s.settle(c, m.uid)
}

func (s *shell) removed(c *spawn.Cell, m removed) {
	e := s.pods[m.uid]
	e.busy = false
	if m.err != nil {
		// The range stays taken: after a restart the record would claim it again. The next sweep tries again.
		s.deps.Logger.Error(m.err, "Could not remove the record of a pod's user ids", "podUID", m.uid)
		if e.drop {
			return
		}
	} else {
		e.recorded = false
		s.ranges.Release(m.uid)
		if e.drop {
			delete(s.pods, m.uid)
			return
		}
	}
	s.settle(c, m.uid) // the pod asked again meanwhile
}

func (s *shell) disk(c *spawn.Cell, uid model.UID, op string, do func(dir string) error, result func(error) any) {
	self, dir := c.Self(), filepath.Join(s.cfg.PodsDir, string(uid))
	s.deps.Runner.Do(c.Context(), runner.Job{Lane: runner.Disk, Op: op, Owner: string(uid), Timeout: diskTimeout,
		Fn: func(context.Context) error {
			err := do(dir)
			self.Tell(result(err))
			return err
		},
		OnPanic: func(any) { self.Tell(result(fmt.Errorf("%s: panicked", op))) },
	})
}

func (s *shell) load(c *spawn.Cell) {
	self, dir := c.Self(), s.cfg.PodsDir
	s.deps.Runner.Do(c.Context(), runner.Job{Lane: runner.Disk, Op: "read the user id ranges", Owner: Kind, Timeout: diskTimeout,
		Fn: func(context.Context) error {
			m := read(dir)
			self.Tell(m)
			return m.err
		},
		OnPanic: func(any) { self.Tell(loaded{err: errors.New("reading the user id ranges panicked")}) },
	})
}

// read reads the records of all pods that have a directory. It runs in a goroutine of the runner.
func read(podsDir string) loaded {
	out := loaded{found: map[model.UID]model.IDRange{}, bad: map[model.UID]error{}}
	dirs, err := os.ReadDir(podsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		out.err = err
		return out
	}
	for _, d := range dirs {
		uid := model.UID(d.Name())
		r, err := usernsfile.Read(filepath.Join(podsDir, d.Name()))
		switch {
		case err == nil:
			out.found[uid] = r
		case !errors.Is(err, fs.ErrNotExist):
			out.bad[uid] = err
		}
	}
	return out
}

func (s *shell) take(c *spawn.Cell, m loaded) {
	if m.err != nil {
		s.deps.Logger.Error(m.err, "Could not read which user ids pods have; pods with user namespaces wait")
		c.After(loadRetry, load{})
		return
	}
	for _, uid := range slices.Sorted(maps.Keys(m.found)) {
		if err := s.ranges.Keep(uid, m.found[uid]); err != nil {
			m.bad[uid] = err
			continue
		}
		s.pods[uid] = &entry{recorded: true}
	}
	for uid, err := range m.bad {
		s.deps.Logger.Error(err, "A pod's record of its user ids cannot be used", "podUID", uid)
	}
	s.loaded = true
	held := s.held
	s.held = nil
	for _, x := range held {
		s.receive(c, x)
	}
}
