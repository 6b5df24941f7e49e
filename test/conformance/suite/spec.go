// Package suite runs the specs of the end-to-end suite on a node and keeps their results.
package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// Suite is a choice of specs that has a target of its own.
type Suite struct {
	Name  string
	Focus []*regexp.Regexp // one of them has to match the spec's name
	Skip  *regexp.Regexp   // none of it may; nil skips nothing
	Group int              // specs of one call of the suite; 0: all in one

	within *regexp.Regexp // this has to match as well; nil asks for nothing
}

// The suites. Flaky specs are upstream's own word for those that prove nothing.
var (
	Conformance = Suite{Name: "conformance", Focus: focus(`\[NodeConformance\]`), Skip: regexp.MustCompile(`\[Serial\]|\[Slow\]|\[Flaky\]`)}
	Serial      = Suite{Name: "serial", Focus: focus(`\[NodeConformance\].*\[(Serial|Slow)\]`, `\[(Serial|Slow)\].*\[NodeConformance\]`), Skip: regexp.MustCompile(`\[Flaky\]`)}
)

func focus(patterns ...string) []*regexp.Regexp {
	var all []*regexp.Regexp
	for _, p := range patterns {
		all = append(all, regexp.MustCompile(p))
	}
	return all
}

// Custom is a suite of a caller's own focus and skip; skip may be empty.
func Custom(focusOn, skip string) (Suite, error) {
	s := Suite{Name: "focus"}
	re, err := regexp.Compile(focusOn)
	if err != nil {
		return s, fmt.Errorf("focus: %w", err)
	}
	s.Focus = []*regexp.Regexp{re}
	if skip != "" {
		if s.Skip, err = regexp.Compile(skip); err != nil {
			return s, fmt.Errorf("skip: %w", err)
		}
	}
	return s, nil
}

// FromFile is a suite of one pattern a line, within the conformance suite. A line with ! in front leaves specs out
// again; empty lines and those with # say nothing.
func FromFile(name, file string) (Suite, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return Suite{}, err
	}
	s := Suite{Name: name}
	skip := []string{Conformance.Skip.String()}
	for _, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, out := strings.CutPrefix(line, "!")
		re, err := regexp.Compile(pattern)
		switch {
		case err != nil:
			return s, fmt.Errorf("%s: %w", file, err)
		case out:
			skip = append(skip, pattern)
		default:
			s.Focus = append(s.Focus, re)
		}
	}
	s.Skip, err = regexp.Compile(strings.Join(skip, "|"))
	s.within = Conformance.Focus[0]
	return s, err
}

// Select gives the specs of the suite, sorted.
func (s Suite) Select(all []string) []string {
	var out []string
	for _, n := range all {
		if s.Skip != nil && s.Skip.MatchString(n) || s.within != nil && !s.within.MatchString(n) {
			continue
		}
		for _, f := range s.Focus {
			if f.MatchString(n) {
				out = append(out, n)
				break
			}
		}
	}
	sort.Strings(out)
	return out
}

// Serially tells whether a spec must have the node for itself.
func Serially(spec string) bool {
	return strings.Contains(spec, "[Serial]") || strings.Contains(spec, "[Disruptive]")
}

// List gives the names of all specs of the suite's program, from cache/specs.txt once they have been listed.
func List(ctx context.Context, cache string) ([]string, error) {
	file := filepath.Join(cache, "specs.txt")
	if b, err := os.ReadFile(file); err == nil {
		return strings.Split(strings.TrimSpace(string(b)), "\n"), nil
	}
	dir, err := os.MkdirTemp("", "troupe-specs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	report := filepath.Join(dir, "report.json")
	c := exec.CommandContext(ctx, filepath.Join(cache, "bin/e2e.test"), "--ginkgo.dry-run", "--ginkgo.no-color", "--ginkgo.json-report="+report, "--provider=skeleton")
	c.Dir, c.Env = dir, []string{"HOME=" + dir, "PATH=/usr/bin:/bin"}
	if b, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("list the specs: %w: %s", err, b[max(0, len(b)-500):])
	}
	specs, err := readReport(report)
	if err != nil {
		return nil, fmt.Errorf("list the specs: %w", err)
	}
	var names []string
	for _, s := range specs {
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the suite lists no specs")
	}
	sort.Strings(names)
	part := file + ".part"
	if err := os.WriteFile(part, []byte(strings.Join(names, "\n")+"\n"), 0o644); err != nil {
		return nil, err
	}
	return names, os.Rename(part, file)
}

// Result is how one spec ended.
type Result struct {
	Name    string  `json:"name"`
	State   string  `json:"state"` // passed, failed, skipped (by itself), or another of ginkgo's words for a failure
	Seconds float64 `json:"seconds,omitempty"`
	Message string  `json:"message,omitempty"` // of a failure or a skip, its first line
	Output  string  `json:"-"`                 // of a failure, all of it
	At      string  `json:"-"`                 // file:line of a failure
}

// Failed tells whether the spec ran and did not pass.
func (r Result) Failed() bool { return r.State != "passed" && r.State != "skipped" }

// readReport reads ginkgo's JSON report: the specs, but those that the focus left out.
func readReport(file string) ([]Result, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var reports []struct {
		SpecReports []struct {
			ContainerHierarchyTexts    []string
			LeafNodeText, LeafNodeType string
			State                      string
			RunTime                    int64
			CapturedGinkgoWriterOutput string
			Failure                    struct {
				Message  string
				Location struct {
					FileName   string
					LineNumber int
				}
			}
		}
	}
	if err := json.Unmarshal(b, &reports); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(file), err)
	}
	var out []Result
	for _, rep := range reports {
		for _, s := range rep.SpecReports {
			if s.LeafNodeType != "It" || s.State == "pending" || s.State == "skipped" && s.Failure.Message == "" {
				continue
			}
			var texts []string
			for _, t := range append(s.ContainerHierarchyTexts, s.LeafNodeText) {
				if t != "" {
					texts = append(texts, t)
				}
			}
			r := Result{Name: strings.Join(texts, " "), State: s.State, Seconds: float64(s.RunTime/1e6) / 1e3}
			if s.Failure.Message != "" {
				r.Message = firstLine(s.Failure.Message)
				r.At = fmt.Sprintf("%s:%d", s.Failure.Location.FileName, s.Failure.Location.LineNumber)
				r.Output = s.CapturedGinkgoWriterOutput + "\n" + s.Failure.Message
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// firstLine is the line of a failure that says most in a table.
func firstLine(s string) string {
	for _, l := range strings.Split(s, "\n") {
		if l = strings.TrimSpace(l); l != "" {
			if r := []rune(l); len(r) > 240 {
				l = string(r[:240]) + "…"
			}
			return l
		}
	}
	return ""
}
