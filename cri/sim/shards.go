package sim

import "sync"

// shardCount spreads the locks; a power of two.
const shardCount = 64

// shards is a map with a lock for each part of it.
type shards[V any] struct {
	part [shardCount]struct {
		mu sync.RWMutex
		m  map[string]V
	}
}

func (s *shards[V]) init() {
	for i := range s.part {
		s.part[i].m = map[string]V{}
	}
}

func shardOf(key string) int { return int(hash(0, key) & (shardCount - 1)) }

// hash is FNV-1a.
func hash(seed uint64, parts ...string) uint64 {
	h := uint64(14695981039346656037) ^ seed
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return h
}

func (s *shards[V]) get(key string) (V, bool) {
	p := &s.part[shardOf(key)]
	p.mu.RLock()
	defer p.mu.RUnlock()
	v, ok := p.m[key]
	return v, ok
}

func (s *shards[V]) put(key string, v V) {
	p := &s.part[shardOf(key)]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.m[key] = v
}

func (s *shards[V]) delete(key string) {
	p := &s.part[shardOf(key)]
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.m, key)
}

// update changes the value of a key under its lock; keep false deletes it.
func (s *shards[V]) update(key string, f func(v V, ok bool) (next V, keep bool)) {
	p := &s.part[shardOf(key)]
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.m[key]
	if v, ok = f(v, ok); ok {
		p.m[key] = v
	} else {
		delete(p.m, key)
	}
}

// all returns a copy of the values; no two shards are locked at the same time.
func (s *shards[V]) all() []V {
	var out []V
	for i := range s.part {
		p := &s.part[i]
		p.mu.RLock()
		for _, v := range p.m {
			out = append(out, v)
		}
		p.mu.RUnlock()
	}
	return out
}

func (s *shards[V]) len() int {
	n := 0
	for i := range s.part {
		p := &s.part[i]
		p.mu.RLock()
		n += len(p.m)
		p.mu.RUnlock()
	}
	return n
}
