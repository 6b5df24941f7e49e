package cgroups_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/messages/model"
)

// TestSwapShare: who may swap on a node with 8 GiB of memory and 4 GiB of swap, and how much.
func TestSwapShare(t *testing.T) {
	limited := cgroups.Swap{Accounted: true, Unified: true, Limited: true, Memory: 8 << 30, Swap: 4 << 30}
	part := func(edit func(*cgroups.Swap)) cgroups.Swap { s := limited; edit(&s); return s }
	burstable := func() *v1.Pod { return podOf(container(rl("memory", "2Gi"), nil)) }
	priority := func(n int32) *v1.Pod { p := burstable(); p.Spec.Priority = ptr.To(n); return p }
	annotated := func(key, value string) *v1.Pod {
		p := burstable()
		p.Annotations = map[string]string{key: value}
		return p
	}
	for name, c := range map[string]struct {
		node cgroups.Swap
		pod  *v1.Pod
		want model.Bytes
	}{
		"a quarter of the memory":      {limited, burstable(), 1 << 30},
		"below its limit":              {limited, podOf(container(rl("memory", "2Gi"), rl("memory", "4Gi"))), 1 << 30},
		"only a limit":                 {limited, podOf(container(nil, rl("memory", "2Gi", "cpu", "1")), container(rl("cpu", "1"), nil)), 0},
		"rounded down":                 {limited, podOf(container(rl("memory", "3"), nil)), 1},
		"its request is its limit":     {limited, podOf(container(rl("memory", "1Gi"), rl("memory", "1Gi")), container(nil, nil)), 0},
		"its limit in other words":     {limited, podOf(container(rl("memory", "1Gi"), rl("memory", "1024Mi")), container(nil, nil)), 0},
		"nothing said about memory":    {limited, podOf(container(rl("cpu", "1"), nil)), 0},
		"guaranteed":                   {limited, podOf(container(rl("cpu", "1", "memory", "1Gi"), rl("cpu", "1", "memory", "1Gi"))), 0},
		"best effort":                  {limited, podOf(container(nil, nil)), 0},
		"critical by priority":         {limited, priority(2_000_000_000), 0},
		"nearly critical":              {limited, priority(1_999_999_999), 1 << 30},
		"static":                       {limited, annotated("kubernetes.io/config.source", "file"), 0},
		"from the API":                 {limited, annotated("kubernetes.io/config.source", "api"), 1 << 30},
		"given in memory":              {limited, annotated("kubernetes.io/config.source", "embedded"), 1 << 30},
		"a mirror":                     {limited, annotated(v1.MirrorPodAnnotationKey, "x"), 0},
		"more than the node has":       {limited, podOf(container(rl("memory", "9Gi"), nil)), 0},
		"all of the node":              {limited, podOf(container(rl("memory", "8Gi"), nil)), 4 << 30},
		"no swap":                      {part(func(s *cgroups.Swap) { s.Swap = 0 }), burstable(), 0},
		"an unknown machine":           {part(func(s *cgroups.Swap) { s.Memory = 0 }), burstable(), 0},
		"NoSwap":                       {part(func(s *cgroups.Swap) { s.Limited = false }), burstable(), 0},
		"cgroup v1":                    {part(func(s *cgroups.Swap) { s.Unified = false }), burstable(), 0},
		"a kernel that does not count": {part(func(s *cgroups.Swap) { s.Accounted = false }), burstable(), 0},
	} {
		if got := c.node.Share(c.pod, c.pod.Spec.Containers[0].Resources); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
