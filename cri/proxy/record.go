package proxy

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/troupe-dev/troupe/cri"
)

// Kinds of records.
const (
	kindBegin = "begin" // a call that changes something was received
	kindEnd   = "end"   // a call was answered
	kindSaw   = "saw"   // an answer showed a state that is news
	kindMark  = "mark"  // a remark of the test
)

// Record is one line of the log, in the order in which things happened at the proxy.
type Record struct {
	Kind string `json:"kind"`
	N    uint64 `json:"n,omitempty"` // the call's number: ties its begin and end
	Call
	Start time.Time `json:"start"`           // of an end: when the call came; else: the moment
	End   time.Time `json:"end,omitzero"`    // of an end
	Class string    `json:"class,omitempty"` // of an end: ok, refused, notFound, unknown
	Error string    `json:"error,omitempty"`
	Fault string    `json:"fault,omitempty"`
	// IsSandbox, State and Exit are what was seen.
	IsSandbox bool   `json:"isSandbox,omitempty"`
	State     string `json:"state,omitempty"`
	Exit      int32  `json:"exit,omitempty"`
	Text      string `json:"text,omitempty"`
}

// Recorder writes records as JSON lines. The zero pointer records nothing.
type Recorder struct {
	mu  sync.Mutex
	enc *json.Encoder
	n   uint64
	err error
}

// NewRecorder records to w; its writes are one line each.
func NewRecorder(w io.Writer) *Recorder { return &Recorder{enc: json.NewEncoder(w)} }

// Err is the first error of the writer.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Mark writes a remark.
func (r *Recorder) Mark(text string) {
	r.write(Record{Kind: kindMark, Start: time.Now(), Text: text})
}

func (r *Recorder) write(rec Record) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.enc.Encode(rec); err != nil && r.err == nil {
		r.err = err
	}
}

// changes says whether a call changes something: such calls are recorded when they come, too.
func changes(op string) bool {
	switch op {
	case "RunPodSandbox", "StopPodSandbox", "RemovePodSandbox", "CreateContainer", "StartContainer", "StopContainer", "RemoveContainer",
		"UpdateContainerResources", "PullImage", "RemoveImage":
		return true
	}
	return false
}

type ticket struct {
	n     uint64
	start time.Time
}

func (r *Recorder) begin(c Call) ticket {
	t := ticket{start: time.Now()}
	if r == nil {
		return t
	}
	r.mu.Lock()
	r.n++
	t.n = r.n
	r.mu.Unlock()
	if changes(c.Op) {
		r.write(Record{Kind: kindBegin, N: t.n, Call: c, Start: t.start})
	}
	return t
}

func (r *Recorder) end(t ticket, c Call, fault string, err error) {
	if r == nil {
		return
	}
	rec := Record{Kind: kindEnd, N: t.n, Call: c, Start: t.start, End: time.Now(), Class: cri.ClassOf(err).String(), Fault: fault}
	if err != nil {
		rec.Error = err.Error()
	}
	r.write(rec)
}

func (r *Recorder) saw(by string, c Call, isSandbox bool, state string, exit int32) {
	c.Op = by
	r.write(Record{Kind: kindSaw, Call: c, Start: time.Now(), IsSandbox: isSandbox, State: state, Exit: exit})
}
