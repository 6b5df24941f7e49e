package suite

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Journal is the record of a run while it goes on: a line for each thing that happened, so that a run that was cut off
// goes on where it was. Later lines of a spec replace earlier ones.
type Journal struct {
	file *os.File
	state
}

// line is one of the journal: one field is set.
type line struct {
	Begin  *Begin  `json:"begin,omitempty"`
	Result *Result `json:"result,omitempty"`
	Spent  float64 `json:"spent,omitempty"`
	Crash  string  `json:"crash,omitempty"`
}

// Begin is what a run is of. A journal is continued only by a run of the same.
type Begin struct {
	Suite   string `json:"suite"`
	Agent   string `json:"agent"`
	Build   string `json:"build"` // what the agent calls its version
	Procs   int    `json:"procs"`
	Started string `json:"started"` // RFC 3339
	Specs   int    `json:"specs"`
	Digest  string `json:"digest"` // of the agent's program and the specs' names: what has to be the same to go on
}

type state struct {
	Begin   Begin
	Results map[string]Result
	Wall    float64 // seconds in which specs ran, over all parts of the run
	Crashes int     // times that the agent ended by itself
}

// Complete tells whether every spec has a result.
func (j *Journal) Complete() bool { return len(j.Results) >= j.Begin.Specs }

// failed are those of the specs that have failed, in their order.
func (j *Journal) failed(specs []string) []string {
	var out []string
	for _, s := range specs {
		if n, ok := j.Results[s]; ok && n.Failed() {
			out = append(out, s)
		}
	}
	return out
}

// OpenJournal continues the journal of a run that was cut off, when it is of the same specs and the same program, and
// begins a new one otherwise or when fresh is set. Reports whether it continues.
func OpenJournal(path string, b Begin, fresh bool) (*Journal, bool, error) {
	if !fresh {
		old, err := ReadJournal(path)
		if err != nil {
			return nil, false, err
		}
		if old != nil && !old.Complete() && old.Begin.Digest == b.Digest {
			if old.file, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
				return nil, false, err
			}
			_, err = old.file.WriteString("\n") // the last line may have been cut off
			return old, len(old.Results) > 0, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, false, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, false, err
	}
	j := &Journal{file: f, state: state{Begin: b, Results: map[string]Result{}}}
	return j, false, j.add(line{Begin: &b})
}

// ReadJournal reads a journal that another process wrote; nil when there is none. A last line that was cut off is left out.
func ReadJournal(path string) (*Journal, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	j := &Journal{state: state{Results: map[string]Result{}}}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var l line
		if json.Unmarshal(s.Bytes(), &l) != nil {
			continue
		}
		j.apply(l)
	}
	return j, s.Err()
}

func (s *state) apply(l line) {
	switch {
	case l.Begin != nil:
		s.Begin = *l.Begin
	case l.Result != nil:
		s.Results[l.Result.Name] = *l.Result
	case l.Crash != "":
		s.Crashes++
	default:
		s.Wall += l.Spent
	}
}

func (j *Journal) add(l line) error {
	j.apply(l)
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// Close ends writing.
func (j *Journal) Close() error { return j.file.Close() }
