package remote_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/cri/criconformance"
	"github.com/troupe-dev/troupe/cri/remote"
)

// TestConformanceReal runs the suite against the real runtime that `make test` provides:
//
//	TROUPE_TEST_RUNTIME_ENDPOINT  unix:///path of its socket
//	TROUPE_TEST_IMAGE             an image that it has, with a busybox shell
//	TROUPE_TEST_PULL_IMAGE        an image that it can pull, and that the test removes; without it pulls go unchecked
//	TROUPE_TEST_REQUIRE_RUNTIME   1 makes the absence of a runtime a failure
func TestConformanceReal(t *testing.T) {
	endpoint := os.Getenv("TROUPE_TEST_RUNTIME_ENDPOINT")
	if endpoint == "" {
		if os.Getenv("TROUPE_TEST_REQUIRE_RUNTIME") == "1" {
			t.Fatal("TROUPE_TEST_RUNTIME_ENDPOINT is not set")
		}
		t.Skip("TROUPE_TEST_RUNTIME_ENDPOINT is not set")
	}
	image := os.Getenv("TROUPE_TEST_IMAGE")
	if image == "" {
		image = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1"
	}
	criconformance.Run(t, func(t *testing.T) criconformance.Target {
		c, err := remote.Dial(context.Background(), endpoint, remote.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := c.CheckVersion(ctx); err != nil {
			t.Fatal(err)
		}
		return criconformance.Target{Runtime: c, Images: c, Image: image, LogDir: t.TempDir(), PullableImage: os.Getenv("TROUPE_TEST_PULL_IMAGE")}
	})
}
