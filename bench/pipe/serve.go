package pipe

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Source is where the agent takes pods from.
type Source interface {
	Add(pod *v1.Pod) (*v1.Pod, error)
	Delete(uid types.UID, grace *int64) bool
}

// Server is the agent's end.
type Server struct {
	mu      sync.Mutex
	some    sync.Cond
	queue   []answer
	closed  bool
	written chan struct{}
}

// NewServer writes answers to w until Close.
func NewServer(w io.Writer) *Server {
	s := &Server{written: newSignal()}
	s.some.L = &s.mu
	go s.write(w)
	return s
}

// Changed is told about every change of a pod; it never blocks.
func (s *Server) Changed(pod *v1.Pod, gone bool) {
	a := answer{Name: pod.Name, UID: string(pod.UID), Gone: gone}
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == v1.PodReady {
			a.Ready = c.Status == v1.ConditionTrue
		}
	}
	s.tell(a)
}

func (s *Server) tell(a answer) {
	s.mu.Lock()
	s.queue = append(s.queue, a)
	s.mu.Unlock()
	s.some.Signal()
}

// write takes everything that has come meanwhile at once.
func (s *Server) write(w io.Writer) {
	defer close(s.written)
	buf := bufio.NewWriter(w)
	enc := json.NewEncoder(buf)
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closed {
			s.some.Wait()
		}
		batch := s.queue
		s.queue = nil
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, a := range batch {
			if enc.Encode(a) != nil {
				return
			}
		}
		if buf.Flush() != nil {
			return
		}
	}
}

// Close writes what is left.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.some.Signal()
	<-s.written
}

// Serve says that the agent works and performs requests until the reader ends, which is no error.
func (s *Server) Serve(r io.Reader, source Source) error {
	s.tell(answer{Up: true})
	uids := map[string]types.UID{}
	d := json.NewDecoder(bufio.NewReader(r))
	for {
		var q request
		if err := d.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		if q.Add != nil {
			pod, err := source.Add(q.Add)
			if err != nil {
				s.tell(answer{Error: err.Error()})
				return err
			}
			uids[pod.Name] = pod.UID
			continue
		}
		if !source.Delete(uids[q.Delete], &q.Grace) {
			s.tell(answer{Error: fmt.Sprintf("pod %s is not known", q.Delete)})
		}
		delete(uids, q.Delete)
	}
}
