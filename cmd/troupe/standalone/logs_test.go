package standalone

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func logPod(t *testing.T, files map[string]string, containers ...string) (string, *v1.Pod) {
	t.Helper()
	dir := t.TempDir()
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u"}}
	for _, c := range containers {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: c})
	}
	for name, text := range files {
		f := filepath.Join(dir, "n_p_u", name)
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, p
}

func TestLogs(t *testing.T) {
	files := map[string]string{
		"a/0.log": "T1 stdout F old\n",
		"a/1.log": "T1 stdout F one\nT2 stderr F two\nT3 stdout P thr\nT4 stdout F ee\nT5 stdout F unfini",
		"b/0.log": "T1 stdout F bee\n",
	}
	for _, c := range []struct {
		name     string
		o        LogOptions
		two      bool
		out, err string
	}{
		{"all", LogOptions{Tail: -1}, false, "one\nthree\n", "two\n"},
		{"tail", LogOptions{Tail: 3}, false, "three\n", "two\n"},
		{"none", LogOptions{Tail: 0}, false, "", ""},
		{"previous", LogOptions{Tail: -1, Previous: true}, false, "old\n", ""},
		{"timestamps", LogOptions{Tail: -1, Timestamps: true}, false, "T1 one\nT3 three\n", "T2 two\n"},
		{"two containers", LogOptions{Tail: -1}, true, "a | one\na | three\nb | bee\n", "a | two\n"},
		{"one of two", LogOptions{Tail: -1, Container: "b"}, true, "bee\n", ""},
		{"follow after the end", LogOptions{Tail: -1, Follow: true}, false, "one\nthree\n", "two\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			names := []string{"a"}
			if c.two {
				names = []string{"a", "b"}
			}
			dir, pod := logPod(t, files, names...)
			var out, errOut bytes.Buffer
			if err := Logs(t.Context(), dir, pod, c.o, func() bool { return false }, &out, &errOut); err != nil {
				t.Fatal(err)
			}
			if out.String() != c.out || errOut.String() != c.err {
				t.Errorf("out %q err %q, want %q and %q", out.String(), errOut.String(), c.out, c.err)
			}
		})
	}
}

// A followed log goes on in the next instance's file, and what was written before the end is shown.
func TestFollowGoesOnAfterARestart(t *testing.T) {
	dir, pod := logPod(t, map[string]string{"a/0.log": "T stdout F one\n"}, "a")
	var out bytes.Buffer
	asked := 0
	running := func() bool {
		asked++
		f := filepath.Join(dir, "n_p_u", "a", "1.log")
		if asked == 2 {
			if err := os.WriteFile(f, []byte("T stdout F two\n"), 0o600); err != nil {
				t.Error(err)
			}
		}
		return asked < 3
	}
	if err := Logs(t.Context(), dir, pod, LogOptions{Follow: true, Tail: -1}, running, &out, &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != "one\ntwo\n" {
		t.Errorf("out = %q", out.String())
	}
}

func TestLogsOfWhatIsNotThere(t *testing.T) {
	dir, pod := logPod(t, nil, "a")
	for _, o := range []LogOptions{{Tail: -1}, {Tail: -1, Container: "x"}} {
		if err := Logs(t.Context(), dir, pod, o, func() bool { return false }, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
