package volume

import (
	"context"
	"sync"

	"github.com/troupe-dev/troupe/messages/model"
)

// gate lets one effect at a time into a pod's directory. The plan sees to that for one incarnation of the actor; after a
// panic, effects of the last one may still run.
type gate struct {
	mu   sync.Mutex
	busy map[model.UID]chan struct{} // closed when it is free again
}

// lock waits for its turn or the end of ctx.
func (g *gate) lock(ctx context.Context, uid model.UID) (unlock func(), err error) {
	for {
		g.mu.Lock()
		other := g.busy[uid]
		if other == nil {
			if g.busy == nil {
				g.busy = map[model.UID]chan struct{}{}
			}
			free := make(chan struct{})
			g.busy[uid] = free
			g.mu.Unlock()
			return func() {
				g.mu.Lock()
				delete(g.busy, uid)
				g.mu.Unlock()
				close(free)
			}, nil
		}
		g.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
