package proc

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	user, system, err := parseStat([]byte("77 (a) b (c)) S 1 77 77 0 -1 4194560 5 6 7 8 250 31 3 4 20 0 9 0 11 12 13"))
	if err != nil || user != 2500*time.Millisecond || system != 310*time.Millisecond {
		t.Errorf("user %s, system %s, %v", user, system, err)
	}
	if _, _, err := parseStat([]byte("77 (x) S 1")); err == nil {
		t.Error("a cut line was accepted")
	}
	s := parseStatus([]byte("Name:\t12 x\nVmRSS:\t  2048 kB\nvoluntary_ctxt_switches:\t7\nState:\tS (sleeping)\n"))
	if s["VmRSS"] != 2048 || s["voluntary_ctxt_switches"] != 7 || s["State"] != 0 {
		t.Errorf("got %v", s)
	}
}

func TestOwnProcess(t *testing.T) {
	p := Open(os.Getpid())
	before, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	for began := cpu(t); cpu(t) < began+50*time.Millisecond; { // of CPU: a busy machine gives less than it takes
	}
	after, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	d := after.Sub(before)
	if d.CPU() < 2*tick || after.RSS == 0 || after.PeakRSS < after.RSS/2 || after.Threads < 1 || after.Switches() < before.Switches() {
		t.Errorf("50 ms of work: %+v", d)
	}
}

// cpu is what this process has used, from another source than /proc.
func cpu(t *testing.T) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A thread that ends takes its counters along; they stay in the sum.
func TestEndedThreads(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		f := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("stat", "1 (x) S 1 2 3 4 5 6 7 8 9 10 100 50 0 0")
	write("status", "Threads: 2\nVmRSS: 10 kB\n")
	write("task/1/status", "voluntary_ctxt_switches: 5\nnonvoluntary_ctxt_switches: 1\n")
	write("task/2/status", "voluntary_ctxt_switches: 7\nnonvoluntary_ctxt_switches: 2\n")
	p := Open(0)
	p.dir = dir
	for step, want := range []uint64{15, 15, 25} {
		switch step {
		case 1:
			os.RemoveAll(filepath.Join(dir, "task/2"))
		case 2:
			write("task/1/status", "voluntary_ctxt_switches: 14\nnonvoluntary_ctxt_switches: 2\n")
		}
		u, err := p.Usage()
		if err != nil || u.Switches() != want {
			t.Errorf("step %d: %d switches, want %d (%v)", step, u.Switches(), want, err)
		}
	}
	os.RemoveAll(dir)
	if _, err := p.Usage(); err == nil {
		t.Error("an ended process was read")
	}
}
