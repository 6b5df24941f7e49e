package sim

import "github.com/troupe-dev/troupe/cri/callstats"

// Stats returns the counters of every operation that was ever called.
func (r *Runtime) Stats() map[string]callstats.Op { return r.stats.Ops() }

// TakePodStats returns what was done for each pod since the last taking, by pod UID, and forgets it.
func (r *Runtime) TakePodStats() map[string]callstats.Pod { return r.stats.TakePods() }

// CallStats are the counters themselves, for a reader that takes those of other runtimes too.
func (r *Runtime) CallStats() *callstats.Stats { return r.stats }
