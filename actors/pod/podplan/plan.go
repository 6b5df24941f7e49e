package podplan

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

const (
	// sandboxFirst and sandboxMax pace the tries of a sandbox that the runtime refused. The kubelet waits 10–15 s after
	// each error; a refusal costs one call, so the first tries come sooner.
	sandboxFirst = time.Second
	sandboxMax   = 30 * time.Second
	// doubtFirst and doubtMax pace the looks while an outcome is unknown.
	doubtFirst = 500 * time.Millisecond
	doubtMax   = 10 * time.Second
	// endPatience is how long an ending waits for a sandbox call in flight before it cancels it.
	endPatience = 2 * time.Second
	// endForce is how long after the grace the sandboxes are stopped although a container was not seen to end. A stop is
	// given at least two seconds and is tried again when it failed.
	endForce = 15 * time.Second
	// minGrace is the least grace of a pod: a grace of zero is taken as one second, as the kubelet does.
	minGrace = time.Second
)

// New is the state of a pod that a source has just assigned.
func New(pod *v1.Pod, static bool) State {
	s := State{
		Pod: pod, Run: pod, Shown: pod, Static: static,
		Views: map[string]model.ContainerView{}, Told: map[string]uint64{}, Floor: map[string]uint64{}, Granted: map[string]model.SandboxID{}, Targets: map[string]model.ContainerID{}, Revoked: map[string]time.Time{},
		Stopped: map[model.SandboxID]bool{}, Removed: map[model.SandboxID]bool{}, Unseen: map[string]bool{},
	}
	if pod.Status.StartTime != nil {
		s.StartTime = pod.Status.StartTime.Time
	}
	return s
}

// Next folds one event into the state and decides what to do now. The state that was passed in must not be used again.
func Next(s State, now time.Time, ev podmsg.Event) (State, []Action) {
	p := plan{s: &s, now: now}
	p.fold(ev)
	p.decide()
	p.timer()
	return s, p.acts
}

type plan struct {
	s    *State
	now  time.Time
	acts []Action
}

func (p *plan) do(a Action) { p.acts = append(p.acts, a) }

func (p *plan) event(warning bool, reason, format string, args ...any) {
	p.do(Event{Warning: warning, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

func (p *plan) begin(op podmsg.Op, id model.SandboxID) model.Generation {
	p.s.Gen++
	p.s.Op, p.s.OpID, p.s.OpSince, p.s.Cancelled = op, id, p.now, false
	return p.s.Gen
}

// fold writes an event into the state. It starts nothing: decide does.
func (p *plan) fold(ev podmsg.Event) {
	s := p.s
	switch e := ev.(type) {
	case podmsg.Desired:
		p.desired(e.Pod)
	case podmsg.StatusSeen:
		known := s.Shown == s.Run
		s.setPod(e.Pod)
		if known {
			s.Shown = s.Run // nothing that a container is made from has changed
		}
	case podmsg.SourceGone:
		s.Gone = true
	case podmsg.Gate:
		s.Gate = e
	case podmsg.Admitted:
		if s.Admission != AdmissionRefused {
			s.Admission, s.Placed = AdmissionGranted, true
			if s.StartTime.IsZero() {
				s.StartTime = p.now
			}
			p.resizeEvent(e)
		}
	case podmsg.Resized, podmsg.ResizePending, podmsg.MemoryUsage:
		p.resizeEvent(ev)
	case podmsg.Refused:
		if s.Admission != AdmissionGranted {
			s.Admission = AdmissionRefused
			p.end(EndRefused, e.Reason, e.Message, nil, nil)
		}
	case podmsg.CgroupReady:
		if (s.Cgroup == Asked || s.Cgroup == Held) && (e.Seq == 0 || e.Seq == s.CgroupSeq) {
			s.CgroupSeen, s.CgroupHas = s.CgroupSeq, s.cgroupWanted
			s.Cgroup, s.CgroupParent, s.CgroupErr = Held, e.Parent, ""
		}
	case podmsg.CgroupFailed:
		s.CgroupErr = e.Err.Error()
	case podmsg.CgroupGone:
		if s.Cgroup == Dropping {
			s.Cgroup, s.CgroupErr = Gone, ""
		}
	case podmsg.VolumesReady:
		if s.Volumes == Asked || s.Volumes == Held {
			s.Volumes, s.Mounts, s.VolumesErr = Held, e.Mounts, ""
		}
	case podmsg.VolumesBlocked:
		s.VolumesErr = e.Message
	case podmsg.VolumesGone:
		if s.Volumes == Dropping {
			s.Volumes, s.VolumesErr = Gone, ""
		}
	case podmsg.Dirty:
		p.dirty(e)
	case podmsg.Look:
		p.look(e)
	case podmsg.Child:
		if e.View.Seq >= s.Floor[e.View.Name] {
			s.Views[e.View.Name] = e.View
		}
	case podmsg.OwnerRestarted:
		p.askAgain()
	case podmsg.ChildRestarted:
		if _, known := s.Views[e.Name]; known {
			s.Resize.Lost(e.Name)
			delete(s.Granted, e.Name)
			delete(s.Revoked, e.Name)
			s.Unseen[e.Name] = true
			s.Told[e.Name]++
			s.Floor[e.Name] = s.Told[e.Name] // what the earlier incarnation said last is of no use
		}
	case podmsg.End:
		p.end(EndNode, e.Reason, e.Message, e.Grace, e.Condition)
	case podmsg.Acked:
		if e.Gen <= s.PubGen { // a later one was given by an earlier incarnation
			s.AckedGen = max(s.AckedGen, e.Gen)
		}
	case podmsg.Done:
		p.done(e)
	case podmsg.Tick:
		s.Timer = time.Time{}
	}
}

// pace is a doubling delay: first, 2·first, … up to max.
func pace(first, max time.Duration, n int) time.Duration {
	d := first
	for i := 1; i < n && d < max; i++ {
		d *= 2
	}
	return min(d, max)
}
