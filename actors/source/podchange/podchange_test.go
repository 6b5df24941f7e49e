package podchange

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestStatusOnly(t *testing.T) {
	base := func() *v1.Pod {
		return &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "a", Generation: 1, ResourceVersion: "1", Labels: map[string]string{"a": "b"}},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "i:1"}}},
		}
	}
	now := metav1.NewTime(time.Unix(1e9, 0))
	for name, tc := range map[string]struct {
		change func(*v1.Pod)
		want   bool
	}{
		"nothing":                              {func(*v1.Pod) {}, true},
		"status":                               {func(p *v1.Pod) { p.Status.Phase = v1.PodRunning; p.ResourceVersion = "2" }, true},
		"finalizer":                            {func(p *v1.Pod) { p.Finalizers = []string{"x"} }, true},
		"label":                                {func(p *v1.Pod) { p.Labels["a"] = "c" }, false},
		"annotation":                           {func(p *v1.Pod) { p.Annotations = map[string]string{"a": "b"} }, false},
		"deletion":                             {func(p *v1.Pod) { p.DeletionTimestamp = &now }, false},
		"grace":                                {func(p *v1.Pod) { p.DeletionGracePeriodSeconds = ptr.To(int64(1)) }, false},
		"spec with its generation":             {func(p *v1.Pod) { p.Generation = 2; p.Spec.Containers[0].Image = "i:2" }, false},
		"spec of a server without generations": {func(p *v1.Pod) { p.Generation = 0; p.Spec.Containers[0].Image = "i:2" }, false},
		"generation alone":                     {func(p *v1.Pod) { p.Generation = 2 }, true},
	} {
		changed := base()
		tc.change(changed)
		if got := StatusOnly(base(), changed); got != tc.want {
			t.Errorf("%s: StatusOnly = %v, want %v", name, got, tc.want)
		}
	}
}

func TestMark(t *testing.T) {
	var meta metav1.ObjectMeta
	Mark(&meta, "api", "now")
	if meta.Annotations[ConfigSource] != "api" || meta.Annotations[ConfigSeen] != "now" {
		t.Error(meta.Annotations)
	}
}
