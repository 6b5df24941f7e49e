package runner

import "time"

// width is how many calls a lane runs at once. It doubles while latency stays within 1.5 × the best seen, and halves beyond
// 2 ×; each is a gain, or a loss, of throughput by a third or more. Latencies are compared per op, because a lane mixes calls
// that take 80 ms with others that take 15, and only while calls wait in the queue: an idle lane says nothing.
//
// A round is judged by calls that began at the present width (epoch), as soon as half of it has ended: so one doubling takes
// about one latency.
type width struct {
	size, min, max int
	epoch          int
	n              int // calls in this round
	ops            []*opStats
	// After a halving the wider size is tried again only after some rounds, doubling: otherwise the lane would swing.
	ceiling int
	wait    int
	penalty int
}

const (
	growBelow   = 1.5
	shrinkAbove = 2.0
	// clamp bounds what one slow call can say in a round.
	clamp      = 4.0
	maxPenalty = 64
	// luck is how many calls a round needs for its mean to count fully as the new best.
	luck = 8
)

// sample takes in a successful call; waiting says whether others wait for a slot.
func (w *width) sample(op *opStats, took time.Duration, epoch int, waiting bool) {
	if w.min == w.max || epoch != w.epoch || !waiting {
		return
	}
	if op.roundN == 0 {
		w.ops = append(w.ops, op)
	}
	if op.best > 0 {
		took = min(took, time.Duration(clamp*float64(op.best)))
	}
	op.roundN++
	op.roundSum += took
	w.n++
	if w.n >= max(2, w.size/2) {
		w.judge()
	}
}

func (w *width) judge() {
	var ratio float64
	floor := w.size == w.min
	for _, op := range w.ops {
		mean := op.roundSum / time.Duration(op.roundN)
		// At the floor there is nothing better to compare with: what was best long ago no longer is.
		if op.best == 0 || (floor && float64(mean) > shrinkAbove*float64(op.best)) {
			op.best = max(mean, 1)
		} else if mean < op.best { // one lucky call is not yet what can be had
			op.best = max(1, op.best+(mean-op.best)*time.Duration(min(op.roundN, luck))/luck)
		}
		ratio += float64(op.roundN) * float64(mean) / float64(op.best)
	}
	ratio /= float64(w.n)
	w.reset()
	if w.wait > 0 {
		w.wait--
	}
	switch {
	case ratio > shrinkAbove && w.size > w.min:
		w.ceiling = w.size
		w.penalty = min(max(8, 2*w.penalty), maxPenalty)
		w.wait = w.penalty
		w.set(w.size / 2)
	case ratio <= growBelow && w.size < w.max:
		next := min(2*w.size, w.max)
		if w.wait > 0 && next >= w.ceiling {
			return
		}
		w.set(next)
	}
}

func (w *width) set(n int) {
	w.size = min(max(n, w.min), w.max)
	w.epoch++
}

func (w *width) reset() {
	for i, op := range w.ops {
		op.roundN, op.roundSum = 0, 0
		w.ops[i] = nil
	}
	w.ops = w.ops[:0]
	w.n = 0
}
