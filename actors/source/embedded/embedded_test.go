package embedded

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/messages/statusmsg"
)

func TestLifeOfAPod(t *testing.T) {
	var told []string
	s := New(Deps{
		Pods: messages.SinkFunc(func(m any) {
			switch m := m.(type) {
			case podsmsg.Assigned:
				told = append(told, fmt.Sprintf("assigned deleting=%v", m.Pod.DeletionTimestamp != nil))
			case podsmsg.Removed:
				told = append(told, "removed")
			case podsmsg.SourceSynced:
				told = append(told, "synced")
			}
		}),
		Changed: func(pod *v1.Pod, gone bool) {
			told = append(told, fmt.Sprintf("changed %s gone=%v", pod.Status.Phase, gone))
		},
	}, Config{NodeName: "n"})
	expect := func(want ...string) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		told = nil
	}
	given := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "i"}}}}
	pod, err := s.Add(given)
	if err != nil {
		t.Fatal(err)
	}
	s.Synced()
	expect("assigned deleting=false", "synced")
	if given.UID != "" || pod.UID == "" || pod.Spec.NodeName != "n" || pod.Spec.RestartPolicy != v1.RestartPolicyAlways || pod.Generation != 1 {
		t.Errorf("not completed, or the caller's object was changed: %+v", pod)
	}
	if _, err := s.Add(given); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("a second pod of the name: %v", err)
	}
	bad := given.DeepCopy()
	bad.Name, bad.Spec.Containers[0].Image = "b", ""
	if _, err := s.Add(bad); err == nil || !strings.Contains(err.Error(), "spec.containers[0].image") {
		t.Errorf("an invalid pod: %v", err)
	}

	s.Tell(statusmsg.Publish{Pod: pod, Status: v1.PodStatus{Phase: v1.PodRunning}})
	expect("changed Running gone=false")
	if pod.Status.Phase != v1.PodPending || s.List()[0].Status.Phase != v1.PodRunning {
		t.Error("the status was written into an object that others share, or not at all")
	}

	s.Delete(pod.UID, ptr.To(int64(5)))
	expect("assigned deleting=true")
	s.Delete(pod.UID, ptr.To(int64(60)))
	expect() // a later delete never lengthens the grace
	s.Delete(pod.UID, ptr.To(int64(1)))
	expect("assigned deleting=true")
	if g := *s.Get(pod.UID).DeletionGracePeriodSeconds; g != 1 {
		t.Errorf("grace %d", g)
	}

	s.Tell(statusmsg.Delete{Pod: pod})
	expect("removed", "changed Running gone=true")
	if len(s.List()) != 0 || s.Remove(pod.UID) || s.Delete(pod.UID, nil) {
		t.Error("the pod is still known")
	}
}
