package root

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/troupe-dev/troupe/cri/sim"
)

// A critical pod on a full node: one pod makes room, is Failed and says why, and only then does the critical one start.
func TestPreemption(t *testing.T) {
	half := func(p *v1.Pod) {
		p.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: *resource.NewMilliQuantity(int64(runtime.NumCPU())*500, resource.DecimalSI)}
		var n int32 // pods that no API server knows are critical: among them the priority decides
		p.Spec.Priority = &n
		p.Annotations[sim.AnnotationPrefix+"all"] = "term=ignore"
	}
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		full := w.fill(2, "full", half)
		since := time.Now()
		critical := w.add(newPod("critical", func(p *v1.Pod) {
			half(p)
			n := int32(2_000_000_000)
			p.Spec.Priority = &n
		}))
		took := w.until(time.Minute, "the critical pod is Ready", func() bool { return w.ready(critical) })
		if took < 5*time.Second || took > 6*time.Second {
			t.Errorf("the critical pod was Ready after %s; its victim has a grace of 5 s", took)
		}
		var ended []string
		for _, uid := range full {
			p := w.get(uid)
			if p.Status.Phase != v1.PodFailed {
				continue
			}
			ended = append(ended, fmt.Sprintf("%s: %s", p.Status.Reason, p.Status.Message))
			for _, c := range p.Status.Conditions {
				if c.Type == v1.DisruptionTarget && c.Status == v1.ConditionTrue {
					ended = append(ended, c.Reason)
				}
			}
		}
		if got := strings.Join(ended, ", "); got != "Preempting: Preempted in order to admit critical pod, TerminationByKubelet" {
			t.Errorf("ended: %s (%s after the critical pod came)", got, time.Since(since))
		}
	})
}
