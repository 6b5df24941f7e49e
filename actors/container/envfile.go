package container

import (
	"fmt"
	"os"
	"strings"

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
	f, err := root.Open(path)
	if err != nil {
		if os.IsNotExist(err) {
			return "", false, nil
		}
		return "", false, fmt.Errorf("couldn't parse env file")
	}
	defer f.Close()
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

// parseEnv finds NAME='value' (KEP-3721: the value is single-quoted and may span lines; blank lines and comments are
// skipped).
func parseEnv(text, key string) (string, bool, error) {
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			text = rest
			continue
		}
		name, value, ok := strings.Cut(text, "=")
		if !ok || strings.ContainsAny(strings.TrimSpace(name), " \t\n'") || !strings.HasPrefix(value, "'") {
			return "", false, fmt.Errorf("couldn't parse env file")
		}
		body, after, closed := strings.Cut(value[1:], "'")
		if !closed {
			return "", false, fmt.Errorf("couldn't parse env file")
		}
		if strings.TrimSpace(name) == key {
			return body, body != "", nil
		}
		_, text, _ = strings.Cut(after, "\n")
	}
	return "", false, nil
}
