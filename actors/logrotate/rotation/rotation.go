// Package rotation decides what happens to the files of one container's log when it is rotated. It is pure. Names and
// order are the kubelet's, so that log collectors find what they look for and a node can change over:
//
//	0.log                     being written
//	0.log.20060102-150405     the newest rotated one, left as it is for readers that follow it
//	0.log.20060102-150405.gz  older ones
package rotation

import (
	"slices"
	"strings"
	"time"
)

const (
	timestamp  = "20060102-150405"
	compressed = ".gz"
	temporary  = ".tmp"
)

// Rotated is the name that a log gets when it is rotated at this time, in local time as the kubelet has it.
func Rotated(log string, at time.Time) string { return log + "." + at.Format(timestamp) }

// Compressed is the name of a rotated log once it is compressed, Temporary the one while that is being done.
func Compressed(log string) string { return log + compressed }

// Temporary is the name under which a log is compressed.
func Temporary(log string) string { return log + temporary }

// Steps are what to do before the log itself is renamed, in this order.
type Steps struct {
	// Remove are files to remove: left-overs first, then the oldest logs.
	Remove []string
	// Compress are logs to compress.
	Compress []string
}

// Plan says what to do with the files that were rotated before (every file whose name is the log's, a dot and something
// else) so that with the log, and its next version, at most maxFiles are there.
func Plan(files []string, maxFiles int) Steps {
	var s Steps
	var logs []string
	for _, f := range files {
		switch {
		case strings.HasSuffix(f, temporary):
			s.Remove = append(s.Remove, f)
		case !strings.HasSuffix(f, compressed) && slices.Contains(files, Compressed(f)):
			s.Remove = append(s.Remove, f) // it was compressed, and not yet removed
		default:
			logs = append(logs, f)
		}
	}
	slices.Sort(logs) // the names sort by age
	excess := max(len(logs)-max(maxFiles-2, 0), 0)
	s.Remove = append(s.Remove, logs[:excess]...)
	for _, f := range logs[excess:] {
		if !strings.HasSuffix(f, compressed) {
			s.Compress = append(s.Compress, f)
		}
	}
	return s
}
