package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-dev/troupe/bench/dist"
	"github.com/troupe-dev/troupe/bench/proc"
)

// progressEvery is how often progress is told.
const progressEvery = 500 * time.Millisecond

// settleEvery is how often settle looks for writes.
const settleEvery = 100 * time.Millisecond

// Phase is what one phase measured.
type Phase struct {
	Phase Kind `json:"phase"`
	Pods  int  `json:"pods"`
	// WallMs is from the first request to the last pod that was where the phase wanted it.
	WallMs float64 `json:"wallMs"`
	// AskedMs is from the first request to the answer of the last one.
	AskedMs float64 `json:"askedMs,omitempty"`
	// Ready is from create to Ready, Gone from delete to gone, both as the client sees it. The parts are of the same pods:
	// Runtime while at least one CRI call about the pod was in flight, Rest all else.
	Ready        *dist.Dist `json:"createToReady,omitempty"`
	ReadyRuntime *dist.Dist `json:"createToReadyRuntime,omitempty"`
	ReadyRest    *dist.Dist `json:"createToReadyRest,omitempty"`
	Gone         *dist.Dist `json:"deleteToGone,omitempty"`
	GoneRuntime  *dist.Dist `json:"deleteToGoneRuntime,omitempty"`
	GoneRest     *dist.Dist `json:"deleteToGoneRest,omitempty"`
	// Agent is what the agent used from the beginning of the phase to MeasuredMs later.
	Agent      *Usage  `json:"agent,omitempty"`
	MeasuredMs float64 `json:"measuredMs"`
	// Calls are the CRI calls by method; PodWrites are the writes to pod objects by anybody, the client's creates and
	// deletes included; EventWrites those to event objects.
	Calls       map[string]uint64 `json:"criCalls,omitempty"`
	PodWrites   uint64            `json:"podWrites"`
	EventWrites uint64            `json:"eventWrites"`
	// Flips are the pods that stopped being Ready although nobody deleted them.
	Flips uint64 `json:"flips"`
}

// Usage is proc.Usage in units for reading.
type Usage struct {
	CPUSeconds    float64 `json:"cpuSeconds"`
	UserSeconds   float64 `json:"userSeconds"`
	SystemSeconds float64 `json:"systemSeconds"`
	Voluntary     uint64  `json:"voluntarySwitches"`
	Involuntary   uint64  `json:"involuntarySwitches"`
	RSSMB         float64 `json:"rssMB"`
	PeakRSSMB     float64 `json:"peakRSSMB"`
	Threads       int     `json:"threads"`
}

func usage(u proc.Usage) *Usage {
	return &Usage{
		CPUSeconds: u.CPU().Seconds(), UserSeconds: u.User.Seconds(), SystemSeconds: u.System.Seconds(), Voluntary: u.Voluntary,
		Involuntary: u.Involuntary, RSSMB: float64(u.RSS) / 1e6, PeakRSSMB: float64(u.PeakRSS) / 1e6, Threads: u.Threads,
	}
}

// run is one run of a plan.
type run struct {
	Plan
	target  Target
	tracker *Tracker
	tell    func(Progress)
	n       int      // the phase
	order   []string // all pods, oldest first
	next    int
	done    atomic.Int64
}

// Run performs the plan. It returns the phases that were completed; the error says what did not happen in time. progress may
// be nil.
func Run(ctx context.Context, plan Plan, target Target, tracker *Tracker, probe Probe, progress func(Progress)) ([]Phase, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	r := &run{Plan: plan, target: target, tracker: tracker, tell: progress}
	var out []Phase
	for i, kind := range plan.Phases {
		r.n = i
		p, err := r.phase(ctx, kind, probe)
		out = append(out, p)
		if err != nil {
			return out, fmt.Errorf("phase %s: %w", kind, err)
		}
	}
	return out, nil
}

// snapshot is everything that is counted from the start.
type snapshot struct {
	usage         *proc.Usage
	calls         map[string]uint64
	writes, flips uint64
	events        uint64
	at            time.Time
}

func (r *run) snapshot(p Probe) (s snapshot, err error) {
	s.at = time.Now()
	s.writes, s.flips = r.tracker.counters()
	if p.Usage != nil {
		u, err := p.Usage()
		if err != nil {
			return s, err
		}
		s.usage = &u
	}
	if p.Calls != nil {
		s.calls = p.Calls()
	}
	if p.Events != nil {
		s.events = p.Events()
	}
	return s, nil
}

func (r *run) phase(ctx context.Context, kind Kind, probe Probe) (Phase, error) {
	out := Phase{Phase: kind}
	if probe.PodTimes != nil {
		probe.PodTimes() // forget what came before
	}
	before, err := r.snapshot(probe)
	if err != nil {
		return out, err
	}
	phaseErr := r.perform(ctx, kind, &out)
	if phaseErr == nil && kind != Idle {
		phaseErr = r.settle(ctx, probe)
	}
	after, err := r.snapshot(probe)
	if err != nil {
		return out, errors.Join(phaseErr, err)
	}
	out.MeasuredMs = dist.Ms(after.at.Sub(before.at))
	if after.usage != nil {
		out.Agent = usage(after.usage.Sub(*before.usage))
	}
	out.PodWrites, out.Flips, out.EventWrites = after.writes-before.writes, after.flips-before.flips, after.events-before.events
	for op, n := range after.calls {
		if n -= before.calls[op]; n > 0 {
			if out.Calls == nil {
				out.Calls = map[string]uint64{}
			}
			out.Calls[op] = n
		}
	}
	var runtime map[string]time.Duration
	if probe.PodTimes != nil {
		runtime = probe.PodTimes()
	}
	t := r.tracker.phase(r.n, runtime)
	if kind == Idle {
		out.Pods = len(r.tracker.alive(r.order))
		out.WallMs = out.MeasuredMs
	} else {
		out.WallMs = dist.Ms(t.last.Sub(t.first))
	}
	for _, d := range []struct {
		into **dist.Dist
		from []time.Duration
	}{{&out.Ready, t.ready}, {&out.ReadyRuntime, t.inReady}, {&out.ReadyRest, t.restReady}, {&out.Gone, t.gone}, {&out.GoneRuntime, t.inGone}, {&out.GoneRest, t.restGone}} {
		if len(d.from) > 0 {
			x := dist.Of(d.from)
			*d.into = &x
		}
	}
	if len(t.missing) > 0 && phaseErr != nil {
		slices.Sort(t.missing)
		phaseErr = fmt.Errorf("%d pods did not get there, among them %s: %w", len(t.missing), strings.Join(t.missing[:min(3, len(t.missing))], ", "), phaseErr)
	}
	return out, phaseErr
}

// settle waits until nothing was written for r.Settle, at most r.Timeout.
func (r *run) settle(ctx context.Context, probe Probe) error {
	written := func() uint64 {
		n, _ := r.tracker.counters()
		if probe.Events != nil {
			n += probe.Events()
		}
		return n
	}
	last, quiet, end := written(), time.Now(), time.Now().Add(r.Timeout)
	for time.Since(quiet) < r.Settle && time.Now().Before(end) {
		if err := pause(ctx, min(r.Settle, settleEvery)); err != nil {
			return err
		}
		if n := written(); n != last {
			last, quiet = n, time.Now()
		}
	}
	return nil
}

// perform does the phase's work and waits for its end.
func (r *run) perform(ctx context.Context, kind Kind, out *Phase) error {
	if kind == Idle {
		stop := r.report(kind, 0)
		defer stop()
		return pause(ctx, r.Idle)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("not done after %s", r.Timeout))
	defer cancel()
	var names []string
	each, width := r.create, r.Workers
	switch kind {
	case Fill:
		names = r.names(r.Pods)
	case Delete:
		names, each = r.tracker.alive(r.order), r.delete
	case Churn:
		names = r.tracker.alive(r.order)
		names = names[:min(len(names), r.ChurnPods)]
		each, width = nil, r.ChurnWidth
	case Idle:
	}
	out.Pods = len(names)
	stop := r.report(kind, len(names))
	defer stop()
	if kind == Churn {
		fresh := r.names(len(names))
		return parallel(ctx, names, width, func(ctx context.Context, i int) error {
			if err := r.delete(ctx, names[i]); err != nil {
				return err
			}
			if err := r.await(ctx, names[i], false); err != nil {
				return err
			}
			if err := r.create(ctx, fresh[i]); err != nil {
				return err
			}
			defer r.done.Add(1)
			return r.await(ctx, fresh[i], true)
		})
	}
	start := time.Now()
	var waiting sync.WaitGroup
	failed := make(chan error, 1)
	err := parallel(ctx, names, width, func(ctx context.Context, i int) error { return each(ctx, names[i]) })
	out.AskedMs = dist.Ms(time.Since(start))
	if err != nil {
		return err
	}
	for _, name := range names {
		waiting.Go(func() {
			if err := r.await(ctx, name, kind == Fill); err != nil {
				select {
				case failed <- err:
				default:
				}
				return
			}
			r.done.Add(1)
		})
	}
	waiting.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// names makes the names of new pods.
func (r *run) names(n int) []string {
	first := len(r.order)
	for range n {
		r.next++
		r.order = append(r.order, fmt.Sprintf("%s%05d", r.Prefix, r.next))
	}
	return r.order[first:len(r.order):len(r.order)]
}

func (r *run) create(ctx context.Context, name string) error {
	r.tracker.created(name, r.n)
	return r.target.Create(ctx, name)
}

func (r *run) delete(ctx context.Context, name string) error {
	r.tracker.deleted(name, r.n)
	return r.target.Delete(ctx, name)
}

// await waits until a pod is Ready, or gone.
func (r *run) await(ctx context.Context, name string, wantReady bool) error {
	ready, gone := r.tracker.awaited(name)
	ch := gone
	if wantReady {
		ch = ready
	}
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// report tells progress until stop is called.
func (r *run) report(kind Kind, of int) (stop func()) {
	r.done.Store(0)
	start, quit, ended := time.Now(), make(chan struct{}), make(chan struct{})
	tell := func() { r.tell(Progress{Phase: kind, Done: int(r.done.Load()), Of: of, Elapsed: time.Since(start)}) }
	go func() {
		defer close(ended)
		t := time.NewTicker(progressEvery)
		defer t.Stop()
		for {
			tell()
			select {
			case <-t.C:
			case <-quit:
				tell()
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

// parallel calls f for each name, some at a time, and stops at the first error.
func parallel(ctx context.Context, names []string, width int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(max(1, width), len(names)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(names) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
