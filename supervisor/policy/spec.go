package policy

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Actors is the policy for panics: three in a minute lead to quarantine, which is left by a back-off of 10 s to 300 s.
func Actors() Policy {
	return Policy{
		Restart:   Always,
		Curve:     Curve{Initial: 10 * time.Second, Max: 300 * time.Second, ResetAfter: 600 * time.Second},
		Intensity: Intensity{Count: 3, Window: time.Minute},
	}
}

// ForContainer translates a container's spec into rules and policy. Rules need a restartPolicy of the container's own (the
// API's validation asks for it, and the kubelet ignores them otherwise). An ordinary init container never runs again after
// success; an ephemeral container never runs again at all. allowAll is the gate RestartAllContainersOnContainerExits: off,
// such a rule matches but leaves the decision to the policy.
func ForContainer(pod *v1.PodSpec, c *v1.Container, kind model.ContainerKind, curve Curve, allowAll bool) ([]Rule, Policy) {
	p := Policy{Restart: ofPod(pod.RestartPolicy), Curve: curve}
	switch kind {
	case model.KindEphemeral:
		p.Restart = Never
		return nil, p
	case model.KindInit:
		p.Once = true
	case model.KindSidecar, model.KindApp:
	}
	var rules []Rule
	if c.RestartPolicy != nil {
		rules = rulesOf(c, allowAll)
		switch *c.RestartPolicy {
		case v1.ContainerRestartPolicyAlways:
			p.Restart = Always
		case v1.ContainerRestartPolicyOnFailure:
			p.Restart = OnFailure
		case v1.ContainerRestartPolicyNever:
			p.Restart = Never
		}
	}
	return rules, p
}

func ofPod(r v1.RestartPolicy) Restart {
	switch r {
	case v1.RestartPolicyOnFailure:
		return OnFailure
	case v1.RestartPolicyNever:
		return Never
	case v1.RestartPolicyAlways:
	}
	return Always // also what the API defaults to
}

func rulesOf(c *v1.Container, allowAll bool) []Rule {
	var out []Rule
	for _, r := range c.RestartPolicyRules {
		if r.ExitCodes == nil {
			continue
		}
		rule := Rule{Codes: r.ExitCodes.Values}
		switch r.ExitCodes.Operator {
		case v1.ContainerRestartRuleOnExitCodesOpIn:
		case v1.ContainerRestartRuleOnExitCodesOpNotIn:
			rule.Not = true
		default:
			continue
		}
		switch r.Action {
		case v1.ContainerRestartRuleActionRestart:
			rule.Act = ActRestart
		case v1.ContainerRestartRuleActionRestartAllContainers:
			if allowAll {
				rule.Act = ActRestartAll
			}
		}
		out = append(out, rule)
	}
	return out
}
