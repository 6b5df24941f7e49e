package container

import (
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAttempt(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}}
	for name, c := range map[string]struct {
		files      []string
		want, next uint32
	}{
		"no directory":       {nil, 0, 0},
		"empty":              {[]string{}, 3, 3},
		"forgotten":          {[]string{"0.log", "2.log", "1.log"}, 0, 3},
		"known":              {[]string{"0.log", "1.log"}, 2, 2},
		"API knows of more":  {[]string{"0.log"}, 7, 7},
		"only a rotated one": {[]string{"4.log.20260101-000000.gz"}, 0, 5},
		"others' files":      {[]string{"x.log", "9.txt", "-1.log", "99999999999.log", "8.logs", "log"}, 1, 1},
	} {
		b := &Builder{LogsRoot: t.TempDir()}
		dir := filepath.Join(b.LogsRoot, "ns_p_u", "c")
		if c.files != nil {
			if err := os.MkdirAll(filepath.Join(dir, "6.log"), 0o755); err != nil { // a directory is no log
				t.Fatal(err)
			}
		}
		for _, f := range c.files {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := b.attempt(pod, &v1.Container{Name: "c"}, c.want); err != nil || got != c.next {
			t.Errorf("%s: %d %v, want %d", name, got, err, c.next)
		}
	}
}
