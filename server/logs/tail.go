package logs

import (
	"bytes"
	"fmt"
	"io"
)

// tailBlock is how much is read at a time from the end of a file.
const tailBlock = 16 << 10

// tailStart returns the offset of the last n physical lines in the first size bytes of f. An unfinished last line does
// not count and is included.
func tailStart(f io.ReaderAt, size, n int64) (int64, error) {
	buf := make([]byte, tailBlock)
	var ends int64 // line ends seen so far, from the end of the file
	for right := size; right > 0; {
		left := max(0, right-tailBlock)
		b := buf[:right-left]
		if _, err := f.ReadAt(b, left); err != nil && err != io.EOF {
			return 0, fmt.Errorf("read at %d: %w", left, err)
		}
		for i := len(b); ; {
			if i = bytes.LastIndexByte(b[:i], '\n'); i < 0 {
				break
			}
			// The n+1st line end from the back ends the line before the wanted ones.
			if ends++; ends > n {
				return left + int64(i) + 1, nil
			}
		}
		right = left
	}
	return 0, nil
}
