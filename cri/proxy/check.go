package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Invariant names what a log violates.
type Invariant string

// The invariants. Live means: a start succeeded or may have, and nothing since then has shown or made its end: no status
// or list, no stop or removal that succeeded. So an agent that starts the next instance without having looked violates
// OneLive, whether the last one was really alive or not.
const (
	// OneLive: at most one live instance of a container.
	OneLive Invariant = "at most one live instance of a container"
	// OneSandbox: at most one live sandbox of a pod.
	OneSandbox Invariant = "at most one live sandbox of a pod"
	// NoStartAfterStop: nothing is created or started in a sandbox whose stop has begun.
	NoStartAfterStop Invariant = "nothing is created or started after the stop of the sandbox began"
	// OneCreate: creates of one container do not overlap.
	OneCreate Invariant = "at most one create of a container in flight"
	// AttemptGrows: a started instance is followed by one with a higher attempt.
	AttemptGrows Invariant = "the attempt of a container grows"
	// StartOnce: a container is started once.
	StartOnce Invariant = "a container instance is started once"
	// NoKill: a live container is not removed, and its sandbox not stopped, as both kill it without grace.
	NoKill Invariant = "a live container is not killed without grace"
)

// Violation is one breach, at one record of the log.
type Violation struct {
	Invariant Invariant
	Line      int
	Record    Record
	Detail    string
}

func (v Violation) String() string {
	return fmt.Sprintf("line %d: %s: %s %s/%s container %s attempt %d: %s", v.Line, v.Invariant, v.Record.Op, v.Record.Namespace, v.Record.Pod, v.Record.Container, v.Record.Attempt, v.Detail)
}

// Check reads a log and returns what it violates, in order. An unreadable line is an error; a last line that was cut
// off is not.
func Check(log io.Reader) ([]Violation, error) {
	k := checker{containers: map[string]*instance{}, sandboxes: map[string]*box{}, names: map[name]*history{}, calls: map[uint64]Record{}}
	in := bufio.NewReader(log)
	for line := 1; ; line++ {
		b, err := in.ReadBytes('\n')
		if err == io.EOF {
			return k.found, nil
		}
		if err != nil {
			return k.found, err
		}
		var r Record
		if err := json.Unmarshal(b, &r); err != nil {
			return k.found, fmt.Errorf("line %d: %w", line, err)
		}
		k.line, k.rec = line, r
		k.step(r)
	}
}

type name struct{ uid, container string }

// instance is one container id.
type instance struct {
	of      name
	sandbox string
	attempt uint32
	started bool // a start succeeded or may have
	live    bool
	ended   bool // what ended never lives again: an answer that says so is an old one
}

func (i *instance) end() { i.live, i.ended = false, true }

// box is one sandbox id.
type box struct {
	uid      string
	stopping bool
	live     bool
	ended    bool
}

// history is what is known of one container name of one pod.
type history struct {
	creating    int // creates in flight
	ids         map[string]*instance
	lastStarted int64 // highest attempt that was started; -1 for none
}

type checker struct {
	containers map[string]*instance
	sandboxes  map[string]*box
	names      map[name]*history
	calls      map[uint64]Record
	found      []Violation
	line       int
	rec        Record
}

func (k *checker) breach(i Invariant, format string, args ...any) {
	k.found = append(k.found, Violation{i, k.line, k.rec, fmt.Sprintf(format, args...)})
}

func (k *checker) history(n name) *history {
	h := k.names[n]
	if h == nil {
		h = &history{ids: map[string]*instance{}, lastStarted: -1}
		k.names[n] = h
	}
	return h
}

func (k *checker) instance(c Call) *instance {
	i := k.containers[c.ID]
	if i == nil {
		i = &instance{of: name{c.UID, c.Container}, sandbox: c.Sandbox, attempt: c.Attempt}
		k.containers[c.ID] = i
		k.history(i.of).ids[c.ID] = i
	}
	if c.Sandbox != "" {
		i.sandbox = c.Sandbox
	}
	return i
}

func (k *checker) box(c Call, id string) *box {
	b := k.sandboxes[id]
	if b == nil {
		b = &box{uid: c.UID}
		k.sandboxes[id] = b
	}
	return b
}

func (k *checker) step(r Record) {
	switch r.Kind {
	case kindBegin:
		k.begin(r)
	case kindEnd:
		k.end(r)
	case kindSaw:
		k.see(r)
	}
}

func (k *checker) begin(r Record) {
	if r.UID == "" {
		return // not a pod's
	}
	switch r.Op {
	case "RunPodSandbox":
		for id, b := range k.sandboxes {
			if b.uid == r.UID && b.live {
				k.breach(OneSandbox, "sandbox %s is live", id)
			}
		}
	case "CreateContainer":
		h := k.history(name{r.UID, r.Container})
		if h.creating > 0 {
			k.breach(OneCreate, "%d in flight", h.creating)
		}
		h.creating++
		if int64(r.Attempt) <= h.lastStarted {
			k.breach(AttemptGrows, "attempt %d was started before", h.lastStarted)
		}
		if k.box(r.Call, r.Sandbox).stopping {
			k.breach(NoStartAfterStop, "in sandbox %s", r.Sandbox)
		}
	case "StartContainer":
		i := k.instance(r.Call)
		for id, o := range k.history(i.of).ids {
			if o != i && o.live {
				k.breach(OneLive, "%s (attempt %d) is live", id, o.attempt)
			}
		}
		if b := k.sandboxes[i.sandbox]; b != nil && b.stopping {
			k.breach(NoStartAfterStop, "in sandbox %s", i.sandbox)
		}
	case "RemoveContainer":
		if i := k.containers[r.ID]; i != nil && i.live {
			k.breach(NoKill, "%s", r.ID)
		}
	case "StopPodSandbox":
		k.box(r.Call, r.ID).stopping = true
		for id, i := range k.containers {
			if i.sandbox == r.ID && i.live {
				k.breach(NoKill, "%s runs in it", id)
			}
		}
	}
}

// mayHave says whether a call did its work, or may have.
func mayHave(class string) bool { return class == "ok" || class == "unknown" }

func (k *checker) end(r Record) {
	if r.UID == "" {
		return
	}
	switch r.Op {
	case "CreateContainer":
		k.history(name{r.UID, r.Container}).creating--
	case "StartContainer":
		i := k.instance(r.Call)
		if r.Class == "ok" && i.started {
			k.breach(StartOnce, "%s", r.ID)
		}
		if mayHave(r.Class) {
			i.started, i.live = true, !i.ended
			h := k.history(i.of)
			h.lastStarted = max(h.lastStarted, int64(i.attempt))
		}
	case "StopContainer":
		if i := k.containers[r.ID]; i != nil && r.Class == "ok" && i.started {
			i.end() // of a container that was only created, a stop does nothing
		}
	case "RemoveContainer":
		if r.Class == "ok" {
			k.forget(r.ID)
		}
	case "StopPodSandbox":
		if r.Class == "ok" {
			b := k.box(r.Call, r.ID)
			b.live, b.ended = false, true
			for _, i := range k.containers {
				if i.sandbox == r.ID {
					i.end()
				}
			}
		}
	case "RemovePodSandbox":
		if r.Class == "ok" {
			k.forgetSandbox(r.UID, r.ID)
		}
	}
}

func (k *checker) see(r Record) {
	if r.IsSandbox {
		switch r.State {
		case stateAbsent:
			k.forgetSandbox(r.UID, r.ID)
		default:
			b := k.box(r.Call, r.ID)
			b.ended = b.ended || r.State != stateReady
			b.live = !b.ended
		}
		return
	}
	switch r.State {
	case stateAbsent:
		k.forget(r.ID)
	case stateCreated:
		k.unstarted(k.instance(r.Call))
	case stateExited:
		k.instance(r.Call).end()
	case stateRunning, stateUnknown:
		i := k.instance(r.Call)
		i.live, i.started = !i.ended, true
		h := k.history(i.of)
		h.lastStarted = max(h.lastStarted, int64(i.attempt))
	}
}

// unstarted takes back what was thought of a start whose outcome was unknown: the instance was seen not to have started.
func (k *checker) unstarted(i *instance) {
	if i.ended || !i.started {
		return
	}
	i.started, i.live = false, false
	h := k.history(i.of)
	h.lastStarted = -1
	for _, o := range h.ids {
		if o.started {
			h.lastStarted = max(h.lastStarted, int64(o.attempt))
		}
	}
}

func (k *checker) forget(id string) {
	if i := k.containers[id]; i != nil {
		delete(k.containers, id)
		delete(k.history(i.of).ids, id)
	}
}

// forgetSandbox drops a sandbox and its containers. When it was the pod's last one, the pod's past goes too: a static
// pod's UID comes back and counts from zero.
func (k *checker) forgetSandbox(uid, id string) {
	delete(k.sandboxes, id)
	for cid, i := range k.containers {
		if i.sandbox == id {
			k.forget(cid)
		}
	}
	for _, b := range k.sandboxes {
		if b.uid == uid {
			return
		}
	}
	for n, h := range k.names {
		if n.uid == uid && h.creating == 0 {
			delete(k.names, n)
		}
	}
}
