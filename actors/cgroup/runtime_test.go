package cgroup_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cgroups"
	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
	"github.com/troupe-dev/troupe/cgroups/cgstat"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/messages/cgroupmsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

// A real runtime puts its containers into the pod's cgroup: limits of the pod hold for containers that have none of their
// own, and a removal takes along what the runtime left there. The environment is that of the runtime conformance test.
func TestRealRuntime(t *testing.T) {
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rt, err := remote.Dial(ctx, endpoint, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()

	h, err := cgroupfs.Detect(cgroupfs.DefaultRoot)
	if err != nil {
		t.Fatal(err)
	}
	app := cgroupfs.New(h)
	root := cgroups.Name{fmt.Sprintf("troupe-test-%d-runtime", os.Getpid())}
	if err := app.Apply(ctx, cgroups.Desired{Name: root}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := app.Remove(context.Background(), root); err != nil {
			t.Error(err)
		}
	}()
	l := cgroups.Layout{Root: root, PerQOS: true}
	a, in := system(t, app, l, nil), newInbox()

	// The limits are the pod's alone.
	uid := fmt.Sprintf("cgroup-test-%d", os.Getpid())
	pod := &v1.Pod{Spec: v1.PodSpec{
		Containers: []v1.Container{{Name: "c"}},
		Resources: &v1.ResourceRequirements{Limits: v1.ResourceList{
			v1.ResourceCPU: resource.MustParse("200m"), v1.ResourceMemory: resource.MustParse("40Mi")}},
	}}
	pod.UID = model.UID(uid)
	a.Tell(cgroupmsg.Want{Pod: pod, Reply: in})
	parent := (<-in.ch).(podmsg.CgroupReady).Parent

	host := &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE}}
	sandboxConfig := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "cgroup-test", Namespace: "default", Uid: uid},
		Labels:   map[string]string{"io.kubernetes.pod.uid": uid},
		Linux:    &runtimeapi.LinuxPodSandboxConfig{CgroupParent: parent, SecurityContext: host},
	}
	sandbox, err := rt.RunPodSandbox(ctx, sandboxConfig, "")
	if err != nil {
		t.Fatal(err)
	}
	defer rt.RemovePodSandbox(context.Background(), sandbox)
	defer rt.StopPodSandbox(context.Background(), sandbox)
	run := func(name, script string) model.ContainerID {
		id, err := rt.CreateContainer(ctx, sandbox, &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: name}, Image: &runtimeapi.ImageSpec{Image: image},
			Command: []string{"sh", "-c", script},
			Linux:   &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{NamespaceOptions: host.NamespaceOptions}},
		}, sandboxConfig)
		if err != nil {
			t.Fatal(err)
		}
		if err := rt.StartContainer(ctx, id); err != nil {
			t.Fatal(err)
		}
		return id
	}

	burner := run("burner", "while :; do :; done")
	first, err := cgstat.Read(h, parent)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	time.Sleep(2 * time.Second) // the measured container runs in real time
	second, err := cgstat.Read(h, parent)
	if err != nil {
		t.Fatal(err)
	}
	cores := float64(second.CPUNanos-first.CPUNanos) / float64(time.Since(begin))
	if cores > 0.26 || cores < 0.05 {
		t.Errorf("the pod used %.2f cores under a limit of 0.2", cores)
	}
	if err := rt.StopContainer(ctx, burner, 0); err != nil {
		t.Fatal(err)
	}

	hog := run("hog", "dd if=/dev/zero of=/dev/null bs=200M")
	var status model.Container
	for status.State != model.ContainerExited {
		if status, err = rt.ContainerStatus(ctx, hog); err != nil {
			t.Fatal(err)
		}
	}
	kills, err := cgstat.OOMKills(h, parent)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.2f cores; the hog ended with %d %s; oom kills in the pod's own cgroup: %d", cores, status.ExitCode, status.Reason, kills)
	if status.ExitCode != 137 {
		t.Errorf("the hog ended with %d %s", status.ExitCode, status.Reason)
	}

	// Something still runs when the pod's cgroup has to go.
	left := run("left", "sleep 1000")
	a.Tell(cgroupmsg.Drop{UID: pod.UID, Reply: in})
	if m := <-in.ch; m != any(podmsg.CgroupGone{}) {
		t.Fatalf("%T %v", m, m)
	}
	if app.Exists(l.Pod(pod.UID, v1.PodQOSBurstable)) {
		t.Error("the pod's cgroup is left")
	}
	for status = (model.Container{}); status.State != model.ContainerExited; {
		if status, err = rt.ContainerStatus(ctx, left); err != nil && cri.ClassOf(err) != model.OutcomeNotFound {
			t.Fatal(err)
		}
	}
}
