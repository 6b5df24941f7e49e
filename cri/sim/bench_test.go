package sim_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/cri/sim"
	"github.com/troupe-dev/troupe/messages/model"
)

// BenchmarkPod is the cost of the simulation itself, which the bench must stay clear of: a pod's start, one status read
// of each kind and its end over a socket, on a runtime that has 5,000 pods already.
func BenchmarkPod(b *testing.B) {
	rt := sim.New(sim.Config{AnyImage: true})
	path := filepath.Join(b.TempDir(), "sim.sock")
	srv, err := rt.Serve(path)
	if err != nil {
		b.Fatal(err)
	}
	defer srv.Stop()
	c, err := remote.Dial(context.Background(), "unix://"+path, remote.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	up := func(uid string) (model.SandboxID, model.ContainerID, error) {
		sb, err := c.RunPodSandbox(ctx, podConfig(uid), "")
		if err != nil {
			return "", "", err
		}
		id, err := c.CreateContainer(ctx, sb, containerConfig(uid, "main", 0), podConfig(uid))
		if err != nil {
			return "", "", err
		}
		return sb, id, c.StartContainer(ctx, id)
	}
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := range 100 {
				if _, _, err := up(fmt.Sprint("base-", w, "-", i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var n atomic.Int64
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			uid := fmt.Sprint("pod-", n.Add(1))
			sb, id, err := up(uid)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := c.PodSandboxStatus(ctx, sb); err != nil {
				b.Error(err)
			}
			if _, err := c.ListContainers(ctx, cri.ContainerFilter{UID: model.UID(uid)}); err != nil {
				b.Error(err)
			}
			if _, err := c.ContainerStatus(ctx, id); err != nil {
				b.Error(err)
			}
			if err := c.StopContainer(ctx, id, 1e9); err != nil {
				b.Error(err)
			}
			if err := c.StopPodSandbox(ctx, sb); err != nil {
				b.Error(err)
			}
			if err := c.RemovePodSandbox(ctx, sb); err != nil {
				b.Error(err)
			}
		}
	})
}
