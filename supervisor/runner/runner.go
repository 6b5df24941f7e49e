// Package runner performs the effects of actors: calls that may wait. An actor's Receive hands a Job over and goes on; the
// job's closure sends its result back as a message. Calls of one kind share a lane, which finds out by itself how many
// of them the other side can serve at once (width.go), and which a hung call cannot block: overdue calls leave its count.
//
// A runner owns no goroutine while nothing runs and no timer while nothing waits.
package runner

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Lane names a queue of calls that compete for the same capacity.
type Lane string

// The lanes. Pulls have one for each registry.
const (
	Starts Lane = "starts" // sandboxes, creates, starts
	Stops  Lane = "stops"  // stops and removes; a stop mostly waits out its grace period
	Reads  Lane = "reads"  // status reads and lists
	Probes Lane = "probes"
	API    Lane = "api"  // API server writes and reads
	News   Lane = "news" // API server writes that nobody waits for; in a burst most are overtaken by later ones in API
	Disk   Lane = "disk" // files, mounts, cgroups
)

const pullPrefix = "pulls:"

// Pulls is the lane of image pulls from one registry.
func Pulls(registryHost string) Lane { return Lane(pullPrefix + registryHost) }

// Job is one call.
type Job struct {
	Lane Lane
	// Op names the kind of call; latencies are compared only within one Op. It must come from a small fixed set.
	Op string
	// Ahead says that the call finishes what is under way: it goes before calls that begin something new. Else, when many
	// pods start at once, all would have their sandboxes before the first had its containers, and all were ready last.
	Ahead bool
	// Owner is the pod (namespace/name) or the path of the actor that waits for the call, for inspection.
	Owner string
	// Timeout ends Fn's context; it counts from when Fn begins, not from Do. Zero or less means no deadline.
	Timeout time.Duration
	// Fn makes the call and sends its result. It is called exactly once, in a goroutine of its own; after ctx was
	// cancelled in the queue it is called with a context that has ended. Its error is only counted.
	Fn func(ctx context.Context) error
	// OnPanic is called, in Fn's goroutine, with what Fn panicked with: the place to send a failure message from.
	OnPanic func(value any)
}

// ErrNoCall is what Fn returns when it found nothing to do: the job is not counted, and its time says nothing about the
// other side.
var ErrNoCall = errors.New("no call was made")

// Panic describes a panic in a job.
type Panic struct {
	Lane      Lane
	Op, Owner string
	Value     any
	Stack     []byte
	At        time.Time
}

// Limits bound the width of a lane. Min == Max fixes it.
type Limits struct {
	// Min is the width that a lane starts with and never goes below; Max is never exceeded.
	Min, Max int
	// Leave is the longest a call counts, whatever its latencies say; zero means no such bound.
	Leave time.Duration
	// Hard bounds all running calls of the lane, those that left its count included.
	Hard int
}

// Config of a Runner. The zero value is usable.
type Config struct {
	// CPUs sizes the lanes (start width 2 × CPUs); zero means GOMAXPROCS.
	CPUs int
	// Limits override the built-in ones; a zero field keeps the built-in value. Pull lanes look up Pulls("").
	Limits map[Lane]Limits
	// OnPanic is told of every panic in a job, in the job's goroutine. It must not block.
	OnPanic func(Panic)
}

// Runner runs jobs. All methods are safe for concurrent use and none blocks.
type Runner struct {
	cfg   Config
	mu    sync.RWMutex
	lanes map[Lane]*lane

	panicMu   sync.Mutex
	panics    int64
	lastPanic *Panic
}

// New returns a runner. It needs no closing: it ends with its last job.
func New(cfg Config) *Runner {
	if cfg.CPUs <= 0 {
		cfg.CPUs = runtime.GOMAXPROCS(0)
	}
	return &Runner{cfg: cfg, lanes: map[Lane]*lane{}}
}

// Do queues a job in its lane, first in first out among those that go ahead and among the others, and returns at once. ctx cancels it, queued or running; its values are
// passed on.
func (r *Runner) Do(ctx context.Context, job Job) {
	r.lane(job.Lane).add(ctx, job)
}

func (r *Runner) lane(name Lane) *lane {
	r.mu.RLock()
	l := r.lanes[name]
	r.mu.RUnlock()
	if l != nil {
		return l
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lanes[name]; l != nil {
		return l
	}
	l = newLane(r, name, r.limits(name))
	r.lanes[name] = l
	return l
}

// Built-in limits. News is narrow, so that what it carries waits in a burst and is overtaken. Starts may grow until the runtime slows down. Stops and probes mostly wait for what others do (a grace
// period, a workload's answer), which says nothing about capacity: their width is fixed and a stop leaves the count early.
const (
	maxWidth   = 256
	hardWidth  = 512
	stopWidth  = 64
	stopLeave  = 500 * time.Millisecond
	hardStops  = 1024
	probeWidth = 64
	pullWidth  = 16
	// apiWidth keeps below the requests that an API server takes on one HTTP/2 connection (100: k8s.io/apiserver, SecureServingInfo): beyond them client-go opens
	// more connections, each with its handshake, and the server only shares itself out further.
	apiWidth = 64
)

func (r *Runner) limits(name Lane) Limits {
	base := 2 * r.cfg.CPUs
	l := Limits{Min: base, Max: maxWidth, Hard: hardWidth}
	key := name
	switch {
	case name == Stops:
		l = Limits{Min: stopWidth, Max: stopWidth, Leave: stopLeave, Hard: hardStops}
	case name == API:
		l.Max = max(base, apiWidth)
	case name == News:
		narrow := max(1, r.cfg.CPUs/2)
		l.Min, l.Max = narrow, narrow
	case name == Probes:
		l.Min, l.Max = probeWidth, probeWidth
	case strings.HasPrefix(string(name), pullPrefix):
		l.Min, l.Max = max(base, pullWidth), max(base, pullWidth)
		key = Pulls("")
	}
	if o, ok := r.cfg.Limits[key]; ok {
		override(&l, o)
	}
	l.Max = min(max(l.Max, l.Min), l.Hard)
	l.Min = min(l.Min, l.Max)
	return l
}

func override(l *Limits, o Limits) {
	if o.Min > 0 {
		l.Min = o.Min
	}
	if o.Max > 0 {
		l.Max = o.Max
		l.Min = min(l.Min, l.Max)
	}
	if o.Leave > 0 {
		l.Leave = o.Leave
	}
	if o.Hard > 0 {
		l.Hard = o.Hard
	}
}

func (r *Runner) panicked(p Panic) {
	r.panicMu.Lock()
	r.panics++
	r.lastPanic = &p
	r.panicMu.Unlock()
	if r.cfg.OnPanic != nil {
		r.cfg.OnPanic(p)
	}
}
