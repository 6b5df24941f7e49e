package takeover

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/troupe-dev/troupe/actors/container/containerplan"
	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/messages/model"
)

var made = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func static() *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "etcd-n", UID: "mine", Annotations: map[string]string{podchange.ConfigHash: "mine"}},
		Spec:       v1.PodSpec{InitContainers: []v1.Container{{Name: "i", Image: "a"}}, Containers: []v1.Container{{Name: "c", Image: "b"}}},
	}
}

func seen() model.PodObserved {
	hashed := func(name, image string) map[string]string {
		return map[string]string{containerplan.AnnotationHash: containerplan.Hash(&v1.Container{Name: name, Image: image})}
	}
	return model.PodObserved{
		UID: "theirs", Namespace: "kube-system", Name: "etcd-n",
		Sandboxes: []model.Sandbox{
			{ID: "s2", State: model.SandboxReady, CreatedAt: made, Annotations: map[string]string{podchange.ConfigSource: "file", podchange.ConfigHash: "theirs-hash"}},
			{ID: "s1", State: model.SandboxNotReady, CreatedAt: made.Add(-time.Hour)},
		},
		Containers: []model.Container{
			{ID: "3", Sandbox: "s2", Name: "c", State: model.ContainerRunning, Annotations: hashed("c", "b")},
			{ID: "2", Sandbox: "s2", Name: "c", State: model.ContainerExited, Annotations: hashed("c", "older image")},
			{ID: "1", Sandbox: "s2", Name: "i", State: model.ContainerExited, Annotations: hashed("i", "a")},
			{ID: "0", Sandbox: "s1", Name: "gone", State: model.ContainerExited, Annotations: hashed("gone", "x")},
		},
	}
}

func TestFits(t *testing.T) {
	before := made.Add(-time.Minute)
	for name, c := range map[string]struct {
		change   func(*v1.Pod, *model.PodObserved)
		modified time.Time
		want     bool
	}{
		"the same":                     {nil, before, true},
		"manifest changed since":       {nil, made.Add(time.Second), false},
		"age unknown":                  {nil, time.Time{}, false},
		"another image":                {func(p *v1.Pod, _ *model.PodObserved) { p.Spec.Containers[0].Image = "new" }, before, false},
		"a container less":             {func(p *v1.Pod, _ *model.PodObserved) { p.Spec.InitContainers = nil }, before, false},
		"one that has not started yet": {func(_ *v1.Pod, o *model.PodObserved) { o.Containers = o.Containers[2:] }, before, true},
		"nothing started":              {func(_ *v1.Pod, o *model.PodObserved) { o.Containers = nil }, before, false},
		"another name":                 {func(p *v1.Pod, _ *model.PodObserved) { p.Name = "x" }, before, false},
		"another namespace":            {func(p *v1.Pod, _ *model.PodObserved) { p.Namespace = "x" }, before, false},
		"not from a manifest":          {func(_ *v1.Pod, o *model.PodObserved) { o.Sandboxes[0].Annotations[podchange.ConfigSource] = "api" }, before, false},
		"sandbox dead":                 {func(_ *v1.Pod, o *model.PodObserved) { o.Sandboxes[0].State = model.SandboxNotReady }, before, false},
		"its own":                      {func(p *v1.Pod, _ *model.PodObserved) { p.UID = "theirs" }, before, false},
	} {
		pod, o := static(), seen()
		if c.change != nil {
			c.change(pod, &o)
		}
		if got := Fits(pod, c.modified, o); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAs(t *testing.T) {
	pod := static()
	got := As(pod, "theirs", HashOf(seen()))
	if got.UID != "theirs" || got.Annotations[podchange.ConfigHash] != "theirs-hash" {
		t.Errorf("%s %v", got.UID, got.Annotations)
	}
	if pod.UID != "mine" || pod.Annotations[podchange.ConfigHash] != "mine" {
		t.Error("the source's object was changed")
	}
	if h := HashOf(model.PodObserved{UID: "u"}); h != "u" {
		t.Error(h)
	}
}
