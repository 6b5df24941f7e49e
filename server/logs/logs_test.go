package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

// stamp is the time of the n-th line.
func stamp(n int) time.Time { return time.Date(2026, 1, 2, 3, 4, n, 5, time.UTC) }

// entry is one line in the format of CRI.
func entry(n int, stream, tag, text string) string {
	return stamp(n).Format(time.RFC3339Nano) + " " + stream + " " + tag + " " + text + "\n"
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct{ raw, stream, text, fails string }{
		"full":      {raw: "2026-01-02T03:04:05.000000006Z stdout F hello world\n", stream: "stdout", text: "hello world\n"},
		"partial":   {raw: "2026-01-02T03:04:05.000000006Z stderr P hello\n", stream: "stderr", text: "hello"},
		"more tags": {raw: "2026-01-02T03:04:05.000000006Z stderr P:X hello\n", stream: "stderr", text: "hello"},
		"empty":     {raw: "2026-01-02T03:04:05.000000006Z stdout F \n", stream: "stdout", text: "\n"},
		"json":      {raw: `{"log":"hi\n","stream":"stderr","time":"2026-01-02T03:04:05.000000006Z"}` + "\n", stream: "stderr", text: "hi\n"},
		"no time":   {raw: "yesterday stdout F x\n", fails: "timestamp"},
		"no stream": {raw: "2026-01-02T03:04:05.000000006Z stdin F x\n", fails: "stream type"},
		"no tag":    {raw: "2026-01-02T03:04:05.000000006Z stdout x\n", fails: "log tag"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := parse([]byte(c.raw))
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("error %v, want one about %q", err, c.fails)
				}
				return
			}
			if err != nil || l.stream != c.stream || string(l.text) != c.text || l.at.Nanosecond() != 6 {
				t.Errorf("got %q %q %v %v", l.stream, l.text, l.at, err)
			}
		})
	}
}

// The tail of a file is what cutting it into lines gives, for any content and around the block size.
func TestTailStartProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.IntRange(0, 3*tailBlock/2), 0, 8).Draw(t, "lengths")
		unfinished := rapid.Bool().Draw(t, "unfinished")
		n := rapid.Int64Range(0, 10).Draw(t, "n")
		var content []byte
		var starts []int64
		for i, length := range lines {
			starts = append(starts, int64(len(content)))
			content = append(content, bytes.Repeat([]byte{'x'}, length)...)
			if i < len(lines)-1 || !unfinished {
				content = append(content, '\n')
			}
		}
		whole := len(lines)
		if unfinished && whole > 0 {
			whole--
		}
		want := int64(len(content))
		switch {
		case n >= int64(whole):
			want = 0
		case whole-int(n) < len(starts):
			want = starts[whole-int(n)]
		}
		got, err := tailStart(bytes.NewReader(content), int64(len(content)), n)
		if err != nil || got != want {
			t.Fatalf("tailStart = %d, %v; want %d", got, err, want)
		}
	})
}

// output collects what a reader wrote and lets a test wait for it.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	wake chan struct{}
}

func newOutput() *output { return &output{wake: make(chan struct{}, 1)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	o.buf.Write(b)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) waitFor(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for o.String() != want {
		select {
		case <-o.wake:
		case <-deadline:
			t.Fatalf("output %q, want %q", o.String(), want)
		}
	}
}

// life is a container whose end a test decides.
type life struct{ ended, doubt, asked atomic.Int32 }

func (l *life) Ended(context.Context) bool { l.asked.Add(1); return l.ended.Load() == 1 }
func (l *life) Doubt() bool                { return l.doubt.Load() == 1 }

func ptr[T any](v T) *T { return &v }

func TestReadOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	content := entry(1, "stdout", "F", "one") + entry(2, "stderr", "F", "two") + "rubbish\n" +
		entry(3, "stdout", "P", "thr") + entry(3, "stdout", "F", "ee") + entry(4, "stdout", "F", "four")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	both := Options{Stdout: true, Stderr: true}
	with := func(f func(*Options)) Options { o := both; f(&o); return o }
	st := func(n int) string { return stamp(n).Format(timestampOut) + " " }
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"all":         {both, "one\ntwo\nthree\nfour\n"},
		"stdout":      {Options{Stdout: true}, "one\nthree\nfour\n"},
		"stderr":      {Options{Stderr: true}, "two\n"},
		"tail 1":      {with(func(o *Options) { o.TailLines = ptr[int64](1) }), "four\n"},
		"tail 0":      {with(func(o *Options) { o.TailLines = ptr[int64](0) }), ""},
		"tail 99":     {with(func(o *Options) { o.TailLines = ptr[int64](99) }), "one\ntwo\nthree\nfour\n"},
		"limit":       {with(func(o *Options) { o.LimitBytes = ptr[int64](6) }), "one\ntw"},
		"since":       {with(func(o *Options) { o.Since = stamp(3) }), "three\nfour\n"},
		"timestamps":  {with(func(o *Options) { o.Timestamps = true }), st(1) + "one\n" + st(2) + "two\n" + st(3) + "three\n" + st(4) + "four\n"},
		"limit stamp": {with(func(o *Options) { o.Timestamps = true; o.LimitBytes = ptr[int64](4) }), "2026"},
	} {
		t.Run(name, func(t *testing.T) {
			out := newOutput()
			sink := Sink{}
			if c.o.Stdout {
				sink.Out = out
			}
			if c.o.Stderr {
				sink.Err = out
			}
			if err := (&Reader{Hints: NewHints()}).Read(t.Context(), path, c.o, &life{}, sink, nil); err != nil {
				t.Fatal(err)
			}
			if out.String() != c.want {
				t.Errorf("got %q, want %q", out.String(), c.want)
			}
		})
	}
}

// following starts a follower and returns its output and a function that waits for its end.
func following(t *testing.T, rd *Reader, path string, l *life) (*output, func() error) {
	t.Helper()
	out := newOutput()
	ended := make(chan error, 1)
	go func() {
		ended <- rd.Read(t.Context(), path, Options{Follow: true, Stdout: true, Stderr: true}, l, Sink{Out: out, Err: out}, nil)
	}()
	return out, func() error {
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Second):
			t.Fatal("the follower did not end")
			return nil
		}
	}
}

func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, f *os.File, s string) {
	t.Helper()
	if _, err := f.WriteString(s); err != nil {
		t.Fatal(err)
	}
}

// A follower sees lines as they come, goes over to the new file when the log is rotated without losing what was written
// between rename and reopen, and ends soon after its container, with its last words.
func TestFollowAcrossRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	f := create(t, path)
	write(t, f, entry(1, "stdout", "F", "one"))
	l := &life{}
	rd := &Reader{Hints: NewHints()}
	out, wait := following(t, rd, path, l)
	out.waitFor(t, "one\n")
	half := entry(2, "stderr", "F", "two")
	write(t, f, half[:10])
	write(t, f, half[10:])
	out.waitFor(t, "one\ntwo\n")

	if err := os.Rename(path, path+".20260102-030405"); err != nil {
		t.Fatal(err)
	}
	write(t, f, entry(3, "stdout", "F", "three"))
	g := create(t, path)
	_ = f.Close()
	write(t, g, entry(4, "stdout", "F", "four"))
	out.waitFor(t, "one\ntwo\nthree\nfour\n")

	l.ended.Store(1)
	write(t, g, strings.TrimSuffix(entry(5, "stdout", "F", "five"), "\n"))
	begin := time.Now()
	_ = g.Close()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "one\ntwo\nthree\nfour\nfive" {
		t.Errorf("output %q", got)
	}
	if took := time.Since(begin); took > 500*time.Millisecond {
		t.Errorf("the follower ended %s after the last writer", took)
	}
	idle(t, rd)
}

// idle fails when hints cost something although nobody follows.
func idle(t *testing.T, rd *Reader) {
	t.Helper()
	rd.Hints.mu.Lock()
	defer rd.Hints.mu.Unlock()
	if rd.Hints.now != nil {
		t.Error("inotify is still open although nobody follows")
	}
}

// The runtime reports an exit a little after it closed the log: the follower asks again.
func TestFollowEndReportedLate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	f := create(t, path)
	l := &life{}
	out, wait := following(t, &Reader{Hints: NewHints()}, path, l)
	write(t, f, entry(1, "stdout", "F", "one"))
	out.waitFor(t, "one\n")
	before := l.asked.Load()
	_ = f.Close()
	for l.asked.Load() == before {
		runtime.Gosched()
	}
	l.ended.Store(1)
	if err := wait(); err != nil {
		t.Fatal(err)
	}
}

// A file that is cut is read again from its beginning.
func TestFollowTruncated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	f := create(t, path)
	write(t, f, entry(1, "stdout", "F", "a first line that is long"))
	l := &life{}
	out, wait := following(t, &Reader{Hints: NewHints()}, path, l)
	out.waitFor(t, "a first line that is long\n")
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	write(t, f, entry(2, "stdout", "F", "two"))
	out.waitFor(t, "a first line that is long\ntwo\n")
	l.ended.Store(1)
	_ = f.Close()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
}

// An idle follower asks neither the runtime nor the disk.
func TestFollowIdle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	f := create(t, path)
	defer func() { _ = f.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	l := &life{}
	rd := &Reader{Hints: NewHints()}
	done := make(chan error, 1)
	go func() {
		done <- rd.Read(ctx, path, Options{Follow: true, Stdout: true}, l, Sink{Out: newOutput()}, nil)
	}()
	time.Sleep(2500 * time.Millisecond) // real time passes: that nothing happens in it is what is tested
	if n := l.asked.Load(); n > 2 {
		t.Errorf("an idle follower asked %d times in 2.5 s, want 2 (at once and a second later)", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("a cancelled follower returned %v", err)
	}
	idle(t, rd)
}

// Many followers of many files share one inotify instance, and each sees its own file whole.
func TestManyFollowers(t *testing.T) {
	dir := t.TempDir()
	rd := &Reader{Hints: NewHints()}
	const files, each = 5, 4
	var all sync.WaitGroup
	for i := range files {
		path := filepath.Join(dir, fmt.Sprintf("%d.log", i))
		f := create(t, path)
		l := &life{}
		for range each {
			out, wait := following(t, rd, path, l)
			all.Go(func() {
				err := wait()
				if lines := strings.Count(out.String(), "\n"); err != nil || lines != 200 {
					t.Errorf("file %d: %d lines, %v", i, lines, err)
				}
			})
		}
		all.Go(func() {
			for n := range 200 {
				_, _ = f.WriteString(entry(n%60, "stdout", "F", fmt.Sprint(n)))
			}
			l.ended.Store(1)
			_ = f.Close()
		})
	}
	all.Wait()
	idle(t, rd)
}

func TestDecode(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for query, want := range map[string]error{
		"": nil, "follow=true&tailLines=5&limitBytes=1&timestamps=1&previous": nil, "tail=all": nil, "stream=Stdout": nil, "sinceSeconds=5": nil,
		"tailLines=x": ErrUndecodable, "sinceTime=noon": ErrUndecodable,
		"tailLines=-1": ErrInvalid, "limitBytes=0": ErrInvalid, "sinceSeconds=0": ErrInvalid, "stream=x": ErrInvalid,
		"stream=Stderr&tailLines=1": ErrInvalid, "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z": ErrInvalid,
	} {
		q, _ := url.ParseQuery(query)
		if _, err := Decode(q, now); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", query, err, want)
		}
	}
	q, _ := url.ParseQuery("follow=true&tail=7&sinceSeconds=60&timestamps=true&stream=Stderr")
	q.Del("tail")
	o, err := Decode(q, now)
	if err != nil || !o.Follow || !o.Timestamps || o.Stdout || !o.Stderr || !o.Since.Equal(now.Add(-time.Minute)) {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err := Decode(url.Values{"tail": {"7"}}, now); err != nil || o.TailLines == nil || *o.TailLines != 7 || !o.Stdout || !o.Stderr {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestPick(t *testing.T) {
	run := v1.ContainerState{Running: &v1.ContainerStateRunning{}}
	wait := func(r string) v1.ContainerState {
		return v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: r}}
	}
	term := func(id string) v1.ContainerState {
		return v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ContainerID: id}}
	}
	for name, c := range map[string]struct {
		state, last v1.ContainerState
		previous    bool
		want, fails string
	}{
		"running":           {state: run, want: "now"},
		"running, previous": {state: run, last: term("containerd://old"), previous: true, want: "old"},
		"no previous":       {state: run, previous: true, fails: `previous terminated container "c" in pod "p" not found`},
		"terminated":        {state: term("containerd://x"), want: "x"},
		"crash loop":        {state: wait("CrashLoopBackOff"), last: term("containerd://old"), want: "old"},
		"never started":     {state: term(""), last: term("containerd://old"), want: "old"},
		"ended without id":  {state: term(""), fails: `container "c" in pod "p" is terminated`},
		"last without id":   {state: wait("x"), last: term(""), fails: `container "c" in pod "p" is terminated`},
		"creating":          {state: wait("ContainerCreating"), fails: `container "c" in pod "p" is waiting to start: ContainerCreating`},
		"pull":              {state: wait("ErrImagePull"), fails: `container "c" in pod "p" is waiting to start: image can't be pulled`},
		"pull back-off":     {state: wait("ImagePullBackOff"), fails: `container "c" in pod "p" is waiting to start: trying and failing to pull image`},
		"nothing":           {fails: `container "c" in pod "p" is waiting to start - no logs yet`},
	} {
		t.Run(name, func(t *testing.T) {
			p := &v1.Pod{}
			p.Name = "p"
			p.Status.InitContainerStatuses = []v1.ContainerStatus{{Name: "c", ContainerID: "containerd://now", State: c.state, LastTerminationState: c.last}}
			id, err := Pick(p, "c", c.previous)
			if c.fails != "" {
				if err == nil || err.Error() != c.fails {
					t.Errorf("error %v, want %s", err, c.fails)
				}
			} else if err != nil || string(id) != c.want {
				t.Errorf("got %q, %v; want %q", id, err, c.want)
			}
			if _, err := Pick(p, "d", false); err == nil || err.Error() != `container "d" in pod "p" is not available` {
				t.Errorf("unknown container: %v", err)
			}
		})
	}
}
