package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// ended is an instance that ended and wrote this; "" writes no file.
func ended(t *testing.T, policy v1.TerminationMessagePolicy, words, log string) *model.Container {
	t.Helper()
	dir := t.TempDir()
	c := &model.Container{ExitCode: 1, Reason: "Error", LogPath: filepath.Join(dir, "0.log"), Annotations: map[string]string{
		"io.kubernetes.container.hash": "x", "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
		"io.kubernetes.container.terminationMessagePolicy": string(policy),
	}}
	file := filepath.Join(dir, "words")
	c.Mounts = []*runtimeapi.Mount{{ContainerPath: "/other", HostPath: "/nowhere"}, {ContainerPath: "/dev/termination-log", HostPath: file}}
	if words != "" {
		if err := os.WriteFile(file, []byte(words), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(c.LogPath, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func logLines(n int, text string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "2026-01-01T00:00:00.000000000Z stdout F %s%d\n", text, i)
	}
	return b.String()
}

func podWith(n int) (*v1.Pod, *v1.Container) {
	p := &v1.Pod{}
	p.Spec.Containers = make([]v1.Container, n)
	return p, &p.Spec.Containers[0]
}

// TestLastWords holds the kubelet's limits: 4096 bytes of the file, 12 KiB for a pod, 80 lines or 2048 bytes of the log.
func TestLastWords(t *testing.T) {
	file, fallback := v1.TerminationMessageReadFile, v1.TerminationMessageFallbackToLogsOnError
	long := strings.Repeat("a", 5000) + "end"
	for _, tc := range []struct {
		name       string
		c          *model.Container
		containers int
		edit       func(*model.Container)
		want       func(string) bool
	}{
		{"the file", ended(t, file, "bye", "log"), 1, nil, func(s string) bool { return s == "bye" }},
		{"nothing", ended(t, file, "", logLines(3, "x")), 1, nil, func(s string) bool { return s == "" }},
		{"the end of a long file", ended(t, file, long, ""), 1, nil, func(s string) bool { return len(s) == 4096 && strings.HasSuffix(s, "end") }},
		{"a share of the pod's", ended(t, file, long, ""), 6, nil, func(s string) bool { return len(s) == 2048 && strings.HasSuffix(s, "end") }},
		{"the log when there is no file", ended(t, fallback, "", logLines(3, "x")), 1, nil, func(s string) bool { return s == "x0\nx1\nx2\n" }},
		{"the file before the log", ended(t, fallback, "bye", logLines(3, "x")), 1, nil, func(s string) bool { return s == "bye" }},
		{"80 lines", ended(t, fallback, "", logLines(100, "x")), 1, nil, func(s string) bool {
			return strings.Count(s, "\n") == 80 && strings.HasPrefix(s, "x20\n") && strings.HasSuffix(s, "x99\n")
		}},
		{"2048 bytes", ended(t, fallback, "", logLines(60, strings.Repeat("y", 100))), 1, nil, func(s string) bool { return len(s) == 2048 && strings.HasSuffix(s, "y59\n") }},
		{"no log after a success", ended(t, fallback, "", logLines(3, "x")), 1, func(c *model.Container) { c.ExitCode = 0 }, func(s string) bool { return s == "" }},
		{"no log when it could not run", ended(t, fallback, "", logLines(3, "x")), 1, func(c *model.Container) { c.Reason = "ContainerCannotRun" }, func(s string) bool { return s == "" }},
		{"lines in parts", ended(t, fallback, "", "2026-01-01T00:00:00Z stdout P one \n2026-01-01T00:00:00Z stdout F two\n"), 1, nil, func(s string) bool { return s == "one two\n" }},
		{"after the runtime's own words", ended(t, file, "bye", ""), 1, func(c *model.Container) { c.Message = "oom" }, func(s string) bool { return s == "oom: bye" }},
		{"a file that cannot be read", ended(t, fallback, "", logLines(3, "x")), 1, func(c *model.Container) {
			if err := os.Mkdir(c.Mounts[1].HostPath, 0o700); err != nil {
				panic(err)
			}
		}, func(s string) bool { return strings.HasPrefix(s, "Error on reading termination log ") }},
		{"no log file", ended(t, fallback, "", ""), 1, func(c *model.Container) { c.LogPath = "/does/not/exist" }, func(s string) bool { return strings.HasPrefix(s, "Error on reading termination message from logs") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.edit != nil {
				tc.edit(tc.c)
			}
			pod, spec := podWith(tc.containers)
			message(pod, spec, tc.c)
			if !tc.want(tc.c.Message) {
				t.Fatalf("%d bytes: %.120q", len(tc.c.Message), tc.c.Message)
			}
		})
	}
}

// TestLogLink: the flat link that log collectors follow, also when the folder is not there yet.
func TestLogLink(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "links")
	pod := &v1.Pod{}
	pod.Name, pod.Namespace = "p", "n"
	c := &model.Container{Name: "c", ID: "0123", LogPath: "/var/log/pods/x/0.log"}
	linkLog(Config{LinksDir: dir}, pod, c)
	if to, err := os.Readlink(filepath.Join(dir, "p_n_c-0123.log")); err != nil || to != c.LogPath {
		t.Fatalf("%q, %v", to, err)
	}
	pod.Name = strings.Repeat("p", 300)
	linkLog(Config{LinksDir: dir}, pod, c)
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, e := range list {
		if len(e.Name()) > 255 || !strings.HasSuffix(e.Name(), ".log") {
			t.Errorf("a name of %d bytes: %q", len(e.Name()), e.Name())
		}
	}
}
