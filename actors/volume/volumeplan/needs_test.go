package volumeplan

import (
	"reflect"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

func TestNestedMountPoints(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{
		Containers: []v1.Container{{VolumeMounts: []v1.VolumeMount{
			{Name: "v", MountPath: "/dir"}, {Name: "w", MountPath: "/dir/nested/double"}, {Name: "w", MountPath: "/dir/nested"},
			{Name: "w", MountPath: "/dir/nested-vol/"}, {Name: "w", MountPath: "/dirt/x"}, {Name: "w", MountPath: "/dir/a/b"},
		}}},
		InitContainers: []v1.Container{{VolumeMounts: []v1.VolumeMount{{Name: "v", MountPath: "/i/../i"}, {Name: "w", MountPath: "/i/n"}}}},
	}}
	if got, want := NestedMountPoints(pod, "v"), []string{"a/b", "n", "nested", "nested-vol"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := NestedMountPoints(pod, "w"); !reflect.DeepEqual(got, []string{"double"}) {
		t.Errorf("w: %v", got)
	}
}

func TestDiffers(t *testing.T) {
	base := func() *v1.Pod {
		p := podWith("v")
		p.Spec.Volumes[0].DownwardAPI = &v1.DownwardAPIVolumeSource{Items: []v1.DownwardAPIVolumeFile{
			{Path: "l", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
			{Path: "c", ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.cpu"}}}}
		return p
	}
	for name, tc := range map[string]struct {
		change func(*v1.Pod)
		want   bool
	}{
		"nothing":    {func(p *v1.Pod) {}, false},
		"status":     {func(p *v1.Pod) { p.Status.Phase = "Running" }, false},
		"label":      {func(p *v1.Pod) { p.Labels = map[string]string{"a": "b"} }, true},
		"annotation": {func(p *v1.Pod) { p.Annotations = map[string]string{"a": "b"} }, true},
		"resize": {func(p *v1.Pod) {
			p.Spec.Containers[0].Resources.Limits = v1.ResourceList{"cpu": resource.MustParse("1")}
		}, true},
		"ephemeral": {func(p *v1.Pod) { p.Spec.EphemeralContainers = []v1.EphemeralContainer{{}} }, false},
		"ephemeral that mounts": {func(p *v1.Pod) {
			p.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{VolumeMounts: []v1.VolumeMount{{Name: "w"}}}}}
		}, true},
	} {
		p := base()
		tc.change(p)
		if got := Differs(base(), p); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	p := podWith("v")
	p.Labels = map[string]string{"a": "b"}
	if Differs(podWith("v"), p) {
		t.Error("labels matter only where a volume shows them")
	}
}

func TestTmpfsSize(t *testing.T) {
	alloc := v1.ResourceList{"memory": resource.MustParse("1Gi")}
	lim := func(q string) v1.Container {
		return v1.Container{Resources: v1.ResourceRequirements{Limits: v1.ResourceList{"memory": resource.MustParse(q)}}}
	}
	q := func(s string) *resource.Quantity { v := resource.MustParse(s); return &v }
	for name, tc := range map[string]struct {
		cs    []v1.Container
		alloc v1.ResourceList
		limit *resource.Quantity
		want  int64
	}{
		"node":              {[]v1.Container{{}}, alloc, nil, 1 << 30},
		"sum of limits":     {[]v1.Container{lim("10Mi"), lim("20Mi")}, alloc, nil, 30 << 20},
		"one without":       {[]v1.Container{lim("10Mi"), {}}, alloc, nil, 1 << 30},
		"above the node":    {[]v1.Container{lim("10Gi")}, alloc, nil, 1 << 30},
		"volume's own":      {[]v1.Container{lim("10Mi")}, alloc, q("5Mi"), 5 << 20},
		"volume's too much": {[]v1.Container{lim("10Mi")}, alloc, q("50Mi"), 10 << 20},
		"node unknown":      {[]v1.Container{{}}, nil, q("5Mi"), 5 << 20},
		"nothing known":     {[]v1.Container{{}}, nil, nil, 0},
	} {
		if got := TmpfsSize(&v1.Pod{Spec: v1.PodSpec{Containers: tc.cs}}, tc.alloc, tc.limit); int64(got) != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

func TestHugePageSize(t *testing.T) {
	pod := func(names ...v1.ResourceName) *v1.Pod {
		p := &v1.Pod{}
		for _, n := range names {
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Resources: v1.ResourceRequirements{Requests: v1.ResourceList{n: resource.MustParse("2Mi")}}})
		}
		return p
	}
	for _, tc := range []struct {
		pod    *v1.Pod
		medium v1.StorageMedium
		want   string
		fails  bool
	}{
		{pod("hugepages-2Mi"), "HugePages", "2Mi", false},
		{pod("hugepages-2Mi", "hugepages-1Gi"), "HugePages", "", true},
		{pod("hugepages-2Mi", "hugepages-1Gi"), "HugePages-1Gi", "1Gi", false},
		{pod("hugepages-2Mi"), "HugePages-1Gi", "", true},
		{pod("memory"), "HugePages", "", true},
		{pod(), "HugePages-x", "", true},
	} {
		got, err := HugePageSize(tc.pod, tc.medium)
		if (err != nil) != tc.fails || (err == nil && got.String() != tc.want) {
			t.Errorf("%s: %s, %v", tc.medium, got.String(), err)
		}
	}
}

func TestRefs(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: v1.PodSpec{Volumes: []v1.Volume{
		{VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "s"}}},
		{VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "b"}}},
			{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: "s"}}}}}}},
		{VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "a"}}}},
	}}}
	if got, want := Refs(pod), []model.ObjectKey{{Kind: model.SecretObject, Namespace: "ns", Name: "s"}, {Namespace: "ns", Name: "b"}, {Namespace: "ns", Name: "a"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}

func TestLayout(t *testing.T) {
	for got, want := range map[string]string{
		VolumeDir("/r", "u", ConfigMap, "v"): "/r/pods/u/volumes/kubernetes.io~configmap/v",
		ReadyDir("/r", "u", "v", false):      "/r/pods/u/plugins/kubernetes.io~empty-dir/v",
		ReadyDir("/r", "u", "v", true):       "/r/pods/u/plugins/kubernetes.io~empty-dir/wrapped_v",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
