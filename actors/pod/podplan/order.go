package podplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// grants gives containers their turn: ephemeral ones at once, init containers one after the other (a started sidecar
// lets the next one go), then app containers in spec order, each after the one before has left its postStart.
func (p *plan) grants() {
	s := p.s
	for i := range s.Pod.Spec.EphemeralContainers {
		p.grant(s.Pod.Spec.EphemeralContainers[i].Name)
	}
	past := s.appsBegan()
	for i := range s.Pod.Spec.InitContainers {
		name := s.Pod.Spec.InitContainers[i].Name
		v := s.Views[name]
		if v.Kind != model.KindSidecar && past {
			continue // init containers have had their round in this sandbox
		}
		p.grant(name)
		if !past && !initDone(v) {
			return
		}
	}
	for i := range s.Pod.Spec.Containers {
		name := s.Pod.Spec.Containers[i].Name
		p.grant(name)
		if !underWay(s.Views[name]) {
			return
		}
	}
}

func (p *plan) grant(name string) {
	s := p.s
	target := s.target(name)
	if (s.Granted[name] == s.Sandbox.ID && s.Targets[name] == target) || s.Unseen[name] {
		return
	}
	s.Granted[name] = s.Sandbox.ID
	if s.Targets[name] != target {
		s.Targets[name] = target
	}
	delete(s.Revoked, name)
	s.Told[name]++
	p.do(Tell{Name: name, Event: containermsg.Grant{Seq: s.Told[name], Sandbox: s.Sandbox.ID, IPs: s.Sandbox.IPs, Mounts: s.Mounts, Target: target}})
}

// initDone: a sidecar has started, or an init container has ended well for good.
func initDone(v model.ContainerView) bool {
	if v.Kind == model.KindSidecar {
		return v.Started
	}
	return v.Settled && v.Current != nil && v.Current.State == model.ContainerExited && v.Current.ExitCode == 0
}

// underWay: an app container no longer holds up the next one.
func underWay(v model.ContainerView) bool {
	switch v.Stage {
	case model.StageHeld, model.StageCreating, model.StageStarting:
		return false
	case model.StagePulling:
		return v.WaitingReason != "" // a pull that failed before holds nobody up
	case model.StageExited:
		return v.Current != nil
	case model.StageBackoff, model.StageUp, model.StageStopping, model.StageDoubt, model.StageDone:
		return true
	}
	return true
}

// appsBegan: an app container was created in this sandbox and round, so initialisation is over.
func (s *State) appsBegan() bool {
	for i := range s.Pod.Spec.Containers {
		name := s.Pod.Spec.Containers[i].Name
		if v := s.Views[name]; v.Current != nil && s.Sandbox != nil && v.Current.Sandbox == s.Sandbox.ID && v.Current.ID != s.Past[name] {
			return true
		}
	}
	return false
}

func (s *State) initialized() bool {
	if s.appsBegan() {
		return true
	}
	for i := range s.Pod.Spec.InitContainers {
		if !initDone(s.Views[s.Pod.Spec.InitContainers[i].Name]) {
			return false
		}
	}
	return true
}

// completed: no container of the pod will ever run again, sidecars aside.
func (s *State) completed() bool {
	for i := range s.Pod.Spec.InitContainers {
		v := s.Views[s.Pod.Spec.InitContainers[i].Name]
		if v.Kind == model.KindInit && v.Settled && !v.RestartAll && v.Current != nil && v.Current.State == model.ContainerExited && v.Current.ExitCode != 0 && !s.appsBegan() {
			return s.Round == nil
		}
	}
	for i := range s.Pod.Spec.Containers {
		if v := s.Views[s.Pod.Spec.Containers[i].Name]; !v.Settled || v.RestartAll {
			return false
		}
	}
	return len(s.Pod.Spec.Containers) > 0 && s.Round == nil
}

// round begins a new round: the sandbox died under containers that may run again, or an exit rule asks for it.
func (p *plan) round() {
	s := p.s
	if s.Sandbox != nil && s.Sandbox.State != model.SandboxReady && s.anyRan() && s.Stopped[s.Sandbox.ID] == s.Removed[s.Sandbox.ID] && s.granted() {
		p.event(false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
		s.Round = &Round{NewSandbox: true, Deadline: p.now.Add(minGrace)}
		return
	}
	for name, v := range s.Views {
		if v.RestartAll && v.Seq >= s.Told[name] {
			s.Round = &Round{Deadline: p.now}
			return
		}
	}
}

func (s *State) granted() bool { return len(s.Granted) > 0 || s.Adopted }

func (s *State) anyRan() bool {
	for _, v := range s.Views {
		if v.Current != nil {
			return true
		}
	}
	return false
}

// turnOver carries the round on: revoke all, stop the dead sandbox, restart those that may run again.
func (p *plan) turnOver() {
	s := p.s
	for _, name := range names(s.Pod) {
		if s.liveOne(name) {
			p.revoke(name, s.Round.Deadline, "the pod's containers start again")
		}
	}
	if s.live() {
		return
	}
	again := false
	for _, name := range names(s.Pod) {
		if s.mayRunAgain(name) {
			again = true
		}
	}
	round := *s.Round
	s.Round = nil
	s.Adopted = false
	clear(s.Granted)
	clear(s.Revoked)
	s.Past = make(map[string]model.ContainerID, len(s.Views))
	for name, v := range s.Views {
		if v.Current != nil {
			s.Past[name] = v.Current.ID
		}
	}
	if !again && round.NewSandbox {
		return // completed() sees that nothing is left to run
	}
	for _, name := range names(s.Pod) {
		if !round.NewSandbox || s.mayRunAgain(name) {
			v := s.Views[name]
			v.Settled, v.RestartAll, v.Started, v.Ready = false, false, false, false
			v.Stage = model.StageHeld
			s.Views[name] = v
			s.Told[name]++
			s.Floor[name] = s.Told[name]
			p.do(Tell{Name: name, Event: containermsg.Restart{Seq: s.Told[name]}})
		}
	}
}

// mayRunAgain says whether a container runs again in a new sandbox: init containers if any app container does, app
// containers as their policy says of their last end.
func (s *State) mayRunAgain(name string) bool {
	v := s.Views[name]
	switch v.Kind {
	case model.KindEphemeral:
		return false
	case model.KindSidecar, model.KindInit:
		for i := range s.Pod.Spec.Containers {
			if s.mayRunAgain(s.Pod.Spec.Containers[i].Name) {
				return true
			}
		}
		return false
	case model.KindApp:
	}
	if v.Current == nil || v.Current.State == model.ContainerCreated {
		return true // it has not run yet
	}
	c := appContainer(s.Pod, name)
	if c == nil {
		return false
	}
	rules, pol := policy.ForContainer(&s.Pod.Spec, c, v.Kind, policy.Curve{}, true)
	return policy.Decide(policy.Exit{Code: v.Current.ExitCode}, rules, pol, policy.History{}, time.Time{}).Action != policy.Stay
}

func appContainer(pod *v1.Pod, name string) *v1.Container {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	return nil
}

// revoke takes the permission back; a repeated one only ever shortens the deadline.
func (p *plan) revoke(name string, deadline time.Time, why string) {
	s := p.s
	if at, told := s.Revoked[name]; told && !deadline.Before(at) {
		return
	}
	s.Revoked[name] = deadline
	s.Told[name]++
	p.do(Tell{Name: name, Event: containermsg.Revoke{Seq: s.Told[name], Reason: why, Grace: max(deadline.Sub(p.now), 0), Deadline: deadline}})
}

// target is the newest instance of the container that an ephemeral one names as its target, running or not: the runtime
// refuses what it cannot join. Once an ephemeral container was made its target stays; one that has none yet is told again
// when it has.
func (s *State) target(name string) model.ContainerID {
	if s.Views[name].Current != nil {
		return s.Targets[name]
	}
	for i := range s.Pod.Spec.EphemeralContainers {
		if c := &s.Pod.Spec.EphemeralContainers[i]; c.Name == name && c.TargetContainerName != "" {
			if cur := s.Views[c.TargetContainerName].Current; cur != nil {
				return cur.ID
			}
		}
	}
	return ""
}
