// Package pipe gives pods to an agent that has no API server and runs in another process: requests as JSON lines on its
// standard input, what becomes of the pods as JSON lines on its standard output. It costs the agent less than a watch.
package pipe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/bench/load"
)

// request is one line to the agent: add a pod, or delete one.
type request struct {
	Add    *v1.Pod `json:"add,omitempty"`
	Delete string  `json:"delete,omitempty"`
	// Grace is in seconds, for Delete.
	Grace int64 `json:"grace,omitempty"`
}

// answer is one line from the agent: that it works, that a pod's object changed or went, or what went wrong.
type answer struct {
	Up    bool   `json:"up,omitempty"`
	Name  string `json:"name,omitempty"`
	UID   string `json:"uid,omitempty"`
	Ready bool   `json:"ready,omitempty"`
	Gone  bool   `json:"gone,omitempty"`
	Error string `json:"error,omitempty"`
}

// Client is the bench's end. It is a load.Target.
type Client struct {
	make    func(name string) *v1.Pod
	grace   int64
	mu      sync.Mutex
	out     *json.Encoder
	up      chan struct{}
	ended   chan struct{}
	err     error // set before ended is closed
	tracker *load.Tracker
}

// NewClient speaks to an agent. make makes the pod of a name; grace (seconds) is what deletes ask for. Reading ends with the
// reader.
func NewClient(r io.Reader, w io.Writer, tracker *load.Tracker, make func(name string) *v1.Pod, grace int64) *Client {
	c := &Client{make: make, grace: grace, out: json.NewEncoder(w), up: newSignal(), ended: newSignal(), tracker: tracker}
	go c.read(r)
	return c
}

func newSignal() chan struct{} { return make(chan struct{}) }

func (c *Client) read(r io.Reader) {
	defer close(c.ended)
	d := json.NewDecoder(bufio.NewReader(r))
	for {
		var a answer
		if err := d.Decode(&a); err != nil {
			if !errors.Is(err, io.EOF) {
				c.err = err
			}
			return
		}
		now := time.Now()
		switch {
		case a.Error != "":
			c.err = errors.New(a.Error)
			return
		case a.Up:
			close(c.up)
		case a.Gone:
			c.tracker.Gone(a.Name, now)
		default:
			c.tracker.Seen(a.Name, a.UID, a.Ready, now)
		}
	}
}

// Up waits until the agent works.
func (c *Client) Up(ctx context.Context) error {
	select {
	case <-c.up:
		return nil
	case <-c.ended:
		return fmt.Errorf("the agent ended while it started: %w", c.Err())
	case <-ctx.Done():
		return fmt.Errorf("wait for the agent: %w", context.Cause(ctx))
	}
}

// Err says why the agent speaks no more; nil while it does.
func (c *Client) Err() error {
	select {
	case <-c.ended:
		if c.err == nil {
			return io.EOF
		}
		return c.err
	default:
		return nil
	}
}

// Create implements load.Target.
func (c *Client) Create(_ context.Context, name string) error {
	return c.send(request{Add: c.make(name)})
}

// Delete implements load.Target.
func (c *Client) Delete(_ context.Context, name string) error {
	return c.send(request{Delete: name, Grace: c.grace})
}

func (c *Client) send(r request) error {
	if err := c.Err(); err != nil {
		return fmt.Errorf("the agent: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.out.Encode(r); err != nil {
		return fmt.Errorf("speak to the agent: %w", err)
	}
	return nil
}
