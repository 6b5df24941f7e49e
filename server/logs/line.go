// Package logs reads container log files: picks the instance whose log is meant, parses the runtime's format, and
// follows a file across rotation until its container has ended, woken by the kernel and not by a clock.
package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// stream names in log files.
const (
	stdoutStream = "stdout"
	stderrStream = "stderr"
)

// timestampOut is how timestamps are shown: RFC 3339 with nine digits, as the kubelet shows them.
const timestampOut = "2006-01-02T15:04:05.000000000Z07:00"

// line is one physical line of a log file.
type line struct {
	at     time.Time
	stream string
	// text is the content with its end of line, or without one when the line goes on in the next physical line.
	text []byte
}

// parse reads one physical line, its '\n' included, in the format of CRI ("time stream tags content") or, for runtimes
// behind cri-dockerd, Docker's JSON. The result aliases raw.
func parse(raw []byte) (line, error) {
	if len(raw) > 0 && raw[0] == '{' {
		return parseJSON(raw)
	}
	return parseCRI(raw)
}

func parseCRI(raw []byte) (line, error) {
	var l line
	stamp, rest, ok := bytes.Cut(raw, []byte{' '})
	if !ok {
		return l, errors.New("timestamp is not found")
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return l, fmt.Errorf("unexpected timestamp: %w", err)
	}
	stream, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok || (string(stream) != stdoutStream && string(stream) != stderrStream) {
		return l, fmt.Errorf("unexpected stream type %q", stream)
	}
	tags, text, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return l, errors.New("log tag is not found")
	}
	// Tags are separated by ':'; the first is P for a partial line or F for a full one.
	if first, _, _ := bytes.Cut(tags, []byte{':'}); string(first) == "P" {
		text = bytes.TrimSuffix(text, []byte{'\n'})
	}
	l.at, l.stream, l.text = at, string(stream), text
	return l, nil
}

func parseJSON(raw []byte) (line, error) {
	var j struct {
		Log    string    `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(raw, &j); err != nil {
		return line{}, fmt.Errorf("unexpected JSON log line: %w", err)
	}
	if j.Stream != stdoutStream && j.Stream != stderrStream {
		return line{}, fmt.Errorf("unexpected stream type %q", j.Stream)
	}
	return line{at: j.Time, stream: j.Stream, text: []byte(j.Log)}, nil
}
