package nodestatus

import (
	"errors"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/troupe-dev/troupe/messages/nodemsg"
)

// conditions writes the four conditions of the node, Ready last, and returns the reasons of the events.
func conditions(s *v1.NodeStatus, f Facts) []string {
	now := metav1.NewTime(f.Now)
	s.Conditions = append([]v1.NodeCondition(nil), s.Conditions...)
	var events []string
	put := func(c v1.NodeCondition) (changed bool) {
		c.LastHeartbeatTime = now
		for i := range s.Conditions {
			old := &s.Conditions[i]
			if old.Type != c.Type {
				continue
			}
			if changed = old.Status != c.Status; changed {
				c.LastTransitionTime = now
			} else {
				c.LastTransitionTime = old.LastTransitionTime
			}
			*old = c
			return changed
		}
		c.LastTransitionTime = now
		s.Conditions = append(s.Conditions, c)
		return true
	}
	for _, p := range []struct {
		kind                    v1.NodeConditionType
		under                   bool
		bad, badText, badEvent  string
		good, goodText, goodEvt string
	}{
		{v1.NodeMemoryPressure, f.Pressure.Memory,
			"KubeletHasInsufficientMemory", "kubelet has insufficient memory available", "NodeHasInsufficientMemory",
			"KubeletHasSufficientMemory", "kubelet has sufficient memory available", "NodeHasSufficientMemory"},
		{v1.NodeDiskPressure, f.Pressure.Disk,
			"KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure",
			"KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"},
		{v1.NodePIDPressure, f.Pressure.PID,
			"KubeletHasInsufficientPID", "kubelet has insufficient PID available", "NodeHasInsufficientPID",
			"KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"},
	} {
		c, event := v1.NodeCondition{Type: p.kind, Status: v1.ConditionFalse, Reason: p.good, Message: p.goodText}, p.goodEvt
		if p.under {
			c.Status, c.Reason, c.Message, event = v1.ConditionTrue, p.bad, p.badText, p.badEvent
		}
		if put(c) {
			events = append(events, event)
		}
	}
	_, known := Condition(s, v1.NodeReady)
	ready, event := v1.NodeCondition{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"}, "NodeReady"
	if why := notReady(f); why != nil {
		ready.Status, ready.Reason, ready.Message, event = v1.ConditionFalse, "KubeletNotReady", why.Error(), "NodeNotReady"
	}
	if put(ready) && known {
		events = append(events, event)
	}
	return events
}

// Condition returns the condition of this type.
func Condition(s *v1.NodeStatus, t v1.NodeConditionType) (v1.NodeCondition, bool) {
	for _, c := range s.Conditions {
		if c.Type == t {
			return c, true
		}
	}
	return v1.NodeCondition{}, false
}

// notReady is everything that keeps the node from running pods.
func notReady(f Facts) error {
	var errs []error
	for _, why := range append(runtimeFaults(f.Runtime), f.NotReady...) {
		errs = append(errs, errors.New(why))
	}
	return utilerrors.NewAggregate(errs)
}

func runtimeFaults(r *nodemsg.RuntimeInfo) []string {
	with := func(text, reason string) string {
		if reason == "" {
			return text
		}
		return text + ": " + strings.TrimPrefix(reason, "container runtime ")
	}
	switch {
	case r == nil:
		return []string{"container runtime status check may not have completed yet"}
	case !r.Up:
		return []string{with("container runtime is down", r.Reason)}
	case !r.RuntimeReady:
		return []string{with("container runtime not ready", r.Reason)}
	case !r.NetworkReady:
		return []string{with("container runtime network not ready", r.Reason)}
	}
	return nil
}
