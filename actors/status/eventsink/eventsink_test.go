package eventsink

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/klog/v2"
)

func TestEventsGoBehindStatuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client := fake.NewClientset()
		var busy atomic.Bool
		busy.Store(true)
		tapped := 0
		e := New(ctx, Deps{Client: client, Busy: busy.Load, Tap: func(*v1.Event) { tapped++ }, Logger: klog.Background()}, Config{NodeName: "n", QPS: 1, Burst: 1})
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", UID: "u"}}
		written := func() []v1.Event {
			synctest.Wait()
			list, err := client.CoreV1().Events("ns").List(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return list.Items
		}
		e.Recorder().Eventf(pod, v1.EventTypeNormal, "Started", "container %s", "c")
		if n := len(written()); n != 0 || tapped != 1 {
			t.Errorf("%d events written while statuses wait, %d tapped", n, tapped)
		}
		busy.Store(false)
		time.Sleep(glance)
		got := written()
		if len(got) != 1 || got[0].Source != (v1.EventSource{Component: "kubelet", Host: "n"}) || got[0].Message != "container c" || got[0].InvolvedObject.UID != "u" {
			t.Fatalf("written %+v", got)
		}
		busy.Store(true)
		e.Recorder().Event(pod, v1.EventTypeWarning, "Failed", "x")
		time.Sleep(patience)
		if n := len(written()); n != 1 {
			t.Errorf("%d events before the patience has ended", n)
		}
		time.Sleep(time.Second)
		if n := len(written()); n != 2 {
			t.Errorf("%d events: one waits for ever", n)
		}
		cancel()
		synctest.Wait()
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client := fake.NewClientset()
		e := New(ctx, Deps{Client: client, Logger: klog.Background()}, Config{NodeName: "n", QPS: 10, Burst: 5})
		pod := func(i int) *v1.Pod {
			return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: string(rune('a' + i))}}
		}
		for i := range 20 {
			e.Recorder().Event(pod(i), v1.EventTypeNormal, "Pulled", "x")
		}
		count := func() int {
			synctest.Wait()
			list, _ := client.CoreV1().Events("ns").List(ctx, metav1.ListOptions{})
			return len(list.Items)
		}
		if n := count(); n != 5 {
			t.Errorf("%d events at once, want the burst of 5", n)
		}
		time.Sleep(time.Second)
		if n := count(); n < 14 || n > 16 {
			t.Errorf("%d events after a second, want about 15", n)
		}
		cancel()
		synctest.Wait()
	})
}
