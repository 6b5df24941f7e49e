package pipe

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/troupe-dev/troupe/bench/load"
)

// agent makes every pod Ready at once and lets it go at once.
type agent struct {
	s     *Server
	grace []int64
}

func (a *agent) Add(pod *v1.Pod) (*v1.Pod, error) {
	if strings.HasSuffix(pod.Name, "3") && pod.Namespace == "bad" {
		return nil, fmt.Errorf("pod %s is invalid", pod.Name)
	}
	pod.UID = types.UID("uid-" + pod.Name)
	a.s.Changed(pod, false)
	ready := pod.DeepCopy()
	ready.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}
	a.s.Changed(ready, false)
	return pod, nil
}

func (a *agent) Delete(uid types.UID, grace *int64) bool {
	a.grace = append(a.grace, *grace)
	name, ok := strings.CutPrefix(string(uid), "uid-")
	a.s.Changed(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: uid}}, true)
	return ok
}

func connect(namespace string) (*Client, *load.Tracker, *agent, func() error) {
	toAgent, requests := io.Pipe()
	answers, fromAgent := io.Pipe()
	s := NewServer(fromAgent)
	a := &agent{s: s}
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(toAgent, a)
		s.Close()
		fromAgent.Close()
		toAgent.Close() // as the end of a process does
	}()
	t := load.NewTracker()
	c := NewClient(answers, requests, t, func(name string) *v1.Pod {
		return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}}
	}, 1)
	return c, t, a, func() error { requests.Close(); return <-served }
}

func TestLoadThroughThePipe(t *testing.T) {
	c, tracker, a, end := connect("ns")
	if err := c.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	plan := load.Plan{Phases: []load.Kind{load.Fill, load.Churn, load.Delete}, Pods: 50, Prefix: "p", Workers: 8, ChurnPods: 10, ChurnWidth: 3, Timeout: time.Minute}
	phases, err := load.Run(t.Context(), plan, c, tracker, load.Probe{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if phases[0].Ready.N != 50 || phases[0].PodWrites != 100 || phases[1].Gone.N != 10 || phases[2].Gone.N != 50 {
		t.Errorf("%+v", phases)
	}
	if err := end(); err != nil || len(a.grace) != 60 || a.grace[0] != 1 {
		t.Errorf("%v, %v", err, a.grace)
	}
}

func TestErrorsReachTheBench(t *testing.T) {
	c, tracker, _, end := connect("bad")
	plan := load.Plan{Phases: []load.Kind{load.Fill}, Pods: 5, Prefix: "p", Workers: 1, Timeout: 50 * time.Millisecond}
	if _, err := load.Run(t.Context(), plan, c, tracker, load.Probe{}, nil); err == nil {
		t.Error("the run succeeded")
	}
	<-c.ended
	if err := c.Err(); err == nil || !strings.Contains(err.Error(), "p00003 is invalid") {
		t.Errorf("error %v", err)
	}
	if err := end(); err == nil {
		t.Error("the agent saw no error")
	}
}
