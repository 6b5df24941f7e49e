package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Hints tells followers that something happened to their file. All followers of a node share one inotify instance (the
// kernel allows 128 of them to a user) and one goroutine, which exist only while somebody follows.
//
// It uses inotify itself: that the last writer closed the file, which is how the end of a container shows, is an event
// that portable wrappers leave out.
type Hints struct {
	mu  sync.Mutex
	now *instance // nil while nobody follows
}

// NewHints returns a source of hints that costs nothing until it is used.
func NewHints() *Hints { return &Hints{} }

// instance is one inotify descriptor. dirs and fd are guarded by Hints.mu.
type instance struct {
	file *os.File
	fd   int
	dirs map[int32]map[*hint]struct{} // by watch descriptor
}

// hint is one follower's view of one file.
type hint struct {
	hints *Hints
	inst  *instance
	wd    int32
	base  string
	// C gets a value when something happened since the last receive; events in between are merged.
	C chan struct{}
	// closed remembers that a writer closed the file, or that the file or its folder went away.
	closed atomic.Bool
}

// watchMask is what can matter to a follower: growth, a writer's close, and names that come and go.
const watchMask = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM |
	unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_ONLYDIR

// watch starts hints for one file, which need not exist; its folder must. The caller must call stop.
func (h *Hints) watch(path string) (*hint, error) {
	dir, base := filepath.Split(path)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == nil {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return nil, fmt.Errorf("start inotify: %w", err)
		}
		// A non-blocking descriptor goes to the runtime's poller: a read in progress ends when the file is closed.
		inst := &instance{file: os.NewFile(uintptr(fd), "inotify"), fd: fd, dirs: map[int32]map[*hint]struct{}{}}
		h.now = inst
		go h.read(inst)
	}
	inst := h.now
	wd, err := unix.InotifyAddWatch(inst.fd, filepath.Clean(dir), watchMask)
	if err != nil {
		h.closeIfIdle(inst)
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	s := &hint{hints: h, inst: inst, wd: int32(wd), base: base, C: make(chan struct{}, 1)}
	if inst.dirs[s.wd] == nil {
		inst.dirs[s.wd] = map[*hint]struct{}{}
	}
	inst.dirs[s.wd][s] = struct{}{}
	return s, nil
}

// stop ends the hints. It may be called once.
func (s *hint) stop() {
	h := s.hints
	h.mu.Lock()
	defer h.mu.Unlock()
	if set := s.inst.dirs[s.wd]; set != nil {
		if delete(set, s); len(set) == 0 {
			delete(s.inst.dirs, s.wd)
			_, _ = unix.InotifyRmWatch(s.inst.fd, uint32(s.wd)) // fails when the folder is gone already
		}
	}
	h.closeIfIdle(s.inst)
}

// closeIfIdle ends the instance that nobody uses. h.mu is held.
func (h *Hints) closeIfIdle(inst *instance) {
	if len(inst.dirs) == 0 && h.now == inst {
		h.now = nil
		_ = inst.file.Close()
	}
}

// read delivers events until the instance is closed.
func (h *Hints) read(inst *instance) {
	buf := make([]byte, 16<<10)
	for {
		n, err := inst.file.Read(buf)
		if err != nil {
			return
		}
		h.mu.Lock()
		for off := 0; off+unix.SizeofInotifyEvent <= n; {
			ev := (*unix.InotifyEvent)(unsafe.Pointer(&buf[off]))
			end := off + unix.SizeofInotifyEvent + int(ev.Len)
			if end > n {
				break
			}
			inst.deliver(ev.Wd, ev.Mask, strings.TrimRight(string(buf[off+unix.SizeofInotifyEvent:end]), "\x00"))
			off = end
		}
		h.mu.Unlock()
	}
}

// deliver wakes those whom an event concerns. Hints.mu is held.
func (inst *instance) deliver(wd int32, mask uint32, name string) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		for _, set := range inst.dirs {
			for s := range set {
				s.wake(true)
			}
		}
		return
	}
	for s := range inst.dirs[wd] {
		switch {
		case mask&(unix.IN_DELETE_SELF|unix.IN_IGNORED) != 0:
			s.wake(true)
		case name == s.base:
			s.wake(mask&(unix.IN_CLOSE_WRITE|unix.IN_DELETE) != 0)
		}
	}
}

func (s *hint) wake(closed bool) {
	if closed {
		s.closed.Store(true)
	}
	select {
	case s.C <- struct{}{}:
	default:
	}
}
