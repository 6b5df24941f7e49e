package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/messages/model"
)

// TestRealRuntime follows a log across rotation and runs commands against the real runtime that `make test` provides
// (TROUPE_TEST_RUNTIME_ENDPOINT, TROUPE_TEST_IMAGE, TROUPE_TEST_REQUIRE_RUNTIME: see cri/remote).
func TestRealRuntime(t *testing.T) {
	endpoint, image := realRuntime(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rt, err := remote.Dial(ctx, endpoint, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rt.Close() })
	pod := web()
	pod.UID = model.UID(fmt.Sprintf("uid-server-%d", time.Now().UnixNano()))
	id := startReal(ctx, t, rt, pod, image, `i=0; while [ ! -e /stop ]; do i=$((i+1)); echo line $i; sleep 0.02; done; echo last words`)
	pod.Status.ContainerStatuses[0].ContainerID = "containerd://" + string(id)

	r := start(t, func(d *Deps, _ *Config) { d.Runtime, d.Pods = rt, pods{pod} })
	ca := newAuthority(t, "ca")
	req, _ := http.NewRequestWithContext(ctx, "GET", r.url("/containerLogs/default/web/app?follow=true"), nil)
	res, err := ca.client(t, "").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	in, n := bufio.NewReader(res.Body), 0
	next := func() string {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d lines: %v", n, err)
		}
		return strings.TrimSpace(line)
	}
	for _, until := range []int{20, 60} {
		for n < until {
			n++
			if got := next(); got != fmt.Sprint("line ", n) {
				t.Fatalf("got %q, want line %d", got, n)
			}
		}
		st, err := rt.ContainerStatus(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(st.LogPath, fmt.Sprintf("%s.%d", st.LogPath, until)); err != nil {
			t.Fatal(err)
		}
		if err := rt.ReopenContainerLog(ctx, id); err != nil {
			t.Fatal(err)
		}
	}

	cfg := &rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	for name, e := range executors(t, cfg, r.url("/exec/default/web/app?command=cat&input=1&output=1&error=1")) {
		var out bytes.Buffer
		if err := e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader("through " + name), Stdout: &out, Stderr: io.Discard}); err != nil || out.String() != "through "+name {
			t.Errorf("%s: %q %v", name, out.String(), err)
		}
	}
	if code, body := do(t, ca.client(t, ""), "GET", r.url("/runningpods/")); code != 200 || !strings.Contains(body, string(pod.UID)) {
		t.Errorf("runningpods: %d %s", code, body)
	}

	if code, body := do(t, ca.client(t, ""), "POST", r.url("/run/default/web/app?cmd=touch%20/stop")); code != 200 {
		t.Fatalf("run: %d %s", code, body)
	}
	for {
		line := next()
		if line == "last words" {
			break
		}
		if n++; line != fmt.Sprint("line ", n) {
			t.Fatalf("got %q, want line %d", line, n)
		}
	}
	begin := time.Now()
	if rest, err := io.ReadAll(in); err != nil || len(rest) != 0 {
		t.Errorf("after the last words: %q %v", rest, err)
	}
	took := time.Since(begin)
	t.Logf("%d lines over two rotations; the follower ended %s after the last words", n, took)
	if took > 2*time.Second {
		t.Errorf("the follower ended %s after the last words", took)
	}
}

// realRuntime is where the real runtime is, and an image with a shell; without one the test is skipped.
func realRuntime(t *testing.T) (endpoint, image string) {
	t.Helper()
	if endpoint = os.Getenv("TROUPE_TEST_RUNTIME_ENDPOINT"); endpoint == "" {
		if os.Getenv("TROUPE_TEST_REQUIRE_RUNTIME") == "1" {
			t.Fatal("TROUPE_TEST_RUNTIME_ENDPOINT is not set")
		}
		t.Skip("TROUPE_TEST_RUNTIME_ENDPOINT is not set")
	}
	if image = os.Getenv("TROUPE_TEST_IMAGE"); image == "" {
		image = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1"
	}
	return endpoint, image
}

// startReal runs a script in a container of the host's network, and removes it after the test.
func startReal(ctx context.Context, t *testing.T, rt *remote.Client, pod *v1.Pod, image, script string) model.ContainerID {
	t.Helper()
	cfg := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID)},
		LogDirectory: t.TempDir(),
		Labels:       map[string]string{"io.kubernetes.pod.name": pod.Name, "io.kubernetes.pod.namespace": pod.Namespace, "io.kubernetes.pod.uid": string(pod.UID)},
		Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE}}},
	}
	sandbox, err := rt.RunPodSandbox(ctx, cfg, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = rt.StopPodSandbox(ctx, sandbox)
		if err := rt.RemovePodSandbox(ctx, sandbox); err != nil {
			t.Error(err)
		}
	})
	labels := map[string]string{"io.kubernetes.container.name": "app"}
	for k, v := range cfg.Labels {
		labels[k] = v
	}
	id, err := rt.CreateContainer(ctx, sandbox, &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "app"}, Image: &runtimeapi.ImageSpec{Image: image},
		Command: []string{"sh", "-c", script}, LogPath: "app.log", Labels: labels,
		Linux: &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE}}},
	}, cfg)
	if err == nil {
		err = rt.StartContainer(ctx, id)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}
