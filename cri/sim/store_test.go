package sim

import (
	"fmt"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri"
)

// What is asked of one pod, sandbox or container looks at nothing else.
func TestCandidatesUseTheIndex(t *testing.T) {
	r := New(Config{AnyImage: true})
	for i := range 100 {
		uid := fmt.Sprint(i)
		sb := &sandbox{id: "sb" + uid, uid: uid, config: &runtimeapi.PodSandboxConfig{}, containers: map[string]*container{}}
		r.addSandbox(sb)
		for j := range 2 {
			c := &container{id: fmt.Sprint("c", i, "-", j), sandbox: sb, created: time.Unix(int64(-j), 0)}
			sb.containers[c.id] = c
			r.containers.put(c.id, c)
		}
	}
	for _, tc := range []struct {
		f    *runtimeapi.ContainerFilter
		want int
	}{
		{nil, 200},
		{&runtimeapi.ContainerFilter{LabelSelector: map[string]string{cri.LabelPodUID: "7"}}, 2},
		{&runtimeapi.ContainerFilter{PodSandboxId: "sb7"}, 2},
		{&runtimeapi.ContainerFilter{Id: "c7-1"}, 1},
		{&runtimeapi.ContainerFilter{Id: "none"}, 0},
	} {
		got := r.candidates(tc.f)
		if len(got) != tc.want {
			t.Errorf("%v: %d candidates, want %d", tc.f, len(got), tc.want)
		}
		if tc.want == 2 && got[0].id != "c7-1" {
			t.Errorf("%v: not oldest first", tc.f)
		}
	}
	sb, _ := r.sandboxes.get("sb7")
	r.dropSandbox(sb)
	if _, ok := r.pods.get("7"); ok || r.sandboxesOf("7") != nil {
		t.Error("the pod outlives its last sandbox")
	}
}
