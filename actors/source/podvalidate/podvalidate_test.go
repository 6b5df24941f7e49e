package podvalidate

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/troupe-dev/troupe/actors/source/poddefaults"
)

func valid() *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec: v1.PodSpec{
			Volumes:        []v1.Volume{{Name: "data"}},
			InitContainers: []v1.Container{{Name: "init", Image: "a"}},
			Containers: []v1.Container{{Name: "app", Image: "web:1", Ports: []v1.ContainerPort{{Name: "http", ContainerPort: 80, HostPort: 8080}},
				VolumeMounts: []v1.VolumeMount{{Name: "data", MountPath: "/data"}}}},
		},
	}
}

func TestPod(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(*v1.Pod)
		want  string // path of the one fault; "" for none
	}{
		{"valid", func(*v1.Pod) {}, ""},
		{"name", func(p *v1.Pod) { p.Name = "Web_1" }, "metadata.name"},
		{"no container", func(p *v1.Pod) { p.Spec.Containers = nil }, "spec.containers"},
		{"no image", func(p *v1.Pod) { p.Spec.Containers[0].Image = "" }, "spec.containers[0].image"},
		{"blank in image", func(p *v1.Pod) { p.Spec.Containers[0].Image = " a" }, "spec.containers[0].image"},
		{"no container name", func(p *v1.Pod) { p.Spec.Containers[0].Name = "" }, "spec.containers[0].name"},
		{"duplicate container", func(p *v1.Pod) { p.Spec.InitContainers[0].Name = "app" }, "spec.initContainers[0].name"},
		{"unknown mount", func(p *v1.Pod) { p.Spec.Containers[0].VolumeMounts[0].Name = "x" }, "spec.containers[0].volumeMounts[0].name"},
		{"no mount path", func(p *v1.Pod) { p.Spec.Containers[0].VolumeMounts[0].MountPath = "" }, "spec.containers[0].volumeMounts[0].mountPath"},
		{"subPath escapes", func(p *v1.Pod) { p.Spec.Containers[0].VolumeMounts[0].SubPath = "a/../../b" }, "spec.containers[0].volumeMounts[0].subPath"},
		{"port", func(p *v1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = 70000 }, "spec.containers[0].ports[0].containerPort"},
		{"host port twice", func(p *v1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "b", Image: "b", Ports: []v1.ContainerPort{{ContainerPort: 81, HostPort: 8080}}})
		}, "spec.containers[1].ports[0].hostPort"},
		{"host network port", func(p *v1.Pod) { p.Spec.HostNetwork = true }, "spec.containers[0].ports[0].hostPort"},
		{"duplicate volume", func(p *v1.Pod) { p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: "data"}) }, "spec.volumes[1].name"},
		{"two sources", func(p *v1.Pod) {
			p.Spec.Volumes[0].HostPath = &v1.HostPathVolumeSource{Path: "/a"}
			p.Spec.Volumes[0].EmptyDir = &v1.EmptyDirVolumeSource{}
		}, "spec.volumes[0]"},
		{"request above limit", func(p *v1.Pod) {
			p.Spec.Containers[0].Resources = v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": resource.MustParse("1")}, Requests: v1.ResourceList{"cpu": resource.MustParse("2")}}
		}, "spec.containers[0].resources.requests[cpu]"},
		{"negative limit", func(p *v1.Pod) {
			p.Spec.Containers[0].Resources = v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": resource.MustParse("-1")}, Requests: v1.ResourceList{"cpu": resource.MustParse("-1")}}
		}, "spec.containers[0].resources"},
		{"restart policy", func(p *v1.Pod) { p.Spec.RestartPolicy = "Sometimes" }, "spec.restartPolicy"},
		{"probe on init", func(p *v1.Pod) {
			p.Spec.InitContainers[0].LivenessProbe = &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{}}}
		}, "spec.initContainers[0].livenessProbe"},
		{"probe on sidecar", func(p *v1.Pod) {
			p.Spec.InitContainers[0].RestartPolicy = ptr.To(v1.ContainerRestartPolicyAlways)
			p.Spec.InitContainers[0].LivenessProbe = &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{}}}
		}, ""},
		{"probe without handler", func(p *v1.Pod) { p.Spec.Containers[0].ReadinessProbe = &v1.Probe{} }, "spec.containers[0].readinessProbe"},
		{"liveness success threshold", func(p *v1.Pod) {
			p.Spec.Containers[0].LivenessProbe = &v1.Probe{SuccessThreshold: 2, ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{}}}
		}, "spec.containers[0].livenessProbe.successThreshold"},
		{"env value twice", func(p *v1.Pod) {
			p.Spec.Containers[0].Env = []v1.EnvVar{{Name: "A", Value: "x", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{}}}}
		}, "spec.containers[0].env[0].valueFrom"},
		{"DNS none", func(p *v1.Pod) { p.Spec.DNSPolicy = v1.DNSNone }, "spec.dnsConfig.nameservers"},
		{"negative grace", func(p *v1.Pod) { p.Spec.TerminationGracePeriodSeconds = ptr.To(int64(-1)) }, "spec.terminationGracePeriodSeconds"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := valid()
			tc.spoil(pod)
			poddefaults.Apply(pod)
			errs := Pod(pod)
			if tc.want == "" {
				if len(errs) > 0 {
					t.Fatalf("unexpected faults: %v", errs)
				}
				return
			}
			if len(errs) == 0 {
				t.Fatal("no fault found")
			}
			for _, e := range errs {
				if !strings.HasPrefix(e.Field, tc.want) {
					t.Errorf("fault at %s, want %s: %v", e.Field, tc.want, e)
				}
			}
		})
	}
}

func FuzzPodDoesNotPanic(f *testing.F) {
	f.Add("a", "b", int32(1))
	f.Fuzz(func(t *testing.T, name, path string, port int32) {
		pod := valid()
		pod.Spec.Containers[0].Name, pod.Spec.Containers[0].VolumeMounts[0].SubPath, pod.Spec.Containers[0].Ports[0].HostPort = name, path, port
		Pod(pod)
	})
}
