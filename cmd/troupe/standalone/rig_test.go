package standalone

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func until(t *testing.T, out fmt.Stringer, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not seen\n%s", what, out)
		}
		_ = pause(t.Context(), 20*time.Millisecond)
	}
}

// command runs a command and returns what it wrote.
func command(t *testing.T, c *cobra.Command, args ...string) string {
	t.Helper()
	var b bytes.Buffer
	c.SetArgs(args)
	c.SetOut(&b)
	c.SetErr(&b)
	c.SilenceUsage = true
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Errorf("%s %v: %v", c.Name(), args, err)
	}
	return b.String()
}

// runtimePID is the containerd that serves our socket; 0 when there is none.
func runtimePID(t *testing.T, l Layout) int {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, err := os.ReadFile(f)
		args := strings.Split(string(b), "\x00")
		if err == nil && len(args) > 2 && filepath.Base(args[0]) == "containerd" && args[2] == l.path("containerd.toml") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			return pid
		}
	}
	return 0
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if pid == 0 {
		t.Fatal("there is no runtime to kill")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
