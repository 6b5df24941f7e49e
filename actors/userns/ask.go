package userns

import (
	"context"
	"path/filepath"
	"time"

	"github.com/troupe-dev/troupe/actors/userns/usernsfile"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/usernsmsg"
)

// Ask is how calls in the runner's goroutines get a pod's range. It is safe for concurrent use.
type Ask struct {
	// To is the actor.
	To messages.Sink
	// PodsDir has the directories of all pods by UID.
	PodsDir string
}

// askAgain is after how long a question is repeated: the actor may have been rebuilt meanwhile.
const askAgain = 5 * time.Second

// Range returns the pod's range; it waits for the actor until ctx ends. It must not be called by an actor.
func (a Ask) Range(ctx context.Context, uid model.UID) (model.IDRange, error) {
	got := make(chan usernsmsg.Have, 1)
	reply := messages.SinkFunc(func(m any) {
		if h, ok := m.(usernsmsg.Have); ok {
			select {
			case got <- h:
			default: // a second answer to a repeated question
			}
		}
	})
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		a.To.Tell(usernsmsg.Want{UID: uid, Reply: reply})
		select {
		case h := <-got:
			return h.Range, h.Err
		case <-ctx.Done():
			return model.IDRange{}, ctx.Err()
		case <-again.C:
		}
	}
}

// Recorded is the range that the pod was given before, from disk. One without matches fs.ErrNotExist.
func (a Ask) Recorded(uid model.UID) (model.IDRange, error) {
	return usernsfile.Read(filepath.Join(a.PodsDir, string(uid)))
}
