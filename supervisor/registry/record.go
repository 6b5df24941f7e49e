package registry

import (
	"reflect"
	"sync"
	"time"
)

// ringSize is how many events, and how many actions, are kept of each actor.
const ringSize = 32

// Record is one entry of the flight recorder: 32 bytes and the identifier it shares with its source.
type Record struct {
	at    int64  // ns since 1970
	id    string // of the object concerned; "" when none
	took  uint32 // µs, up to 71 minutes
	kind  uint16 // interned
	class uint16 // interned; 0 is none
}

// Attr adds to a record.
type Attr struct {
	id, class string
	took      time.Duration
}

// ID names the object concerned (container, sandbox, image). It is kept: no secrets.
func ID(id string) Attr { return Attr{id: id} }

// Took is the duration of what is recorded.
func Took(d time.Duration) Attr { return Attr{took: d} }

// Class is how it ended: ok, refused, notFound, unknown, or another constant.
func Class(c string) Attr { return Attr{class: c} }

// ring keeps the newest records; it grows by doubling, so that quiet actors stay small.
type ring struct {
	buf  []Record
	next int // the oldest, once buf is full
}

func (r *ring) add(rec Record) {
	if len(r.buf) < ringSize {
		if len(r.buf) == cap(r.buf) {
			grown := make([]Record, len(r.buf), min(max(4, 2*cap(r.buf)), ringSize))
			copy(grown, r.buf)
			r.buf = grown
		}
		r.buf = append(r.buf, rec)
		return
	}
	r.buf[r.next] = rec
	r.next = (r.next + 1) % ringSize
}

// each calls f oldest first.
func (r *ring) each(f func(Record)) {
	for i := range r.buf {
		f(r.buf[(r.next+i)%len(r.buf)])
	}
}

func (g *Registry) record(now time.Time, kind string, attrs []Attr) Record {
	rec := Record{at: now.UnixNano(), kind: g.names.number(kind)}
	for _, a := range attrs {
		if a.id != "" {
			rec.id = a.id
		}
		if a.class != "" {
			rec.class = g.names.number(a.class)
		}
		if a.took != 0 {
			rec.took = micros(a.took)
		}
	}
	return rec
}

// internType numbers a message type by its name, e.g. podmsg.Dirty. The name comes from the program text.
func (g *Registry) internType(t reflect.Type) uint16 { return g.names.number(t.String()) }

func micros(d time.Duration) uint32 {
	return uint32(min(max(0, d.Microseconds()), 1<<32-1))
}

// names numbers the constants that records speak of.
type names struct {
	mu   sync.RWMutex
	of   map[string]uint16
	list []string
}

// maxNames bounds the table: a kind that is composed at run time would grow it for ever. What comes after it is "other".
const maxNames = 4096

func (n *names) number(s string) uint16 {
	if s == "" {
		return 0
	}
	n.mu.RLock()
	i, ok := n.of[s]
	n.mu.RUnlock()
	if ok {
		return i
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if i, ok := n.of[s]; ok {
		return i
	}
	if n.of == nil {
		n.of, n.list = map[string]uint16{"other": 1}, []string{"", "other"}
	}
	if len(n.list) >= maxNames {
		return 1
	}
	i = uint16(len(n.list))
	n.of[s], n.list = i, append(n.list, s)
	return i
}

func (n *names) name(i uint16) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if int(i) < len(n.list) {
		return n.list[i]
	}
	return ""
}
