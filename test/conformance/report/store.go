// Package report keeps the latest result of every spec for each agent, and writes them as a page.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/troupe-dev/troupe/test/conformance/suite"
)

// Agents are those that results are kept of, in the page's order.
var Agents = []string{"troupe", "kubelet"}

// Run is what is kept of the latest run of a suite.
type Run struct {
	Suite   string  `json:"suite"`
	Build   string  `json:"build"`
	Date    string  `json:"date"` // YYYY-MM-DD
	Procs   int     `json:"procs"`
	Specs   int     `json:"specs"`
	Passed  int     `json:"passed"`
	Failed  int     `json:"failed"`
	Skipped int     `json:"skipped"`
	Seconds float64 `json:"seconds"` // while specs ran
	Crashes int     `json:"crashes"` // times that the agent ended by itself
	Machine string  `json:"machine"`
}

// Results are one agent's, as in results/AGENT.json.
type Results struct {
	Agent string         `json:"agent"`
	Runs  []Run          `json:"runs"`
	Specs []suite.Result `json:"specs"` // sorted by name, one each
}

// Specs is results/specs.json: what the suites consist of, so that the page names what was not run, too.
type Specs struct {
	Kubernetes string            `json:"kubernetes"`
	Versions   map[string]string `json:"versions"`
	Suites     []SuiteSpecs      `json:"suites"`
}

// SuiteSpecs is one suite's.
type SuiteSpecs struct {
	Name  string   `json:"name"`
	Specs []string `json:"specs"`
}

// Load reads an agent's results; there may be none yet.
func Load(dir, agent string) (Results, error) {
	r := Results{Agent: agent}
	err := read(filepath.Join(dir, agent+".json"), &r)
	return r, err
}

// LoadSpecs reads what the suites consist of.
func LoadSpecs(dir string) (Specs, error) {
	var s Specs
	return s, read(filepath.Join(dir, "specs.json"), &s)
}

// Save writes what the suites consist of.
func (s Specs) Save(dir string) error { return write(filepath.Join(dir, "specs.json"), s) }

// Save writes an agent's results.
func (r Results) Save(dir string) error { return write(filepath.Join(dir, r.Agent+".json"), r) }

// Merge takes the results of a run over the ones before. Specs that the run did not get to keep their older result.
func (r *Results) Merge(j *suite.Journal, date, machine string) Run {
	by := map[string]suite.Result{}
	for _, s := range r.Specs {
		by[s.Name] = s
	}
	run := Run{Suite: j.Begin.Suite, Build: j.Begin.Build, Date: date, Procs: j.Begin.Procs, Specs: j.Begin.Specs, Seconds: float64(int(j.Wall)), Crashes: j.Crashes, Machine: machine}
	for _, s := range j.Results {
		by[s.Name] = s
		switch {
		case s.Failed():
			run.Failed++
		case s.State == "skipped":
			run.Skipped++
		default:
			run.Passed++
		}
	}
	r.Specs = r.Specs[:0]
	for _, s := range by {
		r.Specs = append(r.Specs, s)
	}
	sort.Slice(r.Specs, func(i, k int) bool { return r.Specs[i].Name < r.Specs[k].Name })
	if run.Suite == "focus" {
		return run // a choice of one moment: its results count, its totals say nothing
	}
	runs := []Run{run}
	for _, o := range r.Runs {
		if o.Suite != run.Suite {
			runs = append(runs, o)
		}
	}
	sort.Slice(runs, func(i, k int) bool { return runs[i].Suite < runs[k].Suite })
	r.Runs = runs
	return run
}

func read(file string, into any) error {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}

func write(file string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	part := file + ".part"
	if err := os.WriteFile(part, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(part, file)
}
