package logs

import (
	"bufio"
	"errors"
	"io"
	"math"
	"time"
)

// errLimit says that as many bytes were written as were asked for.
var errLimit = errors.New("limit reached")

// Sink is where log text goes. A stream that is not wanted is nil. Out and Err are often the same writer: the order of
// the lines is kept.
type Sink struct {
	Out, Err io.Writer
	// Flush pushes what was written to the reader; called when there is nothing more to write for now.
	Flush func()
}

// writer applies the options to lines.
type writer struct {
	out, err *bufio.Writer
	flushed  func()
	stamps   bool
	since    time.Time
	left     int64
	// inLine says for each stream that its last piece did not end a line: no timestamp in the middle of a line.
	inLine map[string]bool
}

func newWriter(s Sink, o Options) *writer {
	w := &writer{flushed: s.Flush, stamps: o.Timestamps, since: o.Since, left: math.MaxInt64, inLine: map[string]bool{}}
	if o.LimitBytes != nil {
		w.left = *o.LimitBytes
	}
	// One buffer where both streams go to one writer, or lines would change places.
	if s.Out != nil {
		w.out = bufio.NewWriterSize(s.Out, 32<<10)
	}
	if s.Err != nil {
		if s.Err == s.Out {
			w.err = w.out
		} else {
			w.err = bufio.NewWriterSize(s.Err, 32<<10)
		}
	}
	return w
}

// write sends one line; errLimit ends the log.
func (w *writer) write(l line) error {
	if l.at.Before(w.since) {
		return nil
	}
	to := w.out
	if l.stream == stderrStream {
		to = w.err
	}
	if to == nil {
		return nil
	}
	if w.stamps && !w.inLine[l.stream] {
		if err := w.put(to, append(l.at.AppendFormat(nil, timestampOut), ' ')); err != nil {
			return err
		}
	}
	w.inLine[l.stream] = len(l.text) > 0 && l.text[len(l.text)-1] != '\n'
	return w.put(to, l.text)
}

func (w *writer) put(to *bufio.Writer, b []byte) error {
	if int64(len(b)) > w.left {
		b = b[:w.left]
	}
	n, err := to.Write(b)
	w.left -= int64(n)
	if err != nil {
		return err
	}
	if w.left <= 0 {
		return errLimit
	}
	return nil
}

// flush pushes everything written so far to the reader.
func (w *writer) flush() error {
	var errs []error
	if w.out != nil {
		errs = append(errs, w.out.Flush())
	}
	if w.err != nil && w.err != w.out {
		errs = append(errs, w.err.Flush())
	}
	if w.flushed != nil {
		w.flushed()
	}
	return errors.Join(errs...)
}
