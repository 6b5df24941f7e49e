package api

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/messages/sourcemsg"
	"github.com/troupe-dev/troupe/messages/statusmsg"
)

// log is one ordered record of what every receiver was told.
type log struct{ lines []string }

func (l *log) sink(to string) messages.Sink {
	return messages.SinkFunc(func(msg any) {
		switch m := msg.(type) {
		case podsmsg.Assigned:
			what := "assigned"
			if m.StatusOnly {
				what = "status"
			}
			l.lines = append(l.lines, fmt.Sprintf("%s %s %s", to, what, m.Pod.UID))
		case podsmsg.Removed:
			l.lines = append(l.lines, fmt.Sprintf("%s removed %s", to, m.UID))
		case podsmsg.SourceSynced:
			l.lines = append(l.lines, to+" synced")
		case statusmsg.Seen:
			l.lines = append(l.lines, fmt.Sprintf("%s seen %s/%s", to, m.Pod.UID, m.Pod.ResourceVersion))
		case statusmsg.Gone:
			l.lines = append(l.lines, fmt.Sprintf("%s gone %s", to, m.UID))
		case sourcemsg.MirrorSeen:
			l.lines = append(l.lines, fmt.Sprintf("%s mirror %s", to, m.Pod.UID))
		case sourcemsg.MirrorGone:
			l.lines = append(l.lines, fmt.Sprintf("%s mirror gone %s", to, m.UID))
		default:
			l.lines = append(l.lines, fmt.Sprintf("%s %T", to, msg))
		}
	})
}

func (l *log) deps() Deps {
	return Deps{Pods: l.sink("pods"), Status: l.sink("status"), Mirrors: l.sink("mirrors"), Logger: klog.Background()}
}

func (l *log) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(l.lines, want) {
		t.Errorf("told %q, want %q", l.lines, want)
	}
	l.lines = nil
}

func pod(name, uid, version string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("u-" + uid), ResourceVersion: version, Generation: 1,
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "x"}}},
		Spec: v1.PodSpec{NodeName: "n"},
	}
}

func TestSink(t *testing.T) {
	l := &log{}
	s := newSink(l.deps(), func() time.Time { return time.Unix(1e9, 0) })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a := pod("a", "1", "1")
	must(s.Replace([]any{a}, "1"))
	l.expect(t, "status seen u-1/1", "pods assigned u-1", "pods synced")
	a = s.pods[key{"ns", "a"}]
	if a.ManagedFields != nil {
		t.Error("managed fields were kept")
	}
	if a.Annotations["kubernetes.io/config.source"] != "api" || a.Annotations["kubernetes.io/config.seen"] == "" {
		t.Errorf("origin not marked: %v", a.Annotations)
	}

	must(s.Update(pod("a", "1", "2")))
	l.expect(t, "status seen u-1/2", "pods status u-1")

	must(s.Replace([]any{pod("a", "1", "2")}, "2"))
	l.expect(t) // a list that repeats what is known is no news, and the source is complete only once

	deleting := pod("a", "1", "3")
	deleting.DeletionTimestamp = &metav1.Time{Time: time.Unix(2e9, 0)}
	must(s.Update(deleting))
	l.expect(t, "status seen u-1/3", "pods assigned u-1")

	must(s.Delete(pod("a", "other", "9")))
	l.expect(t) // the delete of an earlier pod of this name

	must(s.Update(pod("a", "2", "4")))
	l.expect(t, "pods removed u-1", "status gone u-1", "status seen u-2/4", "pods assigned u-2")

	must(s.Replace([]any{}, "5"))
	l.expect(t, "pods removed u-2", "status gone u-2")

	mirror := pod("m", "3", "6")
	mirror.Annotations = map[string]string{v1.MirrorPodAnnotationKey: "hash"}
	must(s.Add(mirror))
	l.expect(t, "mirrors mirror u-3", "status seen u-3/6")
	must(s.Delete(mirror))
	l.expect(t, "mirrors mirror gone u-3", "status gone u-3")

	if err := s.Add("nonsense"); err == nil {
		t.Error("a foreign object was accepted")
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		client := fake.NewClientset(pod("a", "1", ""))
		deps := l.deps()
		deps.Client, deps.Logger = client, ktesting.NewLogger(t, ktesting.DefaultConfig)
		ctx, cancel := context.WithCancel(t.Context())
		source := New(deps, Config{NodeName: "n"})
		done := make(chan struct{})
		go func() { source.Run(ctx); close(done) }()
		synctest.Wait()
		if got := l.lines[len(l.lines)-1]; got != "pods synced" {
			t.Errorf("not complete after the first list: %q", l.lines)
		}
		l.lines = nil
		if _, err := client.CoreV1().Pods("ns").Create(ctx, pod("b", "2", ""), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !slices.Contains(l.lines, "pods assigned u-2") {
			t.Errorf("told %q, want the new pod", l.lines)
		}
		l.lines = nil
		if err := client.CoreV1().Pods("ns").Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !slices.Contains(l.lines, "pods removed u-1") {
			t.Errorf("told %q, want the removal", l.lines)
		}
		cancel()
		<-done
	})
}
