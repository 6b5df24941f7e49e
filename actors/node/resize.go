package node

import (
	"context"
	"errors"
	"maps"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/node/admission"
	"github.com/troupe-dev/troupe/actors/node/allocfile"
	"github.com/troupe-dev/troupe/actors/pod/allocation"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/nodemsg"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

const (
	// saveDelay is how long a record that nobody waits for may be missing on disk; a burst of pods is one write.
	saveDelay = 500 * time.Millisecond
	// saveRetry is when a write that failed is tried again, unless a resize waits for one.
	saveRetry = 30 * time.Second
	// resizeRetry is how often pending resizes are looked at although no room was seen to appear (the kubelet's pace).
	resizeRetry = 3 * time.Minute
	// rejoinPatience is how long, after all pods of an earlier agent are known, a resize waits for each of them to take
	// its place again.
	rejoinPatience = 5 * time.Second
)

// promises are what the node has promised its pods and what they have carried out: the two files. They outlive a panic of
// the shell.
type promises struct {
	allocated, actuated allocfile.Entries
	// objects are the newest known objects of pods with a place, for the sums of the ledger.
	objects map[model.UID]*v1.Pod
	pending map[model.UID]*pendingResize
	// dirty are changes that no write holds yet.
	dirtyAllocated, dirtyActuated bool
	// rejoin are pods of an earlier agent that have not taken their place again; nil before a Sweep has named them.
	rejoin   map[model.UID]struct{}
	rejoinBy time.Time
	triedAt  time.Time
}

type pendingResize struct {
	pod   *v1.Pod
	reply messages.Sink
	since time.Time // when it was first refused
}

// Messages of the shell to itself.
type (
	saveDue struct{}
	saved   struct {
		allocated, actuated bool
		err                 error
	}
	rejoined struct{}
)

// saving is the write in flight, and who waits for one.
type saving struct {
	busy, due bool
	// waiting are told once a write that began later than they asked has ended; begun are those of the one in flight.
	waiting, begun []func()
}

// restore reads the two files. What cannot be read is rebuilt from what runs.
func (p *promises) restore(dir string, log klog.Logger) {
	*p = promises{allocated: allocfile.Entries{}, actuated: allocfile.Entries{}, objects: map[model.UID]*v1.Pod{}, pending: map[model.UID]*pendingResize{}}
	if dir == "" {
		return
	}
	load := func(name string) allocfile.Entries {
		e, aside, err := allocfile.Load(dir, name)
		if err != nil {
			log.Error(err, "The record of pod resources cannot be read; it is rebuilt from what runs", "file", name, "setAside", aside)
		}
		return e
	}
	p.allocated, p.actuated = load(allocfile.Allocated), load(allocfile.Actuated)
}

// promised is the pod as the node has promised it, which a new pod gets as it asks.
func (p *promises) promised(pod *v1.Pod) *v1.Pod { return allocation.Apply(pod, p.allocated[pod.UID]) }

// take enters the pod into the ledger: as promised, or as it still is where that is more.
func (s *shell) take(pod *v1.Pod) {
	s.objects[pod.UID] = pod
	s.ledger.TakeBoth(s.promised(pod), allocation.Apply(pod, s.actuated[pod.UID]))
}

// settle gives an admitted pod its promise and answers it.
func (s *shell) settle(c *spawn.Cell, m nodemsg.Admit) {
	uid := m.Pod.UID
	if s.allocated[uid] == nil {
		if m.Adopted {
			s.allocated[uid], s.actuated[uid] = allocation.Rebuild(m.Pod)
			s.dirtyActuated = true
		} else {
			s.allocated[uid] = allocation.Of(m.Pod)
		}
		s.dirtyAllocated = true
		s.save(c, nil)
	} else if m.Adopted && s.actuated[uid] == nil {
		_, s.actuated[uid] = allocation.Rebuild(m.Pod)
		s.dirtyActuated = true
		s.save(c, nil)
	}
	s.take(m.Pod)
	m.Reply.Tell(podmsg.Admitted{Allocated: s.allocated[uid], Actuated: s.actuated[uid]})
	s.back(c, uid)
}

// release forgets a pod; what it had may be what another one waits for.
func (s *shell) release(c *spawn.Cell, uid model.UID) {
	s.ledger.Release(uid)
	delete(s.objects, uid)
	delete(s.pending, uid)
	s.forget(uid)
	s.save(c, nil)
	s.back(c, uid)
	s.retry(c)
}

func (p *promises) forget(uid model.UID) {
	if _, ok := p.allocated[uid]; ok {
		delete(p.allocated, uid)
		p.dirtyAllocated = true
	}
	if _, ok := p.actuated[uid]; ok {
		delete(p.actuated, uid)
		p.dirtyActuated = true
	}
}

// sweep forgets what no plan owns, and learns which pods of an earlier agent are still to take their place.
func (s *shell) sweep(c *spawn.Cell, owned map[model.UID]struct{}) {
	s.rejoin = map[model.UID]struct{}{}
	for _, e := range []allocfile.Entries{s.allocated, s.actuated} {
		for uid := range e {
			if _, ok := owned[uid]; !ok {
				s.forget(uid)
			} else if !s.ledger.Has(uid) {
				s.rejoin[uid] = struct{}{}
			}
		}
	}
	s.save(c, nil)
	s.rejoinBy = time.Now().Add(rejoinPatience)
	c.After(rejoinPatience, rejoined{})
	s.retry(c)
}

// back notes that a pod has its place, or has ended.
func (s *shell) back(c *spawn.Cell, uid model.UID) {
	if _, waited := s.rejoin[uid]; waited {
		if delete(s.rejoin, uid); len(s.rejoin) == 0 {
			s.retry(c)
		}
	}
}

// resize takes a pod's wish for another promise.
func (s *shell) resize(c *spawn.Cell, m nodemsg.Resize) {
	uid := m.Pod.UID
	if s.allocated[uid] == nil || !s.ledger.Has(uid) {
		return // it has no place: it will be admitted as it asks then
	}
	s.objects[uid] = m.Pod
	if allocation.Fits(m.Pod, s.allocated[uid]) {
		delete(s.pending, uid)
		now := podmsg.Resized{Allocated: s.allocated[uid], Generation: m.Pod.Generation}
		s.inOrder(func() { m.Reply.Tell(now) })
		return
	}
	next := &pendingResize{pod: m.Pod, reply: m.Reply}
	if was := s.pending[uid]; was != nil {
		next.since = was.since
	}
	s.pending[uid] = next
	s.retry(c)
}

// carried takes what a pod has carried out; what it needed until then is free.
func (s *shell) carried(c *spawn.Cell, m nodemsg.Actuated) {
	uid := m.Pod.UID
	if s.allocated[uid] == nil {
		return
	}
	s.actuated[uid] = m.Actuated
	s.dirtyActuated = true
	s.save(c, nil)
	if s.ledger.Has(uid) {
		s.take(m.Pod)
		s.retry(c)
	}
}

// retry looks at all pending resizes in their order. It waits until every pod of an earlier agent has its place: room that
// is not taken yet is not free.
func (s *shell) retry(c *spawn.Cell) {
	now := time.Now()
	if len(s.pending) == 0 || s.config.StateDir != "" && s.rejoin == nil || len(s.rejoin) > 0 && now.Before(s.rejoinBy) {
		return
	}
	s.triedAt = now
	list := make([]admission.Pending, 0, len(s.pending))
	for uid, p := range s.pending {
		list = append(list, admission.Pending{Pod: p.pod, Allocated: s.allocated[uid], Since: p.since})
	}
	admission.Order(list)
	for _, p := range list {
		s.try(c, p, now)
	}
}

func (s *shell) try(c *spawn.Cell, p admission.Pending, now time.Time) {
	uid := p.Pod.UID
	asked := s.pending[uid]
	r := s.config.Resize.CheckResize(p.Pod, p.Allocated)
	if r == nil {
		r = s.check(p.Pod)
	}
	if r == nil {
		delete(s.pending, uid)
		a := allocation.Of(p.Pod)
		s.allocated[uid] = a
		s.dirtyAllocated = true
		s.take(p.Pod)
		// What was promised is on disk before it is carried out: an agent that dies meanwhile does not give the room away.
		s.save(c, func() { asked.reply.Tell(podmsg.Resized{Allocated: a, Generation: asked.pod.Generation}) })
		return
	}
	answer := podmsg.ResizePending{Reason: v1.PodReasonDeferred, Message: r.Message, Generation: p.Pod.Generation}
	if r.Reason == v1.PodReasonInfeasible {
		answer.Reason = r.Reason
		delete(s.pending, uid)
	} else if asked.since.IsZero() {
		asked.since = now
	}
	s.deps.Logger.V(2).Info("Pod resize is pending", "pod", klog.KObj(p.Pod), "podUID", uid, "reason", answer.Reason, "message", answer.Message)
	s.inOrder(func() { asked.reply.Tell(answer) })
}

// inOrder calls f after the answers that wait for a write: what a pod is told keeps its order.
func (s *shell) inOrder(f func()) {
	w := &s.saving
	switch {
	case len(w.waiting) > 0:
		w.waiting = append(w.waiting, f)
	case len(w.begun) > 0:
		w.begun = append(w.begun, f)
	default:
		f()
	}
}

// save sees to it that what is dirty gets written. done, when not nil, is called once it is, or once it could not be: a
// disk that fails is reported, and holds up no pod.
func (s *shell) save(c *spawn.Cell, done func()) {
	w := &s.saving
	if s.config.StateDir == "" {
		s.dirtyAllocated, s.dirtyActuated = false, false
		if done != nil {
			done()
		}
		return
	}
	if done != nil {
		w.waiting = append(w.waiting, done)
	}
	switch {
	case w.busy || !s.dirtyAllocated && !s.dirtyActuated && len(w.waiting) == 0:
	case len(w.waiting) > 0:
		s.persist(c)
	case !w.due:
		w.due = true
		c.After(saveDelay, saveDue{})
	}
}

// persist begins a write of what is dirty. Entries are never changed, so that a copy of the map is enough.
func (s *shell) persist(c *spawn.Cell) {
	w := &s.saving
	done := saved{allocated: s.dirtyAllocated, actuated: s.dirtyActuated}
	var allocated, actuated allocfile.Entries
	if done.allocated {
		allocated = maps.Clone(s.allocated)
	}
	if done.actuated {
		actuated = maps.Clone(s.actuated)
	}
	s.dirtyAllocated, s.dirtyActuated = false, false
	w.busy, w.begun, w.waiting = true, w.waiting, nil
	self, dir := c.Self(), s.config.StateDir
	s.deps.Runner.Do(c.Context(), runner.Job{Lane: runner.Disk, Op: "save pod resources", Owner: "node", Timeout: time.Minute,
		Fn: func(context.Context) error {
			done.err = saveBoth(dir, allocated, actuated)
			self.Tell(done)
			return done.err
		},
		OnPanic: func(any) {
			done.err = errors.New("internal error")
			self.Tell(done)
		},
	})
}

func saveBoth(dir string, allocated, actuated allocfile.Entries) error {
	var err error
	if allocated != nil {
		err = allocfile.Save(dir, allocfile.Allocated, allocated)
	}
	if actuated != nil {
		err = errors.Join(err, allocfile.Save(dir, allocfile.Actuated, actuated))
	}
	return err
}

func (s *shell) saveDone(c *spawn.Cell, m saved) {
	w := &s.saving
	w.busy = false
	if m.err != nil {
		s.deps.Logger.Error(m.err, "The record of pod resources cannot be written")
		s.dirtyAllocated, s.dirtyActuated = s.dirtyAllocated || m.allocated, s.dirtyActuated || m.actuated
		if !w.due {
			w.due = true
			c.After(saveRetry, saveDue{})
		}
	}
	begun := w.begun
	w.begun = nil
	for _, tell := range begun {
		tell()
	}
	s.save(c, nil)
}

// Save writes what is not on disk yet. It is for the agent's end, when no actor runs any more.
func (a *Actor) Save() error {
	if a.config.StateDir == "" {
		return nil
	}
	var allocated, actuated allocfile.Entries
	if a.dirtyAllocated {
		allocated = a.allocated
	}
	if a.dirtyActuated {
		actuated = a.actuated
	}
	return saveBoth(a.config.StateDir, allocated, actuated)
}
