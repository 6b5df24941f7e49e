package suite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Runner runs specs inside the node's namespaces.
type Runner struct {
	Bin        string   // folder of ginkgo, e2e.test and kubectl
	Kubeconfig string   // of the administrator
	Env        []string // of the suite's processes
	Logs       string   // folder for the suite's output and the text of failures
	Procs      int      // specs at a time, those that may run beside others
	Group      int      // specs of one call; 0: all
	Again      bool     // what failed is run once more, alone, and that counts
	Journal    *Journal
	Say        func(string, ...any)

	mu      sync.Mutex
	started time.Time
	counted time.Time       // up to here the journal has the time that specs took
	seen    map[string]bool // specs with a line on the screen
}

// Run runs the specs that have no result in the journal yet.
func (r *Runner) Run(ctx context.Context, specs []string) error {
	r.started, r.seen = time.Now(), map[string]bool{}
	var together, alone []string
	for _, s := range specs {
		switch _, done := r.Journal.Results[s]; {
		case done:
			r.seen[s] = true
		case Serially(s):
			alone = append(alone, s)
		default:
			together = append(together, s)
		}
	}
	for _, part := range []struct {
		specs []string
		procs int
	}{{together, r.Procs}, {alone, 1}} {
		for len(part.specs) > 0 {
			n := len(part.specs)
			if r.Group > 0 {
				n = min(n, r.Group)
			}
			if err := r.group(ctx, part.specs[:n], min(part.procs, n)); err != nil {
				return err
			}
			part.specs = part.specs[n:]
		}
	}
	if failed := r.Journal.failed(specs); r.Again && len(failed) > 0 {
		r.Say("once more, one at a time: %d that failed", len(failed))
		for _, s := range failed {
			delete(r.seen, s)
		}
		return r.group(ctx, failed, 1)
	}
	return nil
}

// Crashed records that the agent ended by itself.
func (r *Runner) Crashed(how string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Say("the agent ended by itself (%s) and was started again", how)
	if err := r.Journal.add(line{Crash: how}); err != nil {
		r.Say("%v", err)
	}
}

// follow reads what the suite prints and takes each spec's result as it ends: the screen and the journal know at once.
// The report at the end of a group adds the reasons, and is right where this is not.
func (r *Runner) follow(out io.Reader, log io.Writer, specs []string) {
	in := bufio.NewReader(out)
	var head *Result
	current, before := "", "" // the spec that runs alone, announced as it begins; the line before
	for {
		text, err := in.ReadString('\n')
		_, _ = io.WriteString(log, text)
		text = strings.TrimSuffix(text, "\n")
		switch {
		case head != nil:
			if name := named(text, specs); name != "" {
				current = name
			}
			if head.Name = current; current != "" {
				r.ended(*head)
			}
			head, current = nil, ""
		case strings.HasPrefix(before, "-----"):
			if name := named(text, specs); name != "" {
				current = name
			}
			head = header(text)
		default:
			head = header(text)
		}
		before = text
		if err != nil {
			return
		}
	}
}

var (
	headerLine = regexp.MustCompile(`^(•|S)(?: \[([A-Z]+!?)\])? \[([0-9.]+) seconds\]$`)
	nodeMark   = regexp.MustCompile(` ?\[(It|BeforeEach|JustBeforeEach|AfterEach|JustAfterEach|DeferCleanup[^]]*)\]`)
)

// header reads the line that ginkgo prints above the name of a spec that has ended; nil for any other.
func header(text string) *Result {
	m := headerLine.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	seconds, err := strconv.ParseFloat(m[3], 64)
	if err != nil {
		return nil
	}
	state := map[string]string{"": "passed", "SKIPPED": "skipped"}[m[2]]
	if state == "" {
		state = "failed"
	}
	return &Result{State: state, Seconds: seconds}
}

// named finds the spec that a line names: ginkgo marks where it failed, and adds the spec's labels behind it.
func named(text string, specs []string) string {
	text = strings.TrimSpace(nodeMark.ReplaceAllString(" "+text, ""))
	found := ""
	for _, s := range specs {
		if len(s) > len(found) && strings.HasPrefix(text, s) {
			found = s
		}
	}
	return found
}

// ended records a result, and shows it unless it was shown before.
func (r *Runner) ended(n Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := errors.Join(r.Journal.add(line{Result: &n}), r.count()); err != nil {
		r.Say("%v", err)
	}
	if r.seen[n.Name] {
		return
	}
	r.seen[n.Name] = true
	word := "ok    "
	switch {
	case n.Failed():
		word = "FAILED"
	case n.State == "skipped":
		word = "skip  "
	}
	r.Say("%s [%*d/%d] %s %s", clock(time.Since(r.started)), len(fmt.Sprint(r.Journal.Begin.Specs)), len(r.Journal.Results), r.Journal.Begin.Specs, word, n.Name)
}

// count adds the time since it was counted last, so that a run that is cut off has counted nearly all. The caller holds the lock.
func (r *Runner) count() error {
	now := time.Now()
	spent := now.Sub(r.counted).Seconds()
	r.counted = now
	return r.Journal.add(line{Spent: spent})
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%3d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// group runs some specs in one call of the suite.
func (r *Runner) group(ctx context.Context, specs []string, procs int) error {
	dir, err := os.MkdirTemp("", "troupe-e2e-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out, err := os.OpenFile(filepath.Join(r.Logs, "suite.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	c := exec.Command(filepath.Join(r.Bin, "ginkgo"), fmt.Sprintf("--procs=%d", procs), "--focus="+exactly(specs), "-v", "--no-color", "--silence-skips", "--keep-going",
		"--timeout=24h", "--json-report=report.json", "--output-dir="+dir, filepath.Join(r.Bin, "e2e.test"), "--",
		"--kubeconfig="+r.Kubeconfig, "--kubectl-path="+filepath.Join(r.Bin, "kubectl"), "--provider=skeleton", "--num-nodes=1", "--dump-logs-on-failure=false")
	c.Dir, c.Env, c.Stderr = dir, r.Env, out
	printed, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.counted = time.Now()
	r.mu.Unlock()
	if err := c.Start(); err != nil {
		return fmt.Errorf("start the suite: %w", err)
	}
	done := make(chan error, 1)
	go func() {
		r.follow(printed, out, specs)
		done <- c.Wait()
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		_ = c.Process.Kill() // its specs run again when the run is continued; the namespaces' end takes the suite's processes along
		return ctx.Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("run the suite: %w", err)
	}
	results, rerr := readReport(filepath.Join(dir, "report.json"))
	if errors.Is(rerr, fs.ErrNotExist) {
		return fmt.Errorf("the suite ended without a report (%v); see suite.log", err)
	}
	if rerr != nil {
		return rerr
	}
	if err := r.keepFailures(results); err != nil {
		return err
	}
	for _, n := range results {
		r.ended(n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.count(); err != nil {
		return err
	}
	for _, s := range specs { // the suite ended, yet says nothing of it: do not ask for ever
		if _, ok := r.Journal.Results[s]; !ok {
			if err := r.Journal.add(line{Result: &Result{Name: s, State: "failed", Message: "the suite did not run it"}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepFailures writes each failure in full to a file, and its reason to the screen.
func (r *Runner) keepFailures(results []Result) error {
	for _, n := range results {
		if !n.Failed() {
			continue
		}
		dir := filepath.Join(r.Logs, "failures")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		file := filepath.Join(dir, slug(n.Name)+".txt")
		if err := os.WriteFile(file, []byte(n.Name+"\n"+n.At+"\n\n"+n.Output+"\n"), 0o644); err != nil {
			return err
		}
		r.Say("failed: %s\n        %s", n.Name, n.Message)
	}
	return nil
}

// slug is a spec's name as a file name.
func slug(s string) string {
	s = strings.Trim(regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(s, "-"), "-")
	return s[:min(len(s), 180)]
}

// exactly is a focus that matches these specs alone.
func exactly(specs []string) string {
	quoted := make([]string, len(specs))
	for i, s := range specs {
		quoted[i] = regexp.QuoteMeta(s)
	}
	return " (?:" + strings.Join(quoted, "|") + ")$"
}
