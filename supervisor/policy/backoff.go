package policy

import "time"

// Curve is the shape of a back-off: the delays Initial, 2×Initial, 4×Initial … never above Max.
type Curve struct {
	Initial time.Duration
	Max     time.Duration
	// ResetAfter forgets the past: when the newest end came more than this after the restart before it, the next delay
	// is Initial again. Zero never forgets.
	ResetAfter time.Duration
}

// Constants of the kubelet 1.36: pkg/kubelet/kubelet.go (initialCrashLoopBackOff, MaxContainerBackOff, MaxImageBackOff and
// the fixed 600 s of crashLoopBackOff.HasExpiredFunc, which does not follow a configured maximum).
const (
	CrashLoopInitial = 10 * time.Second
	CrashLoopMax     = 300 * time.Second
	CrashLoopReset   = 600 * time.Second
	ImageInitial     = 10 * time.Second
	ImageMax         = 300 * time.Second
)

// CrashLoop is the back-off of a container that ends again and again. max is KubeletConfiguration's
// crashLoopBackOff.maxContainerRestartPeriod; zero or less means 300 s. A max below the initial delay lowers that too.
func CrashLoop(max time.Duration) Curve {
	if max <= 0 {
		max = CrashLoopMax
	}
	return Curve{Initial: min(CrashLoopInitial, max), Max: max, ResetAfter: CrashLoopReset}
}

// ImagePull is the back-off of one image for one pod. A success forgets it: the caller drops its Backoff.
func ImagePull() Curve {
	return Curve{Initial: ImageInitial, Max: ImageMax, ResetAfter: 2 * ImageMax}
}

// Grow is the delay after d on this curve.
func (c Curve) Grow(d time.Duration) time.Duration {
	if d <= 0 {
		return min(c.Initial, c.Max)
	}
	if d > c.Max/2 { // also keeps the doubling from overflowing
		return c.Max
	}
	return 2 * d
}

// Backoff is where one object stands on its curve. The zero value has no past. It is a comparable value.
type Backoff struct {
	// Delay is what the next restart has to wait for, counted from the end that it follows. Zero: it need not wait.
	Delay time.Duration
	// Last is when the newest restart was made (or, for an image, when the newest pull failed).
	Last time.Time
	// Ended is when the run before the newest restart ended.
	Ended time.Time
}

// expired says whether a run that ended at that moment was so long that the past does not count.
func (b Backoff) expired(c Curve, ended time.Time) bool {
	return b.Delay > 0 && c.ResetAfter > 0 && ended.Sub(b.Last) > c.ResetAfter
}

// Due is the earliest moment for the restart that follows an end at that moment: the end itself when there is no past.
func (b Backoff) Due(c Curve, ended time.Time) time.Time {
	if b.expired(c, ended) {
		return ended
	}
	return ended.Add(min(b.Delay, c.Max))
}

// Next is the state after a restart made now, following an end at that moment: the delay doubles.
func (b Backoff) Next(c Curve, ended, now time.Time) Backoff {
	d := b.Delay
	if b.expired(c, ended) {
		d = 0
	}
	return Backoff{Delay: c.Grow(d), Last: now, Ended: ended}
}

// Failed is the state after a failure now of something that is tried again by itself, such as an image pull: the next try
// is due at the returned moment.
func (b Backoff) Failed(c Curve, now time.Time) (Backoff, time.Time) {
	n := b.Next(c, now, now)
	return n, now.Add(n.Delay)
}
