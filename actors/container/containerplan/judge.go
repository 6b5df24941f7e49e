package containerplan

import (
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// judge decides, once for each instance, what follows its end.
func (p *plan) judge() {
	s := p.s
	s.Judged = s.Cur.ID
	s.Settled, s.RestartAll, s.Waited = false, false, 0
	if s.NewRound {
		return
	}
	kill := s.Kill
	if kill != nil && (kill.Reason == KillChanged || kill.Reason == KillResize) {
		return // another definition starts at once, whatever the policy says of the old one
	}
	exit := policy.Exit{Code: s.Cur.ExitCode, Cause: policy.Exited, At: s.Cur.FinishedAt}
	if kill != nil {
		exit.Cause = policy.Killed
	}
	if exit.At.IsZero() || exit.At.After(p.now) {
		exit.At = p.now
	}
	rules, pol := policy.ForContainer(&s.Pod.Spec, s.Spec, s.Kind, s.Curve, true)
	d := policy.Decide(exit, rules, pol, s.History, p.now)
	switch d.Action {
	case policy.Stay:
		s.Settled = true
	case policy.RestartAll:
		s.Settled, s.RestartAll = true, true
	case policy.Start, policy.Quarantine:
		s.History, s.RestartAt, s.Waited = d.History, d.At, d.At.Sub(exit.At)
		if d.Wait(p.now) > 0 && s.Revoke == nil {
			p.event(true, "BackOff", "Back-off restarting failed container %s in pod %s", s.Name, podText(s.Pod))
		}
	}
}
