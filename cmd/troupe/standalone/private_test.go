package standalone

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/actors/runtime/child"
	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/cri/remote"
)

// rig is a private containerd in a folder of its own. test/rig/test.sh calls these tests in a network namespace of
// their own, with TROUPE_TEST_REQUIRE_RUNTIME=1, TROUPE_RUNTIME_DIR and TROUPE_TEST_IMAGES (a folder of archives).
func rig(t *testing.T) PrivateRuntime {
	t.Helper()
	if os.Getenv("TROUPE_TEST_REQUIRE_RUNTIME") == "" {
		t.Skip("needs root, a container runtime and a network namespace of its own: run test/rig/test.sh")
	}
	tools, err := FindRuntime("")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "troupe-run-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := NewLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	return PrivateRuntime{Layout: l, Tools: tools, Subnet: "10.185.0.0/16"}
}

// testRoot is the cgroup of these tests.
var testRoot = CgroupRoot{Path: "/troupe-private-test", Driver: cgroups.Cgroupfs}

func connect(t *testing.T, r PrivateRuntime) *remote.Client {
	t.Helper()
	c, err := remote.Dial(t.Context(), r.Endpoint(), remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	waitReady(t, c)
	return c
}

func waitReady(t *testing.T, c *remote.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.CheckVersion(ctx); err != nil {
		t.Fatal(err)
	}
}

func runPod(t *testing.T, rt cri.Runtime, logs string, hostPort int32) {
	t.Helper()
	ctx := t.Context()
	sb := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: "hello", Namespace: "default", Uid: "u1"},
		LogDirectory: logs, PortMappings: []*runtimeapi.PortMapping{{HostPort: hostPort, ContainerPort: 8080}},
		Linux: &runtimeapi.LinuxPodSandboxConfig{CgroupParent: "/troupe-private-test/pod1"},
	}
	id, err := rt.RunPodSandbox(ctx, sb, "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := rt.CreateContainer(ctx, id, &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "web"}, Image: &runtimeapi.ImageSpec{Image: "localhost/troupe-hello:1"}, LogPath: "web.log",
	}, sb)
	if err != nil {
		t.Fatal(err)
	}
	if err := rt.StartContainer(ctx, c); err != nil {
		t.Fatal(err)
	}
	s, err := rt.PodSandboxStatus(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	dialUntil(t, net.JoinHostPort(s.IPs[0], "8080"))
}

func dialUntil(t *testing.T, addr string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		_ = pause(t.Context(), 20*time.Millisecond)
	}
}

// A run that ends, and one that was killed in the middle, leave nothing on the host.
func TestPrivateRuntimeLeavesNothing(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		t.Run(map[bool]string{true: "orderly end", false: "after a kill"}[orderly], func(t *testing.T) {
			r := rig(t)
			before := SeeFilter(t.Context())
			l := r.Launcher()
			exits := make(chan child.Exit, 1)
			if _, err := l.Start(func(e child.Exit) { exits <- e }); err != nil {
				t.Fatal(err)
			}
			c := connect(t, r)
			if err := ImportImages(t.Context(), r.Tools.Ctr, r.Layout.ContainerdSocket(), r.Layout.path("imported"), ArchivesIn(os.Getenv("TROUPE_TEST_IMAGES")), func(string) {}); err != nil {
				t.Fatal(err)
			}
			runPod(t, c, r.Layout.PodLogs(), 18080)
			if len(shimsOf(r.Layout.ContainerdSocket())) != 1 {
				t.Errorf("shims = %v, want the pod's one", shimsOf(r.Layout.ContainerdSocket()))
			}
			if orderly {
				if err := SweepRuntime(t.Context(), c); err != nil {
					t.Error(err)
				}
				if err := l.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			} else {
				kill(t, l.PID())
			}
			<-exits
			clean := func() error { return SweepHost(t.Context(), r.Layout, testRoot, before) }
			if !orderly {
				clean = func() error {
					return CleanUp(t.Context(), r.Layout, Record{Endpoint: r.Endpoint(), Private: true, Subnet: r.Subnet, Cgroups: testRoot, Before: before})
				}
			}
			if err := clean(); err != nil {
				t.Error(err)
			}
			checkNothingLeft(t, r.Layout, before)
		})
	}
}

func checkNothingLeft(t *testing.T, l Layout, before Filter) {
	t.Helper()
	if s := shimsOf(l.ContainerdSocket()); len(s) > 0 {
		t.Errorf("shims are left: %v", s)
	}
	if m, _ := mountinfo.GetMounts(mountinfo.PrefixFilter(l.Dir)); len(m) > 0 {
		t.Errorf("mounts are left: %v", m[0].Mountpoint)
	}
	if _, err := net.InterfaceByName(BridgeName); err == nil {
		t.Errorf("bridge %s is left", BridgeName)
	}
	if d, _ := filepath.Glob("/sys/fs/cgroup/*/troupe-private-test"); len(d) > 0 {
		t.Errorf("cgroups are left: %v", d)
	}
	if after := SeeFilter(t.Context()); !slices.Equal(after.Chains, before.Chains) {
		t.Errorf("chains are left: %v, before: %v", after.Chains, before.Chains)
	}
}
