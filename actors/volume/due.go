package volume

import (
	"container/heap"
	"time"
)

// dueHeap holds the pods that wait for a moment, earliest first.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].dueAt.Before(h[j].dueAt) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}

// set moves the entry to a moment; a zero one takes it out.
func (h *dueHeap) set(e *entry, at time.Time) {
	switch {
	case at.IsZero():
		h.remove(e)
		return
	case e.index < 0:
		e.dueAt = at
		heap.Push(h, e)
	case !e.dueAt.Equal(at):
		e.dueAt = at
		heap.Fix(h, e.index)
	}
}

func (h *dueHeap) remove(e *entry) {
	if e.index >= 0 {
		heap.Remove(h, e.index)
	}
}
