package poddefaults

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

func TestImagePullPolicy(t *testing.T) {
	for image, want := range map[string]v1.PullPolicy{
		"nginx":                          v1.PullAlways,
		"nginx:latest":                   v1.PullAlways,
		"host:5000/nginx":                v1.PullAlways,
		"host:5000/nginx:1.27":           v1.PullIfNotPresent,
		"nginx:1.27":                     v1.PullIfNotPresent,
		"nginx@sha256:0123":              v1.PullIfNotPresent,
		"nginx:latest@sha256:0123456789": v1.PullAlways,
	} {
		if got := ImagePullPolicy(image); got != want {
			t.Errorf("ImagePullPolicy(%q) = %s, want %s", image, got, want)
		}
	}
}

func TestApply(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{
		HostNetwork: true,
		Volumes: []v1.Volume{
			{Name: "empty"},
			{Name: "host", VolumeSource: v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: "/x"}}},
			{Name: "cm", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{}}},
			{Name: "sec", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{}}},
			{Name: "proj", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
				{ServiceAccountToken: &v1.ServiceAccountTokenProjection{}},
				{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{{FieldRef: &v1.ObjectFieldSelector{}}}}},
			}}}},
		},
		Containers: []v1.Container{{
			Image:          "web:1",
			Ports:          []v1.ContainerPort{{ContainerPort: 80}},
			LivenessProbe:  &v1.Probe{ProbeHandler: v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{}}},
			ReadinessProbe: &v1.Probe{PeriodSeconds: 5, ProbeHandler: v1.ProbeHandler{GRPC: &v1.GRPCAction{}}},
			Env:            []v1.EnvVar{{ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.name"}}}},
			Resources:      v1.ResourceRequirements{Limits: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}},
		}},
	}}
	Apply(pod)
	c := pod.Spec.Containers[0]
	vols := pod.Spec.Volumes
	for _, tc := range []struct {
		what      string
		got, want any
	}{
		{"restartPolicy", pod.Spec.RestartPolicy, v1.RestartPolicyAlways},
		{"grace", *pod.Spec.TerminationGracePeriodSeconds, int64(30)},
		{"dnsPolicy", pod.Spec.DNSPolicy, v1.DNSClusterFirst},
		{"scheduler", pod.Spec.SchedulerName, "default-scheduler"},
		{"serviceLinks", *pod.Spec.EnableServiceLinks, true},
		{"security", *pod.Spec.SecurityContext, v1.PodSecurityContext{}},
		{"phase", pod.Status.Phase, v1.PodPending},
		{"port", c.Ports[0], v1.ContainerPort{ContainerPort: 80, HostPort: 80, Protocol: v1.ProtocolTCP}},
		{"pull", c.ImagePullPolicy, v1.PullIfNotPresent},
		{"termination", c.TerminationMessagePath + string(c.TerminationMessagePolicy), "/dev/termination-logFile"},
		{"liveness", *c.LivenessProbe, v1.Probe{TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
			ProbeHandler: v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: "/", Scheme: v1.URISchemeHTTP}}}},
		{"readiness period", c.ReadinessProbe.PeriodSeconds, int32(5)},
		{"grpc service", *c.ReadinessProbe.GRPC.Service, ""},
		{"fieldRef", c.Env[0].ValueFrom.FieldRef.APIVersion, "v1"},
		{"request", c.Resources.Requests.Cpu().String(), "1"},
		{"emptyDir", vols[0].EmptyDir != nil, true},
		{"hostPath", *vols[1].HostPath.Type, v1.HostPathUnset},
		{"configMap mode", *vols[2].ConfigMap.DefaultMode, int32(0o644)},
		{"secret mode", *vols[3].Secret.DefaultMode, int32(0o644)},
		{"projected mode", *vols[4].Projected.DefaultMode, int32(0o644)},
		{"token", *vols[4].Projected.Sources[0].ServiceAccountToken.ExpirationSeconds, int64(3600)},
		{"downward", vols[4].Projected.Sources[1].DownwardAPI.Items[0].FieldRef.APIVersion, "v1"},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tc.what, diff)
		}
	}
	again := pod.DeepCopy()
	Apply(again)
	if diff := cmp.Diff(pod, again); diff != "" {
		t.Errorf("a second Apply changed the pod:\n%s", diff)
	}
}

func TestApplyKeepsWhatIsSet(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{
		RestartPolicy: v1.RestartPolicyNever, TerminationGracePeriodSeconds: ptr.To(int64(0)), EnableServiceLinks: ptr.To(false),
		Containers: []v1.Container{{Image: "a", ImagePullPolicy: v1.PullNever, Resources: v1.ResourceRequirements{
			Limits:   v1.ResourceList{v1.ResourceCPU: resource.MustParse("2")},
			Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}}}},
	}}
	Apply(pod)
	if pod.Spec.RestartPolicy != v1.RestartPolicyNever || *pod.Spec.TerminationGracePeriodSeconds != 0 || *pod.Spec.EnableServiceLinks ||
		pod.Spec.Containers[0].ImagePullPolicy != v1.PullNever || pod.Spec.Containers[0].Resources.Requests.Cpu().Value() != 1 {
		t.Errorf("a set value was replaced: %+v", pod.Spec)
	}
}

func TestPodLevelResources(t *testing.T) {
	q := resource.MustParse
	for name, tc := range map[string]struct {
		pod        *v1.ResourceRequirements
		containers v1.ResourceRequirements
		want       v1.ResourceList
	}{
		"none":               {pod: nil, containers: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: q("1")}}},
		"from the pod limit": {pod: &v1.ResourceRequirements{Limits: v1.ResourceList{v1.ResourceCPU: q("2")}}, want: v1.ResourceList{v1.ResourceCPU: q("2")}},
		"from containers": {pod: &v1.ResourceRequirements{Limits: v1.ResourceList{v1.ResourceCPU: q("2")}},
			containers: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: q("1")}}, want: v1.ResourceList{v1.ResourceCPU: q("1")}},
	} {
		pod := &v1.Pod{Spec: v1.PodSpec{Resources: tc.pod, Containers: []v1.Container{{Resources: tc.containers}}}}
		Apply(pod)
		var got v1.ResourceList
		if pod.Spec.Resources != nil {
			got = pod.Spec.Resources.Requests
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}
