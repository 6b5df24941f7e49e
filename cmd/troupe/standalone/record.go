package standalone

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/troupe-dev/troupe/actors/node/durable"
)

// Record says who runs and what it changed on the host. It is written before anything is changed and removed when
// everything is gone, so that one that is found without its process tells what is left.
type Record struct {
	// ID is random for each run. UIDs of pods come from it, so that a run that was killed and is started again with the
	// same manifests finds its containers.
	ID      types.UID `json:"id"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Version int       `json:"version"`
	// Manifests are the files as they were given; Detached says that no terminal waits for the run.
	Manifests []string `json:"manifests"`
	Detached  bool     `json:"detached"`
	// Endpoint is the runtime's; Private says that it is a containerd of ours.
	Endpoint string `json:"endpoint"`
	Private  bool   `json:"private"`
	Subnet   string `json:"subnet,omitempty"`
	// RuntimeDir is where a private runtime's programs are.
	RuntimeDir string     `json:"runtimeDir,omitempty"`
	Cgroups    CgroupRoot `json:"cgroups"`
	// Pods are the UIDs that the run gave.
	Pods []types.UID `json:"pods"`
	// Before is what the packet filter held before the run.
	Before Filter `json:"before"`
}

const recordVersion = 1

// ErrNoRun says that nothing runs in the state folder and nothing is left there.
var ErrNoRun = errors.New("nothing runs here")

// ReadRecord reads the record; ErrNoRun when there is none.
func ReadRecord(l Layout) (Record, error) {
	var r Record
	b, err := os.ReadFile(l.RecordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return r, ErrNoRun
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s is damaged: %w", l.RecordFile(), err)
	}
	return r, nil
}

// Write replaces the record at once and for good.
func (r Record) Write(l Layout) error {
	r.Version = recordVersion
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return durable.Replace(l.RecordFile(), b)
}

// Continue makes a record for a run that begins: the one that a killed run left, or a new one.
func Continue(l Layout, fresh Record) (Record, bool, error) {
	old, err := ReadRecord(l)
	switch {
	case errors.Is(err, ErrNoRun):
		fresh.ID = uuid.NewUUID()
		return fresh, false, nil
	case err != nil:
		return fresh, false, err
	case old.Endpoint != fresh.Endpoint || old.Cgroups != fresh.Cgroups:
		return fresh, false, fmt.Errorf("a run on %s was killed and left something in %s: clean up with `troupe stop` first", old.Endpoint, l.Dir)
	}
	fresh.ID, fresh.Before = old.ID, old.Before
	return fresh, true, nil
}

// Lock is held while somebody runs pods in a state folder; the kernel lets go of it when the process ends.
type Lock struct{ f *os.File }

// TryLock takes the lock; false when somebody else holds it.
func TryLock(l Layout) (*Lock, bool, error) {
	f, err := os.OpenFile(l.LockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("lock %s: %w", l.LockFile(), err)
	}
	return &Lock{f}, true, nil
}

// Release gives the lock back.
func (l *Lock) Release() { _ = l.f.Close() }
