package benchcmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/ptr"

	"github.com/troupe-dev/troupe/actors/container/containerspec"
	"github.com/troupe-dev/troupe/actors/pod/sandboxspec"
	"github.com/troupe-dev/troupe/actors/source/poddefaults"
	"github.com/troupe-dev/troupe/bench/floor"
	"github.com/troupe-dev/troupe/cgroups"
)

// podShape is what the bench's pods look like.
type podShape struct {
	Image  string
	Grace  int64 // seconds
	Tokens bool
}

// pod is the smallest pod there is: one container that only waits.
func (s podShape) pod(namespace, name, node string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app.kubernetes.io/name": "troupe-bench"}},
		Spec: v1.PodSpec{
			NodeName:                      node,
			Containers:                    []v1.Container{{Name: "pause", Image: s.Image, ImagePullPolicy: v1.PullIfNotPresent}},
			TerminationGracePeriodSeconds: &s.Grace,
			AutomountServiceAccountToken:  &s.Tokens,
			EnableServiceLinks:            ptr.To(false),
			Tolerations:                   []v1.Toleration{{Operator: v1.TolerationOpExists}},
		},
	}
}

// floorPods are the same pods as the runtime is given them, with the cgroup and the log folder that an agent makes.
func floorPods(s podShape, n int, prefix, namespace, logs string, layout cgroups.Layout, applier cgroups.Applier) ([]floor.Pod, error) {
	out := make([]floor.Pod, 0, n)
	for i := range n {
		pod := s.pod(namespace, fmt.Sprintf("%s%05d", prefix, i+1), "")
		pod.UID = uuid.NewUUID()
		poddefaults.Apply(pod)
		desired := cgroups.PodResources(pod, cgroups.PodConfig{Layout: layout, EnforceCPULimits: true})
		box := sandboxspec.Config(sandboxspec.Input{Pod: pod, CgroupParent: applier.Parent(desired.Name), LogsRoot: logs, Hostname: pod.Name, CFSQuota: true, CFSPeriodMicros: cgroups.DefaultPeriodMicros})
		c := &pod.Spec.Containers[0]
		cfg, err := containerspec.Config(containerspec.Input{
			Pod: pod, Container: c, Hash: "0", ImageRef: c.Image, Node: containerspec.Node{CFSQuota: true, CFSPeriodMicros: cgroups.DefaultPeriodMicros},
		})
		if err != nil {
			return nil, err
		}
		out = append(out, floor.Pod{
			Name: pod.Name, Sandbox: box, Container: cfg,
			Prepare: func(ctx context.Context) error {
				if err := os.MkdirAll(filepath.Join(box.LogDirectory, c.Name), 0o755); err != nil {
					return err
				}
				return applier.Apply(ctx, desired)
			},
			Clean: func(ctx context.Context) error {
				if err := os.RemoveAll(box.LogDirectory); err != nil {
					return err
				}
				return applier.Remove(ctx, desired.Name)
			},
		})
	}
	return out, nil
}
