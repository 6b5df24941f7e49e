package pod

import (
	"reflect"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/actors/pod/podstatus"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// hot is a pod that runs, and its status.
func hot() (podplan.State, v1.PodStatus, podstatus.Node) {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u"}}
	p.Spec.Containers = []v1.Container{{Name: "a", Image: "image", VolumeMounts: []v1.VolumeMount{{Name: "kube-api-access", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}}}}
	s := podplan.New(p, false)
	s.Listed, s.Admission, s.Volumes, s.StartTime = true, podplan.AdmissionGranted, podplan.Held, time.Now()
	s.Sandbox = &model.Sandbox{ID: "b1", State: model.SandboxReady, Detailed: true, IPs: []string{"10.0.0.5"}}
	s.Views["a"] = model.ContainerView{Name: "a", Kind: model.KindApp, Stage: model.StageUp, Started: true, Ready: true, Seq: 1,
		Current: &model.Container{ID: "x", Sandbox: "b1", State: model.ContainerRunning, StartedAt: time.Now(), Detailed: true, Image: "image"}}
	node := podstatus.Node{HostIPs: []string{"192.0.2.1"}, RuntimeName: "containerd"}
	return s, podstatus.Build(&s, node, &v1.PodStatus{}, time.Now()), node
}

// The three things that every step of a pod pays for, besides the plan itself.
func BenchmarkStep(b *testing.B) {
	s, st, node := hot()
	now := time.Now()
	b.Run("plan", func(b *testing.B) {
		b.ReportAllocs()
		v := s.Views["a"]
		for b.Loop() {
			s, _ = podplan.Next(s, now, podmsg.Child{View: v})
		}
	})
	b.Run("status", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			podstatus.Build(&s, node, &st, now)
		}
	})
	b.Run("compare", func(b *testing.B) {
		b.ReportAllocs()
		again := podstatus.Build(&s, node, &st, now)
		for b.Loop() {
			reflect.DeepEqual(st, again)
		}
	})
	b.Run("explain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			explanation(s, st, 1, now, nil)
		}
	})
}
