package sim

import (
	"context"
	"math"
	"time"

	"google.golang.org/grpc/status"
)

// Duration is the length of a call: Base, and a part of Jitter that the seed decides.
type Duration struct{ Base, Jitter time.Duration }

// Latency is the length of each call by its CRI name; a call that is not in it answers at once.
type Latency map[string]Duration

// DefaultLatency is the latency model of the bench: what a small node with containerd needs, without the waiting of
// calls for each other.
func DefaultLatency() Latency {
	const ms = time.Millisecond
	return Latency{
		"RunPodSandbox":            {80 * ms, 8 * ms},
		"StopPodSandbox":           {40 * ms, 4 * ms},
		"RemovePodSandbox":         {10 * ms, ms},
		"PodSandboxStatus":         {ms, 0},
		"ListPodSandbox":           {ms, 0},
		"CreateContainer":          {15 * ms, 2 * ms},
		"StartContainer":           {25 * ms, 3 * ms},
		"StopContainer":            {10 * ms, ms},
		"RemoveContainer":          {10 * ms, ms},
		"ContainerStatus":          {ms, 0},
		"ListContainers":           {ms, 0},
		"UpdateContainerResources": {5 * ms, ms},
		"ExecSync":                 {20 * ms, 2 * ms},
		"PullImage":                {200 * ms, 50 * ms},
		"RemoveImage":              {20 * ms, 2 * ms},
	}
}

// of returns the length of one call. The same call about the same object takes the same time whatever runs beside it.
func (l Latency) of(seed uint64, c call) time.Duration {
	d := l[c.op]
	if d.Jitter <= 0 {
		return d.Base
	}
	h := hash(seed, c.op, c.UID, c.Container, c.key)
	h ^= h >> 29
	return d.Base + time.Duration(float64(d.Jitter)*(float64(h>>11)/float64(math.MaxUint64>>11)))
}

// sleep waits for d or the end of ctx, and returns the gRPC status of the latter.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctxStatus(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctxStatus(ctx)
	}
}

func ctxStatus(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return nil
}
