package http

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/podsmsg"
)

// TestTimes: a pod was created at no time that its manifest does not say, and was seen when this agent first read it under
// this UID, as with the kubelet.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last *v1.Pod
		var at time.Time
		server := &answers{code: 200}
		s := New(Deps{Transport: server, Logger: klog.Background(), Pods: messages.SinkFunc(func(m any) {
			if a, ok := m.(podsmsg.Assigned); ok {
				last, at = a.Pod, time.Now()
			}
		})}, Config{URL: "http://manifests.example/", NodeName: "n"})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.Run(ctx); close(ended) }()
		fixed := func(image string) string {
			return strings.Replace(one("a", image), `"name":"a"`, `"name":"a","uid":"fixed"`, 1)
		}
		step := func(what, body string, anew bool) {
			t.Helper()
			before := last
			server.mu.Lock()
			server.body = body
			server.mu.Unlock()
			time.Sleep(DefaultPeriod)
			synctest.Wait()
			if body == "" {
				return
			}
			if last == before {
				t.Fatalf("%s: nothing was told", what)
			}
			if !last.CreationTimestamp.IsZero() {
				t.Errorf("%s: created %v", what, last.CreationTimestamp)
			}
			seen := last.Annotations["kubernetes.io/config.seen"]
			if (seen == at.Format(time.RFC3339Nano)) != anew || !anew && seen != before.Annotations["kubernetes.io/config.seen"] {
				t.Errorf("%s: seen %s, told at %v", what, seen, at)
			}
		}
		time.Sleep(time.Second) // between two requests
		step("new", fixed("1"), true)
		step("changed", fixed("2"), false)
		step("another pod", one("a", "1"), true)
		step("gone", "", false)
		step("back again", one("a", "1"), true)
		cancel()
		<-ended
	})
}
