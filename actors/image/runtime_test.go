package image_test

import (
	"os"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/image"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/messages/containermsg"
)

// What a real runtime says of images that are there, that are not, and that cannot be had. The environment is that of the
// runtime conformance test.
func TestRealRuntime(t *testing.T) {
	endpoint := os.Getenv("TROUPE_TEST_RUNTIME_ENDPOINT")
	if endpoint == "" {
		if os.Getenv("TROUPE_TEST_REQUIRE_RUNTIME") == "1" {
			t.Fatal("TROUPE_TEST_RUNTIME_ENDPOINT is not set")
		}
		t.Skip("TROUPE_TEST_RUNTIME_ENDPOINT is not set")
	}
	have := os.Getenv("TROUPE_TEST_IMAGE")
	if have == "" {
		have = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1"
	}
	rt, err := remote.Dial(t.Context(), endpoint, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	ev, in := &events{}, &inbox{ch: make(chan any, 10)}
	a := system(t, image.Deps{Images: rt, Recorder: ev}, image.Config{})
	ask := func(img string, policy v1.PullPolicy) any {
		a.Tell(want(pod("p"), img, policy, in))
		select {
		case m := <-in.ch:
			return m
		case <-time.After(time.Minute):
			t.Fatal("no answer")
			return nil
		}
	}
	if m, ok := ask(have, v1.PullIfNotPresent).(containermsg.ImageReady); !ok || !strings.HasPrefix(m.Ref, "sha256:") {
		t.Errorf("present: %+v", m)
	}
	if m, ok := ask("127.0.0.1:1/troupe/none:1", v1.PullNever).(containermsg.ImageFailed); !ok || m.Reason != "ErrImageNeverPull" {
		t.Errorf("never: %+v", m)
	}
	m, ok := ask("127.0.0.1:1/troupe/none:1", v1.PullIfNotPresent).(containermsg.ImageFailed)
	if !ok || m.Reason != "ErrImagePull" || strings.Contains(m.Message, "rpc error") || !strings.Contains(m.Message, "127.0.0.1:1") {
		t.Errorf("unreachable: %+v", m)
	}
	if m, ok := ask("127.0.0.1:1/troupe/none:1", v1.PullIfNotPresent).(containermsg.ImageFailed); !ok || m.Reason != "ImagePullBackOff" {
		t.Errorf("again: %+v", m)
	}
	if all := strings.Join(ev.take(), "\n"); !strings.Contains(all, "Normal Pulled Container image") || !strings.Contains(all, "Warning Failed Error: ErrImagePull") || !strings.Contains(all, "Normal BackOff Back-off pulling image") {
		t.Errorf("events:\n%s", all)
	}
}
