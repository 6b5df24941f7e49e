package containerplan

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

const (
	// minStopGrace is the least that StopContainer is given, as the kubelet does (its minimumGracePeriodInSeconds).
	minStopGrace = 2 * time.Second
	// doubtFirst and doubtMax pace the looks while a call's outcome is unknown.
	doubtFirst = 500 * time.Millisecond
	doubtMax   = 10 * time.Second
	// endPatience is how long a container that was told to stop waits for a create, start or read in flight before it
	// cancels it; the deadline comes first.
	endPatience = 2 * time.Second
	// hintPatience is how long after a hint the answer of a stop in flight is waited for.
	hintPatience = time.Second
	// stopPatience and stopPatienceMax pace the repeats of a stop that has not answered although its grace is over.
	stopPatience    = 5 * time.Second
	stopPatienceMax = time.Minute
	// failFirst and failMax pace the tries of a create or start that was refused; a refusal costs nothing but the call,
	// so it is far below the kubelet's 10 s.
	failFirst = time.Second
	failMax   = 60 * time.Second
	// stopRetryFirst and stopRetryMax pace stops that failed.
	stopRetryFirst = time.Second
	stopRetryMax   = 30 * time.Second
)

// API reasons of a waiting container and of its events.
const (
	ReasonCrashLoop            = "CrashLoopBackOff"
	ReasonRunError             = "RunContainerError"
	ReasonCreateError          = "CreateContainerError"
	ReasonConfigError          = "CreateContainerConfigError"
	ReasonPostStartError       = "PostStartHookError"
	ReasonStatusUnknown        = "ContainerStatusUnknown"
	messageLost                = "The container could not be located when the pod was terminated"
	exitLost             int32 = 137
)

// Next folds one event into the state and decides what to do now. The state that was passed in must not be used again.
func Next(s State, now time.Time, ev containermsg.Event) (State, []Action) {
	p := plan{s: &s, now: now}
	p.fold(ev)
	p.decide()
	p.timer()
	return s, p.acts
}

// plan is one step of Next.
type plan struct {
	s    *State
	now  time.Time
	acts []Action
}

func (p *plan) do(a Action) { p.acts = append(p.acts, a) }

func (p *plan) event(warning bool, reason, format string, args ...any) {
	p.do(Event{Warning: warning, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// begin marks a call as in flight.
func (p *plan) begin(op containermsg.Op, id model.ContainerID) model.Generation {
	p.s.Gen++
	p.s.Op, p.s.OpID, p.s.OpSince, p.s.Cancelled = op, id, p.now, false
	return p.s.Gen
}

func (s *State) setPod(pod *v1.Pod) {
	s.Pod = pod
	s.Spec, s.Kind = find(pod, s.Name)
	if s.Spec != nil {
		s.Hash = Hash(s.Spec)
	}
}

// setCur takes a newer instance, or a newer reading of the same one.
func (p *plan) setCur(c *model.Container) {
	s := p.s
	if s.Cur != nil && c != nil && s.Cur.ID == c.ID {
		if c.Sandbox == "" { // a read by id does not name it
			named := *c
			named.Sandbox = s.Cur.Sandbox
			c = &named
		}
		if !c.Detailed && s.Cur.Detailed {
			merged := *s.Cur
			merged.State = c.State
			if merged.State == model.ContainerExited && s.Cur.State != model.ContainerExited {
				merged.Detailed = false // the exit code is not known yet
			}
			c = &merged
		}
		if s.Cur.State == model.ContainerExited && c.State != model.ContainerExited {
			return // an ended instance stays ended: the reading is older
		}
		s.Cur = c
		return
	}
	p.letGo()
	if s.Cur != nil && s.Cur.State == model.ContainerExited {
		if s.Older != "" {
			p.do(Remove{ID: s.Older}) // no newer instance got as far as to remove it
			s.Older = ""
		}
		if s.Prev != nil {
			s.Older = s.Prev.ID
		}
		s.Prev = s.Cur
	}
	s.Cur = c
	s.PostStarted, s.PreStopped, s.Kill, s.StopBy, s.StopTries, s.StopTold = false, false, nil, time.Time{}, 0, false
	s.Started, s.Ready = false, false
	p.quiet()
	s.StopRetryAt = time.Time{}
	s.Settled, s.NewRound = false, false
	s.Given, s.Resize = nil, nil
	if c != nil && s.OpGiven != nil && c.Attempt == uint32(s.OpCount) && s.OpSandbox == c.Sandbox {
		s.Given = s.OpGiven // the instance that our create made, also when its answer was lost
	}
	if c != nil {
		if n := RestartCountOf(c); n > s.RestartCount {
			s.RestartCount = n
		}
		s.NextCount = s.RestartCount + 1
	}
}

// letGo ends a call that is about the current instance, because that is no longer the current one.
func (p *plan) letGo() {
	switch p.s.Op {
	case containermsg.OpPostStart, containermsg.OpPreStop, containermsg.OpStop, containermsg.OpRemove, containermsg.OpResize:
		if p.s.Cur != nil && p.s.OpID == p.s.Cur.ID {
			p.do(Cancel{Gen: p.s.Gen})
			p.s.Op = containermsg.OpNone
		}
	case containermsg.OpNone, containermsg.OpCreate, containermsg.OpStart, containermsg.OpStatus:
	}
}

// lost turns an instance that the runtime no longer has into an ended one, as the kubelet reports it.
func (p *plan) lost() {
	s := p.s
	if s.Cur == nil || (s.Cur.State == model.ContainerExited && s.Cur.Detailed) {
		return // how it ended is known: that somebody removed it since changes nothing
	}
	c := *s.Cur
	if c.State == model.ContainerCreated {
		p.letGo()
		p.neverRan()
		return
	}
	c.State, c.ExitCode, c.Reason, c.Message = model.ContainerExited, exitLost, ReasonStatusUnknown, messageLost
	c.FinishedAt, c.Detailed = p.now, true
	s.Cur = &c
}

// neverRan forgets an instance that is gone and never ran: there is nothing to report, and its number is free.
func (p *plan) neverRan() {
	s := p.s
	s.NextCount = RestartCountOf(s.Cur)
	s.Cur, s.Prev = s.Prev, nil
}

func find(pod *v1.Pod, name string) (*v1.Container, model.ContainerKind) {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.Name == name {
			if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
				return c, model.KindSidecar
			}
			return c, model.KindInit
		}
	}
	for i := range pod.Spec.Containers {
		if c := &pod.Spec.Containers[i]; c.Name == name {
			return c, model.KindApp
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if c := &pod.Spec.EphemeralContainers[i]; c.Name == name {
			plain := v1.Container(c.EphemeralContainerCommon)
			return &plain, model.KindEphemeral
		}
	}
	return nil, model.KindApp
}
