package object

import "sync"

// subscribers are told of changes. The zero value has none.
type subscribers struct {
	mu   sync.Mutex
	next int
	all  map[int]func(Key)
}

// Subscribe calls f for every object that has changed, appeared or vanished, until cancel. f must not block; it may be
// called from several goroutines, and once more while cancel returns.
func (s *subscribers) Subscribe(f func(Key)) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[int]func(Key){}
	}
	id := s.next
	s.next++
	s.all[id] = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, id)
	}
}

func (s *subscribers) notify(k Key) {
	s.mu.Lock()
	fs := make([]func(Key), 0, len(s.all))
	for _, f := range s.all {
		fs = append(fs, f)
	}
	s.mu.Unlock()
	for _, f := range fs {
		f(k)
	}
}
