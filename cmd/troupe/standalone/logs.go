package standalone

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// LogOptions choose what is shown of a log.
type LogOptions struct {
	Container  string // "" for the only one, or all of them with a prefix
	Follow     bool
	Previous   bool
	Tail       int // lines; negative for all
	Timestamps bool
}

// followEvery is how often a followed log is looked at.
const followEvery = 200 * time.Millisecond

// Logs writes a pod's logs. They are read from the files that the runtime writes, so that they can be read while nothing
// runs, too. running says whether the pod may still write.
func Logs(ctx context.Context, podLogs string, pod *v1.Pod, o LogOptions, running func() bool, out, errOut io.Writer) error {
	names, err := containersOf(pod, o.Container)
	if err != nil {
		return err
	}
	dir := filepath.Join(podLogs, fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID))
	var tails []*logTail
	for _, n := range names {
		prefix := ""
		if len(names) > 1 {
			prefix = n + " | "
		}
		t := &logTail{dir: filepath.Join(dir, n), prefix: prefix, timestamps: o.Timestamps, out: out, err: errOut}
		if err := t.begin(o); err != nil {
			if errors.Is(err, fs.ErrNotExist) && (o.Follow || len(names) > 1) {
				continue
			}
			return fmt.Errorf("container %s has no log yet: %w", n, err)
		}
		tails = append(tails, t)
	}
	for {
		more := running() // asked before the read: what was written before the end is still shown
		for _, t := range tails {
			if err := t.copy(o.Follow && !o.Previous); err != nil {
				return err
			}
		}
		if !o.Follow || !more {
			return nil
		}
		if err := pause(ctx, followEvery); err != nil {
			return nil //nolint:nilerr // the reader has had enough
		}
	}
}

func containersOf(pod *v1.Pod, asked string) ([]string, error) {
	var names []string
	for _, c := range append(append([]v1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
		names = append(names, c.Name)
	}
	if asked == "" {
		return names, nil
	}
	for _, n := range names {
		if n == asked {
			return []string{n}, nil
		}
	}
	return nil, fmt.Errorf("pod %s has no container %q, it has: %s", pod.Name, asked, strings.Join(names, ", "))
}

// logTail reads one container's log files, N.log with N counting its restarts, in CRI's format: time, stream, F for a
// full line or P for a part of one, text.
type logTail struct {
	dir        string
	prefix     string
	timestamps bool
	out, err   io.Writer

	attempt int
	offset  int64
	middle  bool // the line before was a part
}

func attempts(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".log")); err == nil && strings.HasSuffix(e.Name(), ".log") {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return nil, fs.ErrNotExist
	}
	sort.Ints(all)
	return all, nil
}

func (t *logTail) path() string { return filepath.Join(t.dir, strconv.Itoa(t.attempt)+".log") }

// begin finds the place to begin at.
func (t *logTail) begin(o LogOptions) error {
	all, err := attempts(t.dir)
	if err != nil {
		return err
	}
	t.attempt = all[len(all)-1]
	if o.Previous {
		if len(all) < 2 {
			return fmt.Errorf("there is no previous instance: %w", fs.ErrNotExist)
		}
		t.attempt = all[len(all)-2]
	}
	if o.Tail < 0 {
		return nil
	}
	b, err := os.ReadFile(t.path())
	if err != nil {
		return err
	}
	end := bytes.LastIndexByte(b, '\n') + 1 // an unfinished line comes with its end
	for range o.Tail {
		if end == 0 {
			break
		}
		end = bytes.LastIndexByte(b[:end-1], '\n') + 1
	}
	t.offset = int64(end)
	return nil
}

// copy writes what is new; with follow it goes on with the instances that came after.
func (t *logTail) copy(follow bool) error {
	for {
		if err := t.copyFile(); err != nil {
			return err
		}
		if !follow {
			return nil
		}
		all, err := attempts(t.dir)
		if err != nil || all[len(all)-1] == t.attempt {
			return nil //nolint:nilerr // the folder goes with its pod
		}
		for _, a := range all {
			if a > t.attempt {
				t.attempt, t.offset = a, 0
				break
			}
		}
	}
}

func (t *logTail) copyFile() error {
	f, err := os.Open(t.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() < t.offset {
		t.offset = 0 // the log was rotated
	}
	if _, err := f.Seek(t.offset, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil { // an unfinished line waits for its end
			return nil //nolint:nilerr // only the end of the file can come here
		}
		t.offset += int64(len(line))
		if err := t.write(line); err != nil {
			return err
		}
	}
}

func (t *logTail) write(line []byte) error {
	stamp, rest, ok1 := bytes.Cut(line, []byte(" "))
	stream, rest, ok2 := bytes.Cut(rest, []byte(" "))
	tag, text, ok3 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !ok3 {
		text, tag = line, []byte("F")
	}
	var b bytes.Buffer
	if !t.middle {
		b.WriteString(t.prefix)
		if t.timestamps {
			b.Write(stamp)
			b.WriteByte(' ')
		}
	}
	t.middle = bytes.HasPrefix(tag, []byte("P"))
	if t.middle {
		text = bytes.TrimSuffix(text, []byte("\n"))
	}
	b.Write(text)
	w := t.out
	if string(stream) == "stderr" {
		w = t.err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// tail is the last lines of a file, for error messages.
func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
