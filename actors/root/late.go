package root

import (
	"sync/atomic"

	"github.com/troupe-dev/troupe/messages"
)

// late is an address that is known only once its actor has been made; the actors of the tree know each other in circles.
// What is told before is lost, so nothing may be told before Start has made all actors but what may be repeated.
type late struct{ p atomic.Pointer[messages.Sink] }

func (l *late) set(s messages.Sink) { l.p.Store(&s) }

// Tell implements messages.Sink.
func (l *late) Tell(msg any) {
	if s := l.p.Load(); s != nil {
		(*s).Tell(msg)
	}
}
