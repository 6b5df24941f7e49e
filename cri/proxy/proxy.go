// Package proxy stands between an agent and its runtime: it injects faults into chosen calls and records every call,
// so that what the agent did can be checked against its invariants from a log that the agent did not write. It can count
// the calls and their time as well (Count), which is all that the bench wants of it.
//
// Wrap puts it around a cri.Runtime inside a process; Serve puts it between two sockets, for any agent. Faults, records
// and the checker (Check) are the same.
package proxy

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/cri/callstats"
	"github.com/troupe-dev/troupe/messages/model"
)

// Call is one CRI call and what it is about, as far as the proxy knows: an id that it never saw made or listed has no
// pod.
type Call struct {
	Op        string `json:"op"`
	ID        string `json:"id,omitempty"` // container, or sandbox where the call is about one
	Sandbox   string `json:"sandbox,omitempty"`
	UID       string `json:"uid,omitempty"`
	Namespace string `json:"ns,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	Attempt   uint32 `json:"attempt,omitempty"`
}

// Proxy holds the faults, the names of the ids it saw, and the record. It is safe for concurrent use.
type Proxy struct {
	rec   *Recorder
	stats *callstats.Stats
	names directory

	mu    sync.RWMutex
	rules []*Rule
}

// New makes a proxy that records to rec; nil records nothing.
func New(rec *Recorder) *Proxy {
	p := &Proxy{rec: rec}
	p.names.init()
	return p
}

// Count makes the proxy count the calls that it forwards, from now on. It may be called once, before the first call.
func (p *Proxy) Count(s *callstats.Stats) { p.stats = s }

// do performs one call: begin, fault, forward, end. forward gets the context to work under.
func (p *Proxy) do(ctx context.Context, c Call, forward func(context.Context) error) error {
	c = p.names.complete(c)
	n := p.rec.begin(c)
	counted := func(error) {}
	if p.stats != nil {
		counted = p.stats.Begin(c.Op, c.UID)
	}
	fault, rule := p.decide(c)
	err := p.under(ctx, fault, rule, forward)
	counted(err)
	p.rec.end(n, c, faultName(fault), err)
	if c.Op == "StartContainer" && cri.ClassOf(err) == model.OutcomeUnknown {
		p.names.doubt(c.ID) // whatever is seen next is news
	}
	if err == nil && (c.Op == "RemoveContainer" || c.Op == "RemovePodSandbox") {
		p.names.forget(c.ID)
	}
	return err
}

func (p *Proxy) under(ctx context.Context, fault Fault, rule *Rule, forward func(context.Context) error) error {
	switch f := fault.(type) {
	case nil:
		return forward(ctx)
	case Error:
		return status.Error(f.Code, f.Message)
	case Delay:
		t := time.NewTimer(time.Duration(f))
		defer t.Stop()
		select {
		case <-t.C:
			return forward(ctx)
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	case Kind:
		switch f {
		case Hang:
			if err := rule.hold(ctx); err != nil {
				return err
			}
			return forward(ctx)
		case LostReply:
			if err := forward(ctx); err != nil {
				return err
			}
			return status.Error(codes.Unavailable, "injected: the connection broke before the answer")
		case LateReply:
			if err := forward(ctx); err != nil {
				return err
			}
			return rule.hold(ctx)
		}
	}
	return forward(ctx)
}

// directory knows which pod an id belongs to, and the last state that anybody was shown of it.
type directory struct {
	mu    sync.Mutex
	byID  map[string]*entry
	byUID map[string]map[string]*entry
}

type entry struct {
	call    Call // without Op
	sandbox bool
	state   string
	since   time.Time // when the proxy learnt of it
}

func (d *directory) init() {
	d.byID, d.byUID = map[string]*entry{}, map[string]map[string]*entry{}
}

// complete adds what is known about the call's id.
func (d *directory) complete(c Call) Call {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.byID[c.ID]
	if e == nil && c.ID == "" {
		e = d.byID[c.Sandbox]
	}
	if e == nil {
		return c
	}
	k := e.call
	k.Op = c.Op
	if c.ID == "" {
		k.ID = ""
	}
	if c.Container != "" {
		k.Container, k.Attempt = c.Container, c.Attempt
	}
	return k
}

// learn notes an object and its state ("" when unknown); it says whether the state is news.
func (d *directory) learn(c Call, isSandbox bool, state string) (Call, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.byID[c.ID]
	if e == nil {
		e = &entry{call: c, sandbox: isSandbox, since: time.Now()}
		d.byID[c.ID] = e
		if d.byUID[c.UID] == nil {
			d.byUID[c.UID] = map[string]*entry{}
		}
		d.byUID[c.UID][c.ID] = e
	}
	if c.Sandbox != "" {
		e.call.Sandbox = c.Sandbox
	}
	news := state != "" && state != e.state
	if news {
		e.state = state
	}
	return e.call, news
}

// absent returns what a list that began at a moment should have shown and did not; it is forgotten.
func (d *directory) absent(uid, sandbox string, sandboxes bool, listed map[string]bool, began time.Time) []Call {
	d.mu.Lock()
	defer d.mu.Unlock()
	var gone []Call
	scan := func(m map[string]*entry) {
		for id, e := range m {
			if e.sandbox == sandboxes && !listed[id] && e.since.Before(began) && (sandbox == "" || e.call.Sandbox == sandbox) {
				gone = append(gone, e.call)
				d.drop(id, e)
			}
		}
	}
	if uid != "" {
		scan(d.byUID[uid])
	} else {
		scan(d.byID)
	}
	return gone
}

// doubt forgets the last state that anybody was shown of an object.
func (d *directory) doubt(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.byID[id]; e != nil {
		e.state = ""
	}
}

func (d *directory) forget(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.byID[id]; e != nil {
		d.drop(id, e)
	}
}

// drop removes an entry; the caller holds the lock.
func (d *directory) drop(id string, e *entry) {
	delete(d.byID, id)
	delete(d.byUID[e.call.UID], id)
	if len(d.byUID[e.call.UID]) == 0 {
		delete(d.byUID, e.call.UID)
	}
}

// saw notes what an answer showed of an object, and records it when it is news.
func (p *Proxy) saw(by string, c Call, isSandbox bool, state string, exit int32) {
	if k, news := p.names.learn(c, isSandbox, state); news {
		p.rec.saw(by, k, isSandbox, state, exit)
	}
}

func (p *Proxy) sawContainer(by string, c model.Container) {
	p.saw(by, Call{
		ID: string(c.ID), Sandbox: string(c.Sandbox), UID: string(c.UID), Namespace: c.Namespace, Pod: c.PodName,
		Container: c.Name, Attempt: c.Attempt,
	}, false, containerStates[c.State], c.ExitCode)
}

func (p *Proxy) sawSandbox(by string, s model.Sandbox) {
	state := stateReady
	if s.State != model.SandboxReady {
		state = stateNotReady
	}
	p.saw(by, Call{
		ID: string(s.ID), Sandbox: string(s.ID), UID: string(s.UID), Namespace: s.Namespace, Pod: s.Name, Attempt: s.Attempt,
	}, true, state, 0)
}

func (p *Proxy) sawAbsent(by string, uid, sandbox string, sandboxes bool, listed map[string]bool, began time.Time) {
	for _, c := range p.names.absent(uid, sandbox, sandboxes, listed, began) {
		p.rec.saw(by, c, sandboxes, stateAbsent, 0)
	}
}

// notFound is what a status read says of an object that is gone.
func (p *Proxy) notFound(by, id string, sandbox bool, err error) {
	if cri.ClassOf(err) != model.OutcomeNotFound {
		return
	}
	if c := p.names.complete(Call{ID: id}); c.UID != "" {
		p.saw(by, c, sandbox, stateAbsent, 0)
		p.names.forget(id)
	}
}

// The states of a record.
const (
	stateReady    = "ready"
	stateNotReady = "notready"
	stateCreated  = "created"
	stateRunning  = "running"
	stateExited   = "exited"
	stateUnknown  = "unknown"
	stateAbsent   = "absent"
)

var containerStates = [...]string{
	model.ContainerCreated: stateCreated, model.ContainerRunning: stateRunning,
	model.ContainerExited: stateExited, model.ContainerUnknown: stateUnknown,
}
