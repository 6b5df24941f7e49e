package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupe-dev/troupe/test/conformance/suite"
)

// journal writes one as a run would.
func journal(t *testing.T, text string) *suite.Journal {
	t.Helper()
	file := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	j, err := suite.ReadJournal(file)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestALaterRunReplacesWhatItRan(t *testing.T) {
	dir := t.TempDir()
	r, err := Load(dir, "troupe")
	if err != nil {
		t.Fatal(err)
	}
	r.Merge(journal(t, `{"begin":{"suite":"conformance","specs":2,"procs":6}}
{"result":{"name":"a","state":"failed","message":"no"}}
{"result":{"name":"b","state":"passed","seconds":2}}
{"spent":7}`), "2026-01-01", "2 cores")
	if err := r.Save(dir); err != nil {
		t.Fatal(err)
	}
	if r, err = Load(dir, "troupe"); err != nil {
		t.Fatal(err)
	}
	r.Merge(journal(t, `{"begin":{"suite":"focus","specs":1}}
{"result":{"name":"a","state":"passed","seconds":1}}`), "2026-01-02", "2 cores")
	if len(r.Specs) != 2 || r.Specs[0].State != "passed" || r.Specs[1].State != "passed" {
		t.Errorf("specs: %+v", r.Specs)
	}
	if len(r.Runs) != 1 || r.Runs[0].Failed != 1 || r.Runs[0].Passed != 1 || r.Runs[0].Seconds != 7 {
		t.Errorf("runs: %+v", r.Runs)
	}
}

func TestPageTellsEveryVerdict(t *testing.T) {
	specs := Specs{Suites: []SuiteSpecs{{Name: "conformance", Specs: []string{"a | pipe", "b", "c", "d"}}}}
	troupe := Results{Agent: "troupe", Specs: []suite.Result{
		{Name: "a | pipe", State: "passed", Seconds: 2.4}, {Name: "b", State: "timedout", Message: "too late"}, {Name: "c", State: "skipped", Message: "no swap"}, {Name: "x", State: "passed", Seconds: 1}}}
	page := Page(specs, []Results{troupe, {Agent: "kubelet"}})
	for _, want := range []string{
		"| conformance | troupe | 4 | 1 | 1 | 1 | 1 |", "| conformance | kubelet | 4 | 0 | 0 | 0 | 4 |",
		`| a \| pipe | passed, 2 | not run |`, "| b | timedout | not run |", "| d | not run | not run |", "| x | passed, 1 | not run |",
		"- troupe: b: too late", "- troupe: c: no swap", "- kubelet: 4 specs of the suite conformance have not been run yet.",
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}
