package pods

import (
	"hash/fnv"

	"github.com/troupe-dev/troupe/messages/model"
)

// Past is what one incarnation of /pods leaves to the next. Only the actor touches it, one incarnation at a time.
//
// After a panic the next incarnation starts from nothing, as after a restart of the agent: sources deliver again, the
// runtime is listed again, what runs is adopted. Two things cannot be learnt so: which numbers were given to pods (an
// answer for an earlier life must not reach a later one), and which pods there were that no source names any more and of
// which nothing runs.
type Past struct {
	seq   model.Incarnation
	known map[model.UID]struct{}
}

// NewPast is the past of an agent that has just started.
func NewPast() *Past { return &Past{known: map[model.UID]struct{}{}} }

// next numbers a pod's life.
func (p *Past) next(uid model.UID) model.Incarnation {
	p.seq++
	p.known[uid] = struct{}{}
	return p.seq
}

func (p *Past) ended(uid model.UID) { delete(p.known, uid) }

// vanish calls f for the pods of earlier incarnations that are not in now, and forgets them.
func (p *Past) vanish(now map[model.UID]*entry, f func(model.UID)) {
	for uid := range p.known {
		if now[uid] == nil {
			delete(p.known, uid)
			if f != nil {
				f(uid)
			}
		}
	}
}

// shownEvery is how often a pod is shown a list that says the same as the one before: the net below the net.
const shownEvery = 6

// view is what a pod was shown last.
type view struct {
	epoch uint64
	sum   uint64
	shown int // lists with this sum
}

// news says whether a pod has to be shown what a list has of it. A list that says the same again is left out, because a
// node that does nothing should cost nothing; but it is shown twice, as a pod ignores lists while a call of its own is in
// flight, and now and then after that.
func (v *view) news(epoch uint64, o model.PodObserved, uid model.UID) bool {
	h := fnv.New64a()
	add := func(id string, state int) {
		h.Write([]byte(id))
		h.Write([]byte{byte(state), 0})
	}
	for i := range o.Sandboxes {
		add(string(o.Sandboxes[i].ID), int(o.Sandboxes[i].State))
	}
	for i := range o.Containers {
		add(string(o.Containers[i].ID), int(o.Containers[i].State))
	}
	sum := h.Sum64()
	if v.shown == 0 || sum != v.sum || epoch != v.epoch {
		v.epoch, v.sum, v.shown = epoch, sum, 1
		return true
	}
	v.shown++
	return v.shown == 2 || (v.shown+phase(uid))%shownEvery == 0
}

// phase spreads the pods over the lists.
func phase(uid model.UID) int {
	n := 0
	for _, b := range []byte(uid) {
		n += int(b)
	}
	return n % shownEvery
}
