package kubeletflags

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
)

// WriteHelp prints the flags in groups, one line each; all selects every group
// instead of the most used ones. columns is the width to wrap at, 0 for none.
func WriteHelp(w io.Writer, all bool, columns int) error {
	line := newCommandLine(kubeletconfig.NewLegacyDefault())
	hidden := 0
	for _, name := range line.sets.Order {
		set := line.sets.FlagSets[name]
		if !all && !slices.Contains(short(), name) {
			set.VisitAll(func(f *pflag.Flag) {
				if !f.Hidden {
					hidden++
				}
			})
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s flags:\n%s", strings.ToUpper(name[:1])+name[1:], set.FlagUsagesWrapped(columns)); err != nil {
			return err
		}
	}
	if hidden > 0 {
		_, err := fmt.Fprintf(w, "\nAll flags of the kubelet 1.36 are accepted; --help-all shows the other %d.\n", hidden)
		return err
	}
	return nil
}
