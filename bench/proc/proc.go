// Package proc measures what a process uses, from /proc alone: the process is not touched and need not cooperate.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc/<pid>/stat: USER_HZ, which is 100 on every architecture that Go runs on Linux.
const tick = time.Second / 100

// Usage is what a process has used since its start, and its memory now. Of a difference (Sub) the memory is the later one.
type Usage struct {
	User, System time.Duration
	// Voluntary and Involuntary are the context switches of all threads. A voluntary one is a thread that went to sleep and
	// was woken again: on an idle node the wake-ups.
	Voluntary, Involuntary uint64
	// RSS is resident now, PeakRSS was at most, in bytes.
	RSS, PeakRSS uint64
	Threads      int
}

// CPU is user and system time together.
func (u Usage) CPU() time.Duration { return u.User + u.System }

// Switches are all context switches.
func (u Usage) Switches() uint64 { return u.Voluntary + u.Involuntary }

// Sub is what was used between earlier and u.
func (u Usage) Sub(earlier Usage) Usage {
	u.User -= earlier.User
	u.System -= earlier.System
	u.Voluntary -= earlier.Voluntary
	u.Involuntary -= earlier.Involuntary
	return u
}

// Process reads one process. The kernel forgets the switches of a thread that has ended, so Process keeps the last that it
// saw: what a thread does between the last reading and its end is lost. Not safe for concurrent use.
type Process struct {
	dir     string
	threads map[string][2]uint64
	ended   [2]uint64
}

// Open prepares to read the process with this id.
func Open(pid int) *Process {
	return &Process{dir: filepath.Join("/proc", strconv.Itoa(pid)), threads: map[string][2]uint64{}}
}

// Usage reads what the process has used until now. It fails when the process has ended.
func (p *Process) Usage() (Usage, error) {
	var u Usage
	stat, err := os.ReadFile(filepath.Join(p.dir, "stat"))
	if err != nil {
		return u, fmt.Errorf("read the usage of a process: %w", err)
	}
	if u.User, u.System, err = parseStat(stat); err != nil {
		return u, fmt.Errorf("%s/stat: %w", p.dir, err)
	}
	status, err := os.ReadFile(filepath.Join(p.dir, "status"))
	if err != nil {
		return u, fmt.Errorf("read the usage of a process: %w", err)
	}
	s := parseStatus(status)
	u.RSS, u.PeakRSS, u.Threads = s["VmRSS"]*1024, s["VmHWM"]*1024, int(s["Threads"])
	if err := p.readThreads(); err != nil {
		return u, err
	}
	u.Voluntary, u.Involuntary = p.ended[0], p.ended[1]
	for _, t := range p.threads {
		u.Voluntary += t[0]
		u.Involuntary += t[1]
	}
	return u, nil
}

func (p *Process) readThreads() error {
	list, err := os.ReadDir(filepath.Join(p.dir, "task"))
	if err != nil {
		return fmt.Errorf("read the threads of a process: %w", err)
	}
	seen := map[string]bool{}
	for _, e := range list {
		raw, err := os.ReadFile(filepath.Join(p.dir, "task", e.Name(), "status"))
		if errors.Is(err, fs.ErrNotExist) || err != nil && strings.Contains(err.Error(), "no such process") {
			continue // it has ended since the listing
		}
		if err != nil {
			return fmt.Errorf("read a thread: %w", err)
		}
		s := parseStatus(raw)
		now := [2]uint64{s["voluntary_ctxt_switches"], s["nonvoluntary_ctxt_switches"]}
		if old := p.threads[e.Name()]; now[0] < old[0] { // the id was given again
			p.ended[0] += old[0]
			p.ended[1] += old[1]
		}
		p.threads[e.Name()] = now
		seen[e.Name()] = true
	}
	for tid, t := range p.threads {
		if !seen[tid] {
			p.ended[0] += t[0]
			p.ended[1] += t[1]
			delete(p.threads, tid)
		}
	}
	return nil
}

// parseStat reads utime and stime. The name in parentheses may hold anything, so fields are counted behind its end.
func parseStat(raw []byte) (user, system time.Duration, err error) {
	i := bytes.LastIndexByte(raw, ')')
	f := strings.Fields(string(raw[i+1:]))
	if i < 0 || len(f) < 13 {
		return 0, 0, errors.New("unexpected form")
	}
	ut, err := strconv.ParseUint(f[11], 10, 63)
	if err != nil {
		return 0, 0, err
	}
	st, err := strconv.ParseUint(f[12], 10, 63)
	return time.Duration(ut) * tick, time.Duration(st) * tick, err
}

// parseStatus reads the lines whose value begins with a number.
func parseStatus(raw []byte) map[string]uint64 {
	out := map[string]uint64{}
	for line := range strings.Lines(string(raw)) {
		name, rest, _ := strings.Cut(line, ":")
		if f := strings.Fields(rest); len(f) > 0 {
			if n, err := strconv.ParseUint(f[0], 10, 64); err == nil {
				out[name] = n
			}
		}
	}
	return out
}
