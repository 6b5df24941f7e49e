package standalone

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func ready(t v1.PodConditionType) v1.PodCondition {
	return v1.PodCondition{Type: t, Status: v1.ConditionTrue}
}

func TestJudge(t *testing.T) {
	yes, no := true, false
	waiting := func(reason, message string) v1.ContainerStatus {
		return v1.ContainerStatus{Name: "c", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}}}
	}
	ended := v1.ContainerStatus{Name: "c", State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}}}
	running := v1.ContainerStatus{Name: "c", Started: &yes, State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}
	unstarted := running
	unstarted.Started = &no
	sandbox := []v1.PodCondition{ready(v1.PodReadyToStartContainers)}
	now := metav1.Now()
	for _, c := range []struct {
		name    string
		status  v1.PodStatus
		ending  bool
		outcome Outcome
		says    string
	}{
		{"nothing known", v1.PodStatus{}, false, Pending, "waiting"},
		{"refused", v1.PodStatus{Phase: v1.PodFailed, Reason: "OutOfcpu", Message: "too much"}, false, Failed, "has failed: OutOfcpu (too much)"},
		{"no sandbox yet", v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{waiting("ContainerCreating", "")}}, false, Pending, "making the sandbox, its network and its volumes"},
		{"creating", v1.PodStatus{Conditions: sandbox, ContainerStatuses: []v1.ContainerStatus{waiting("ContainerCreating", "")}}, false, Pending, "c: pulling or creating"},
		{"pull failed", v1.PodStatus{Conditions: sandbox, ContainerStatuses: []v1.ContainerStatus{waiting("ErrImagePull", "no such image\nlong")}}, false, Pending, "c: ErrImagePull (no such image)"},
		{"init", v1.PodStatus{Conditions: sandbox, InitContainerStatuses: []v1.ContainerStatus{waiting("CrashLoopBackOff", "")}}, false, Pending, "init c: CrashLoopBackOff"},
		{"not started", v1.PodStatus{Conditions: sandbox, ContainerStatuses: []v1.ContainerStatus{unstarted}}, false, Pending, "c: running, not started yet by its probe"},
		{"not ready", v1.PodStatus{Conditions: sandbox, ContainerStatuses: []v1.ContainerStatus{running}}, false, Pending, "c: running, not ready yet"},
		{"ready", v1.PodStatus{Conditions: []v1.PodCondition{ready(v1.PodReady)}, ContainerStatuses: []v1.ContainerStatus{running}}, false, Ready, "ready"},
		{"ending", v1.PodStatus{Conditions: []v1.PodCondition{ready(v1.PodReady)}}, true, Pending, "ending"},
		{"failed", v1.PodStatus{Phase: v1.PodFailed, ContainerStatuses: []v1.ContainerStatus{ended}}, false, Failed, "has failed; c exited with 3"},
		{"succeeded", v1.PodStatus{Phase: v1.PodSucceeded}, false, Succeeded, "has ended"},
	} {
		p := &v1.Pod{Status: c.status}
		if c.ending {
			p.DeletionTimestamp = &now
		}
		if o, says := Judge(p); o != c.outcome || says != c.says {
			t.Errorf("%s: %v %q, want %v %q", c.name, o, says, c.outcome, c.says)
		}
	}
}

func TestURLs(t *testing.T) {
	p := &v1.Pod{Status: v1.PodStatus{PodIP: "10.0.0.2"}, Spec: v1.PodSpec{Containers: []v1.Container{{Ports: []v1.ContainerPort{
		{ContainerPort: 80, HostPort: 8080}, {ContainerPort: 443}, {ContainerPort: 53, Protocol: v1.ProtocolUDP}, {ContainerPort: 90, HostPort: 91, HostIP: "::1"},
	}}}}}
	want := []string{"http://10.0.0.2:80", "http://localhost:8080", "https://10.0.0.2:443", "http://10.0.0.2:90", "http://[::1]:91"}
	if got := URLs(p); !slices.Equal(got, want) {
		t.Errorf("urls = %q, want %q", got, want)
	}
}

func TestViewRewritesOnATerminalOnly(t *testing.T) {
	var plain, live strings.Builder
	for _, v := range []*View{NewView(&plain, 0), NewView(&live, 20)} {
		v.Set("a", "one")
		v.Set("a", "one")
		v.Set("b", "a line that is longer than the terminal")
		v.Set("a", "two")
	}
	if got := plain.String(); strings.Count(got, "\n") != 3 || strings.Contains(got, "\x1b") {
		t.Errorf("plain = %q, want a line for each change", got)
	}
	got := live.String()
	if !strings.HasSuffix(got, "\x1b[2A\x1b[2K  a               …\n\x1b[2K  b               …\n") {
		t.Errorf("live = %q", got)
	}
}
