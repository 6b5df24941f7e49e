package cgstat

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/troupe-dev/troupe/cgroups/cgroupfs"
)

// Pressure is how long tasks have waited for a resource (kernel: Documentation/accounting/psi.rst): some of them, or all
// at once.
type Pressure struct{ Some, Full Waited }

// Waited has the averages over 10, 60 and 300 seconds in percent, and the sum.
type Waited struct {
	Avg10, Avg60, Avg300 float64
	Total                time.Duration
}

// ReadPressure reads the pressure of a cgroup for "cpu", "memory" or "io"; nil where the kernel does not tell (v1, or
// psi=0).
func ReadPressure(h *cgroupfs.Host, path, resource string) (*Pressure, error) {
	if h.Version != cgroupfs.V2 {
		return nil, nil
	}
	return ReadPressureFile(filepath.Join(h.Dir(resource, path), resource+".pressure"))
}

// ReadPressureFile reads a file of that format, such as /proc/pressure/cpu; nil where it is missing or switched off (psi=0).
func ReadPressureFile(file string) (*Pressure, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var p Pressure
	for line := range bytes.Lines(b) {
		words := bytes.Fields(line)
		if len(words) == 0 {
			continue
		}
		to := &p.Some
		switch string(words[0]) {
		case "some":
		case "full":
			to = &p.Full
		default:
			continue
		}
		for _, w := range words[1:] {
			key, value, _ := bytes.Cut(w, []byte("="))
			if err := to.set(string(key), string(value)); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return &p, nil
}

func (w *Waited) set(key, value string) error {
	var err error
	switch key {
	case "avg10":
		w.Avg10, err = strconv.ParseFloat(value, 64)
	case "avg60":
		w.Avg60, err = strconv.ParseFloat(value, 64)
	case "avg300":
		w.Avg300, err = strconv.ParseFloat(value, 64)
	case "total":
		var micros int64
		micros, err = strconv.ParseInt(value, 10, 64)
		w.Total = time.Duration(micros) * time.Microsecond
	}
	return err
}
