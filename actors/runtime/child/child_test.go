package child

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func shell(t *testing.T, script string) Spec {
	t.Helper()
	return Spec{Name: "test", Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, LogPath: filepath.Join(t.TempDir(), "log", "test.log")}
}

func TestExitIsReportedWithItsCode(t *testing.T) {
	spec, got := shell(t, "echo out; echo err >&2; exit 7"), make(chan Exit, 1)
	p, err := Start(spec, func(e Exit) { got <- e })
	if err != nil {
		t.Fatal(err)
	}
	if e := <-got; e.Code != 7 || e.PID != p.PID() || e.Signal != "" {
		t.Errorf("exit = %+v, want code 7 of %d", e, p.PID())
	}
	if b, _ := os.ReadFile(spec.LogPath); string(b) != "out\nerr\n" {
		t.Errorf("log = %q", b)
	}
	if err := p.Stop(context.Background(), time.Second); err != nil {
		t.Errorf("stop after the end: %v", err)
	}
}

func TestStopKillsWhatIgnoresTheRequest(t *testing.T) {
	got := make(chan Exit, 1)
	spec := shell(t, `trap "" TERM; echo ready; while :; do sleep 0.05; done`)
	p, err := Start(spec, func(e Exit) { got <- e })
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the trap", func() bool { b, _ := os.ReadFile(spec.LogPath); return string(b) == "ready\n" })
	if err := p.Stop(context.Background(), 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if e := <-got; e.Signal != "killed" {
		t.Errorf("exit = %+v, want killed", e)
	}
	if err := syscall.Kill(p.PID(), 0); err != syscall.ESRCH {
		t.Errorf("process %d: %v, want it gone", p.PID(), err)
	}
}

func TestStartOfSomethingMissingIsAnError(t *testing.T) {
	spec := shell(t, "")
	spec.Path = "/no/such/program"
	if _, err := Start(spec, nil); err == nil || !strings.Contains(err.Error(), "start test") {
		t.Errorf("err = %v", err)
	}
}

// The child must end when the agent is killed without a chance to say anything.
func TestChildDoesNotOutliveAKilledParent(t *testing.T) {
	if dir := os.Getenv("CHILD_TEST_PARENT"); dir != "" {
		p, err := Start(Spec{Name: "sleep", Path: "/bin/sleep", Args: []string{"300"}, LogPath: dir + "/log"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/pid.part", []byte(strconv.Itoa(p.PID())), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Rename(dir+"/pid.part", dir+"/pid")
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "CHILD_TEST_PARENT="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	eventually(t, "the child's id", func() bool {
		b, err := os.ReadFile(dir + "/pid")
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(string(b))
		return err == nil
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "the child's end", func() bool { return !running(pid) })
}

// running is false for a zombie: whoever inherits the child decides when it is reaped.
func running(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, end := time.NewTicker(10*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: not seen", what)
		}
	}
}
