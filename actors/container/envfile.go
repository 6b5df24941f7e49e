package container

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/troupe-dev/troupe/messages/model"
)

// maxEnvFile bounds the size of an env file; the API bounds a value to 32 KiB and a file to 64 KiB (KEP-3721).
const maxEnvFile = 64 << 10

// envFile reads one key of an env file in a volume. The path may not leave the volume, symbolic links included.
func envFile(mounts map[string]model.VolumeMount, volume, path, key string) (string, bool, error) {
	v, ok := mounts[volume]
	if !ok || v.HostPath == "" {
		return "", false, fmt.Errorf("cannot find the volume %q referenced by FileKeyRef", volume)
	}
	root, err := os.OpenRoot(v.HostPath)
	if err != nil {
		return "", false, fmt.Errorf("open volume %q: %w", volume, err)
	}
	defer root.Close()
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that a container put there blocks nobody
	if err != nil {
		if os.IsNotExist(err) {
			return "", false, nil
		}
		return "", false, errEnvFile
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return "", false, errEnvFile
	}
	buf := make([]byte, maxEnvFile+1)
	n := 0
	for n < len(buf) {
		m, err := f.Read(buf[n:])
		n += m
		if err != nil {
			break
		}
	}
	if n > maxEnvFile {
		return "", false, fmt.Errorf("env file %q is larger than %d bytes", path, maxEnvFile)
	}
	return parseEnv(string(buf[:n]), key)
}

var errEnvFile = errors.New("couldn't parse env file")

// parseEnv finds the value of a variable (KEP-3721): NAME='value', where the value is taken as it is and may span lines.
// Blank lines and lines that begin with # are skipped, space before the name and a comment after the value are allowed.
// Space before = is an error; space after it makes the value empty, as in a shell. What comes after the variable that is
// looked for is not read. An empty value counts as not there.
func parseEnv(text, key string) (string, bool, error) {
	next := func() (line string, more bool) {
		if text == "" {
			return "", false
		}
		line, text, _ = strings.Cut(text, "\n")
		return strings.TrimSuffix(line, "\r"), true
	}
	for {
		line, more := next()
		if !more {
			return "", false, nil
		}
		line = strings.TrimLeft(line, " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, assigned := strings.Cut(line, "=")
		if !assigned || name == "" || strings.TrimRight(name, " \t") != name {
			return "", false, errEnvFile
		}
		if value != strings.TrimLeft(value, " \t") {
			if name == key {
				return "", false, nil
			}
			continue
		}
		if !strings.HasPrefix(value, "'") {
			return "", false, errEnvFile
		}
		value, rest, closed := strings.Cut(value[1:], "'")
		for !closed {
			line, more := next()
			if !more {
				return "", false, errEnvFile
			}
			var part string
			part, rest, closed = strings.Cut(line, "'")
			value += "\n" + part
		}
		if rest = strings.TrimLeft(rest, " \t"); rest != "" && rest[0] != '#' {
			return "", false, errEnvFile
		}
		if name == key {
			return value, value != "", nil
		}
	}
}
