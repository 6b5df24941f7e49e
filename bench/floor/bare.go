package floor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/bench/dist"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// Pod is what the runtime is given for one pod, as the agent would give it.
type Pod struct {
	Name      string
	Sandbox   *runtimeapi.PodSandboxConfig
	Container *runtimeapi.ContainerConfig
	// Prepare and Clean make and remove what the agent makes outside the runtime (cgroup, log folder). They belong to the
	// measured time. May be nil.
	Prepare, Clean func(context.Context) error
}

// Result is one measurement at one width.
type Result struct {
	Width int `json:"width"`
	// UpMs is from the first call until every container runs, DownMs until everything is removed.
	UpMs   float64 `json:"upMs"`
	DownMs float64 `json:"downMs"`
	// Up and Down are of single pods.
	Up   dist.Dist            `json:"up"`
	Down dist.Dist            `json:"down"`
	Ops  map[string]dist.Dist `json:"ops"`
}

// Bare brings pods up and down again with nothing but the calls that this needs, for some pods at a time.
type Bare struct {
	Runtime cri.Runtime
	// Grace is what StopContainer is given.
	Grace time.Duration
	// Progress is told how many pods are up (then down) of all. May be nil.
	Progress func(what string, done, of int)

	mu  sync.Mutex
	ops map[string][]time.Duration
}

type made struct {
	sandbox   model.SandboxID
	container model.ContainerID
}

// Measure brings the pods up, width at a time, and down again. On an error everything that was made is removed.
func (b *Bare) Measure(ctx context.Context, pods []Pod, width int) (Result, error) {
	b.ops = map[string][]time.Duration{}
	out := Result{Width: width, Ops: map[string]dist.Dist{}}
	have := make([]made, len(pods))
	start := time.Now()
	up, err := b.each(ctx, "up", len(pods), width, func(ctx context.Context, i int) error { return b.up(ctx, &pods[i], &have[i]) })
	out.UpMs, out.Up = dist.Ms(time.Since(start)), dist.Of(up)
	start = time.Now()
	down, downErr := b.each(context.WithoutCancel(ctx), "down", len(pods), width, func(ctx context.Context, i int) error { return b.down(ctx, &pods[i], have[i]) })
	out.DownMs, out.Down = dist.Ms(time.Since(start)), dist.Of(down)
	for op, d := range b.ops {
		out.Ops[op] = dist.Of(d)
	}
	return out, errors.Join(err, downErr)
}

// each calls f for each pod, width at a time, and returns how long each took.
func (b *Bare) each(ctx context.Context, what string, n, width int, f func(context.Context, int) error) ([]time.Duration, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var took []time.Duration
	var errs []error
	slots := make(chan struct{}, width)
	for i := range n {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			start := time.Now()
			err := f(ctx, i)
			d := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			took = append(took, d)
			if b.Progress != nil {
				b.Progress(what, len(took), n)
			}
		})
	}
	wg.Wait()
	return took, errors.Join(append(errs, context.Cause(ctx))...)
}

func (b *Bare) up(ctx context.Context, p *Pod, m *made) (err error) {
	if p.Prepare != nil {
		if err := b.op("prepare", func() error { return p.Prepare(ctx) }); err != nil {
			return fmt.Errorf("pod %s: %w", p.Name, err)
		}
	}
	for _, step := range []struct {
		op   string
		call func() error
	}{
		{"RunPodSandbox", func() (err error) { m.sandbox, err = b.Runtime.RunPodSandbox(ctx, p.Sandbox, ""); return }},
		{"PodSandboxStatus", func() (err error) { _, err = b.Runtime.PodSandboxStatus(ctx, m.sandbox); return }},
		{"CreateContainer", func() (err error) {
			m.container, err = b.Runtime.CreateContainer(ctx, m.sandbox, p.Container, p.Sandbox)
			return
		}},
		{"StartContainer", func() error { return b.Runtime.StartContainer(ctx, m.container) }},
		{"ContainerStatus", func() (err error) { _, err = b.Runtime.ContainerStatus(ctx, m.container); return }},
	} {
		if err := b.op(step.op, step.call); err != nil {
			return fmt.Errorf("pod %s: %w", p.Name, err)
		}
	}
	return nil
}

func (b *Bare) down(ctx context.Context, p *Pod, m made) error {
	var errs []error
	try := func(op string, call func() error) {
		if err := b.op(op, call); err != nil && cri.ClassOf(err) != model.OutcomeNotFound {
			errs = append(errs, fmt.Errorf("pod %s: %w", p.Name, err))
		}
	}
	if m.container != "" {
		try("StopContainer", func() error { return b.Runtime.StopContainer(ctx, m.container, b.Grace) })
	}
	if m.sandbox != "" {
		try("StopPodSandbox", func() error { return b.Runtime.StopPodSandbox(ctx, m.sandbox) })
	}
	if m.container != "" {
		try("RemoveContainer", func() error { return b.Runtime.RemoveContainer(ctx, m.container) })
	}
	if m.sandbox != "" {
		try("RemovePodSandbox", func() error { return b.Runtime.RemovePodSandbox(ctx, m.sandbox) })
	}
	if p.Clean != nil {
		try("clean", func() error { return p.Clean(ctx) })
	}
	return errors.Join(errs...)
}

func (b *Bare) op(name string, call func() error) error {
	start := time.Now()
	err := call()
	d := time.Since(start)
	b.mu.Lock()
	b.ops[name] = append(b.ops[name], d)
	b.mu.Unlock()
	return err
}

// Best is the result with the shortest way up, and the one with the shortest way down.
func Best(all []Result) (up, down Result) {
	for i, r := range all {
		if i == 0 || r.UpMs < up.UpMs {
			up = r
		}
		if i == 0 || r.DownMs < down.DownMs {
			down = r
		}
	}
	return up, down
}
