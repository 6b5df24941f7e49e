package container

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/messages/model"
)

// TestParseEnv holds the format of KEP-3721.
func TestParseEnv(t *testing.T) {
	for _, tc := range []struct {
		name, text, value string
		found, bad        bool
	}{
		{name: "plain", text: "KEY='value'\n", value: "value", found: true},
		{name: "no line end", text: "KEY='value'", value: "value", found: true},
		{name: "others before", text: "A='1'\nB='2'\nKEY='3'\n", value: "3", found: true},
		{name: "first wins", text: "KEY='1'\nKEY='2'\n", value: "1", found: true},
		{name: "blank lines and comments", text: "\n  \t\n# KEY='no'\n  # x\nKEY='v'\n", value: "v", found: true},
		{name: "space before the name", text: "  \tKEY='v'\n", value: "v", found: true},
		{name: "comment after the value", text: "KEY='v'  # why\n", value: "v", found: true},
		{name: "several lines", text: "KEY='a\nb\n  c'\n", value: "a\nb\n  c", found: true},
		{name: "lines that look like others", text: "A='\nKEY=\\'\nKEY='v'\n", value: "v", found: true},
		{name: "nothing is expanded", text: "KEY='$A \\n \"x\" ${B}'\n", value: `$A \n "x" ${B}`, found: true},
		{name: "= in the value", text: "KEY='a=b'\n", value: "a=b", found: true},
		{name: "line ends of another system", text: "A='1'\r\nKEY='v'\r\n", value: "v", found: true},
		{name: "not there", text: "A='1'\n"},
		{name: "no file to speak of", text: ""},
		{name: "empty", text: "KEY=''\n"},
		{name: "space after =", text: "KEY= 'v'\n"},
		{name: "space after = of another", text: "A= 'v'\nKEY='v'\n", value: "v", found: true},
		{name: "longer names", text: "KEYS='1'\nMYKEY='2'\n"},
		{name: "what comes after is not read", text: "KEY='v'\nnonsense\n", value: "v", found: true},
		{name: "no quotes", text: "KEY=v\n", bad: true},
		{name: "double quotes", text: "KEY=\"v\"\n", bad: true},
		{name: "not closed", text: "KEY='v\n", bad: true},
		{name: "no =", text: "KEY\n", bad: true},
		{name: "no name", text: "='v'\n", bad: true},
		{name: "space before =", text: "KEY ='v'\n", bad: true},
		{name: "more after the value", text: "KEY='v' x\n", bad: true},
		{name: "nonsense before", text: "nonsense\nKEY='v'\n", bad: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			value, found, err := parseEnv(tc.text, "KEY")
			if value != tc.value || found != tc.found || (err != nil) != tc.bad {
				t.Fatalf("%q, %v, %v", value, found, err)
			}
			if err != nil && err.Error() != "couldn't parse env file" {
				t.Fatalf("the error is shown to users: %v", err)
			}
		})
	}
}

func TestEnvFile(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "env"), "KEY='v'\n")
	write(filepath.Join(outside, "env"), "KEY='stolen'\n")
	write(filepath.Join(dir, "big"), "KEY='v'\n"+strings.Repeat("#", maxEnvFile))
	if err := os.Symlink(filepath.Join(outside, "env"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	mounts := map[string]model.VolumeMount{"v": {HostPath: dir}}
	for _, tc := range []struct {
		volume, path string
		value        string
		bad          bool
	}{
		{"v", "env", "v", false},
		{"v", "missing", "", false},
		{"v", "link", "", true},
		{"v", "../env", "", true},
		{"v", "big", "", true},
		{"v", "pipe", "", true},
		{"v", ".", "", true},
		{"other", "env", "", true},
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			value, found, err := envFile(mounts, tc.volume, tc.path, "KEY")
			if value != tc.value || found != (tc.value != "") || (err != nil) != tc.bad {
				t.Errorf("%s of %s: %q, %v, %v", tc.path, tc.volume, value, found, err)
			}
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s blocks", tc.path)
		}
	}
}
