package nodestats

import "time"

// rates turns counters of CPU time into usage. Each counter is compared with what it was at an earlier request.
type rates struct {
	of    map[string]sample
	round uint64
}

// sample is a counter's last reading, and the rate that was found with it.
type sample struct {
	nanos uint64
	at    time.Time
	rate  *uint64
	round uint64
}

// window is the shortest time that a rate is taken over: requests that follow each other quickly see the same one.
const window = time.Second

// add takes a reading and returns the usage in billionths of a core; nil for the first reading of a counter.
func (r *rates) add(name string, nanos uint64, at time.Time) *uint64 {
	old, known := r.of[name]
	now := sample{nanos: nanos, at: at, round: r.round}
	switch took := at.Sub(old.at); {
	case !known || nanos < old.nanos: // a new cgroup of the same name counts from 0
	case took < window:
		old.round = r.round
		r.of[name] = old
		return old.rate
	default:
		rate := uint64(float64(nanos-old.nanos) / took.Seconds())
		now.rate = &rate
	}
	r.of[name] = now
	return now.rate
}

// end forgets the counters that this round has not read: they are gone.
func (r *rates) end() {
	for name, s := range r.of {
		if s.round != r.round {
			delete(r.of, name)
		}
	}
	r.round++
}
