package usernsplan

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/troupe-dev/troupe/messages/model"
)

// ParseSubids reads what getsubids(1) prints: one line such as "0: kubelet 65536 2147483648".
func ParseSubids(text string) (model.IDRange, error) {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	if len(lines) != 1 {
		return model.IDRange{}, fmt.Errorf("%d ranges of subordinate ids, want one: %q", len(lines), text)
	}
	words := strings.Fields(lines[0])
	if len(words) != 4 {
		return model.IDRange{}, fmt.Errorf("subordinate ids: %q is not a line of four words", lines[0])
	}
	first, err := strconv.ParseUint(words[2], 10, 32)
	if err != nil {
		return model.IDRange{}, fmt.Errorf("subordinate ids: %w", err)
	}
	length, err := strconv.ParseUint(words[3], 10, 32)
	if err != nil {
		return model.IDRange{}, fmt.Errorf("subordinate ids: %w", err)
	}
	return model.IDRange{First: uint32(first), Length: uint32(length)}, nil
}
