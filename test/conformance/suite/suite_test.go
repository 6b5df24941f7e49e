package suite

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

var names = []string{
	"[sig-node] Pods should run [NodeConformance] [Conformance]",
	"[sig-node] Pods should run slowly [Slow] [NodeConformance]",
	"[sig-node] Pods should run alone [Serial] [NodeConformance]",
	"[sig-node] Pods should run by chance [Flaky] [Slow] [NodeConformance]",
	"[sig-network] Services should serve",
}

func TestSuitesPartTheNodeSpecs(t *testing.T) {
	if got, want := Conformance.Select(names), []string{names[0]}; !reflect.DeepEqual(got, want) {
		t.Errorf("conformance: got %q, want %q", got, want)
	}
	if got, want := Serial.Select(names), []string{names[2], names[1]}; !reflect.DeepEqual(got, want) {
		t.Errorf("serial: got %q, want %q", got, want)
	}
}

func TestAFileChoosesWithinConformance(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ci.txt")
	if err := os.WriteFile(file, []byte("# breadth\n\nPods\nServices\n!by luck\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := FromFile("ci", file)
	if err != nil {
		t.Fatal(err)
	}
	all := append([]string{"[sig-node] Pods should run by luck [NodeConformance]"}, names...)
	if got, want := s.Select(all), []string{names[0]}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTheChoiceForCI holds ci.txt against the names that the suite has now.
func TestTheChoiceForCI(t *testing.T) {
	var specs struct {
		Suites []struct{ Specs []string }
	}
	b, err := os.ReadFile("../results/specs.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &specs); err != nil {
		t.Fatal(err)
	}
	s, err := FromFile("ci", "../ci.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := specs.Suites[0].Specs
	if n := len(s.Select(all)); n < 100 || n >= len(all) {
		t.Errorf("%d of %d specs", n, len(all))
	}
	for _, f := range s.Focus {
		if len((Suite{Focus: []*regexp.Regexp{f}, Skip: s.Skip}).Select(all)) == 0 {
			t.Errorf("%s matches nothing", f)
		}
	}
}

func TestExactlyMatchesTheSpecsAlone(t *testing.T) {
	re := regexp.MustCompile(exactly(names[:1]))
	for i, n := range append(names, names[0]+" twice") {
		// ginkgo matches the suite's description and the name
		if got := re.MatchString("Kubernetes e2e suite " + n); got != (i == 0) {
			t.Errorf("%q: matched %t", n, got)
		}
	}
}

func TestFollowTakesResultsFromTheScreen(t *testing.T) {
	const rule = "------------------------------"
	want := map[string]Result{
		names[0]: {Name: names[0], State: "passed", Seconds: 2.136},
		names[1]: {Name: names[1], State: "failed", Seconds: 3.5},
		names[2]: {Name: names[2], State: "skipped", Seconds: 0.1},
	}
	for how, lines := range map[string][]string{
		// several at a time: a spec is printed when it has ended
		"together": {
			rule, "• [2.136 seconds]",
			"[sig-node] Pods should run [NodeConformance] [Conformance] [sig-node, NodeConformance, Conformance]",
			"/k8s/test/e2e/common/node/pods.go:1", "  STEP: • [9.0 seconds]",
			rule, "• [FAILED] [3.5 seconds]",
			"[sig-node] Pods [It] should run slowly [Slow] [NodeConformance] [sig-node]",
			rule, "S [SKIPPED] [0.1 seconds]",
			"[sig-node] Pods [BeforeEach] should run alone [Serial] [NodeConformance]",
			rule, "[SynchronizedAfterSuite] PASSED [0.000 seconds]", rule,
		},
		// one at a time: it is announced, and named again only when it did not pass
		"alone": {
			rule, "[sig-node] Pods should run [NodeConformance] [Conformance] [sig-node]", "/k8s/pods.go:1", "  STEP: x", "• [2.136 seconds]",
			rule, "[sig-node] Pods should run slowly [Slow] [NodeConformance] [sig-node]", "/k8s/pods.go:2", "  STEP: x", "• [FAILED] [3.5 seconds]",
			"[sig-node] Pods [It] should run slowly [Slow] [NodeConformance] [sig-node]",
			rule, "[sig-node] Pods should run alone [Serial] [NodeConformance]", "/k8s/pods.go:3", "S [SKIPPED] [0.1 seconds]",
			"[sig-node] Pods [BeforeEach] should run alone [Serial] [NodeConformance]",
			rule, "[SynchronizedAfterSuite] PASSED [0.000 seconds]", rule,
		},
	} {
		t.Run(how, func(t *testing.T) {
			r := &Runner{Say: func(string, ...any) {}, seen: map[string]bool{}, counted: time.Now()}
			var err error
			if r.Journal, _, err = OpenJournal(filepath.Join(t.TempDir(), "j"), Begin{Specs: 3}, false); err != nil {
				t.Fatal(err)
			}
			printed := strings.Join(lines, "\n")
			var log bytes.Buffer
			r.follow(strings.NewReader(printed), &log, names)
			if !reflect.DeepEqual(r.Journal.Results, want) {
				t.Errorf("got %v, want %v", r.Journal.Results, want)
			}
			if log.String() != printed {
				t.Errorf("the log is not what was printed: %q", log.String())
			}
		})
	}
}

func TestJournalGoesOnWhereItEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.jsonl")
	b := Begin{Suite: "serial", Agent: "troupe", Digest: "a", Specs: 2}
	j, continued, err := OpenJournal(path, b, false)
	if err != nil || continued {
		t.Fatalf("a new journal: continued %t, %v", continued, err)
	}
	for _, l := range []line{
		{Result: &Result{Name: names[0], State: "failed"}}, {Spent: 2}, {Crash: "exit status 1"},
		{Result: &Result{Name: names[0], State: "passed", Seconds: 1}}, {Spent: 3},
	} {
		if err := j.add(l); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	// killed while it wrote
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"result":{"name":"[sig-n`); err != nil {
		t.Fatal(err)
	}
	f.Close()

	j, continued, err = OpenJournal(path, b, false)
	if err != nil || !continued {
		t.Fatalf("the same run: continued %t, %v", continued, err)
	}
	if len(j.Results) != 1 || j.Results[names[0]].State != "passed" || j.Wall != 5 || j.Crashes != 1 || j.Complete() {
		t.Errorf("read back: %+v", j.state)
	}
	if err := j.add(line{Result: &Result{Name: names[1], State: "passed"}}); err != nil {
		t.Fatal(err)
	}
	j.Close()
	if j, err = ReadJournal(path); err != nil || !j.Complete() {
		t.Errorf("after the last spec: complete %t, %v", j.Complete(), err)
	}
	for what, open := range map[string]func() (*Journal, bool, error){
		"complete": func() (*Journal, bool, error) { return OpenJournal(path, b, false) },
		"another program": func() (*Journal, bool, error) {
			b.Digest = "b"
			return OpenJournal(path, b, false)
		},
		"fresh": func() (*Journal, bool, error) { return OpenJournal(path, b, true) },
	} {
		if j, continued, err := open(); err != nil || continued || len(j.Results) != 0 {
			t.Errorf("%s: continued %t with %v, %v", what, continued, j.Results, err)
		}
	}
}

func TestReportLeavesOutWhatTheFocusDoes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	text := `[{"SpecReports":[
{"LeafNodeType":"It","ContainerHierarchyTexts":["[sig-node] Pods",""],"LeafNodeText":"should run","State":"passed","RunTime":1500000000},
{"LeafNodeType":"It","ContainerHierarchyTexts":["[sig-node] Pods"],"LeafNodeText":"should fail","State":"timedout","Failure":{"Message":"\n timed out\nafter a while","Location":{"FileName":"pods.go","LineNumber":7}}},
{"LeafNodeType":"It","ContainerHierarchyTexts":["[sig-node] Pods"],"LeafNodeText":"should skip","State":"skipped","Failure":{"Message":"no swap here"}},
{"LeafNodeType":"It","ContainerHierarchyTexts":["[sig-node] Pods"],"LeafNodeText":"out of focus","State":"skipped"},
{"LeafNodeType":"ReportAfterSuite","LeafNodeText":"x","State":"passed"}]}]`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	var short []string
	for _, r := range got {
		short = append(short, r.Name+": "+r.State+" "+r.Message)
	}
	want := []string{"[sig-node] Pods should run: passed ", "[sig-node] Pods should fail: timedout timed out", "[sig-node] Pods should skip: skipped no swap here"}
	if !reflect.DeepEqual(short, want) {
		t.Errorf("got %q, want %q", short, want)
	}
	if got[0].Seconds != 1.5 || got[1].At != "pods.go:7" || !got[1].Failed() || got[2].Failed() {
		t.Errorf("got %+v", got)
	}
}

func TestFailedAreTheNewestResults(t *testing.T) {
	j, _, err := OpenJournal(filepath.Join(t.TempDir(), "j"), Begin{Specs: 3}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Result{{Name: "a", State: "failed"}, {Name: "b", State: "passed"}, {Name: "c", State: "timedout"}, {Name: "d", State: "failed"}, {Name: "c", State: "passed"}} {
		if err := j.add(line{Result: &r}); err != nil {
			t.Fatal(err)
		}
	}
	if got := j.failed([]string{"d", "c", "b", "a", "e"}); !reflect.DeepEqual(got, []string{"d", "a"}) {
		t.Errorf("%q", got)
	}
}
