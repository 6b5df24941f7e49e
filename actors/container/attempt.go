package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/pod/sandboxspec"
)

// attempt is the number of the next instance: the wanted one, unless logs of that number or later ones exist. Then
// instances have run that neither the runtime nor the API remembers (a node that lost its runtime's state, a static pod),
// and their logs must not be written over.
func (b *Builder) attempt(pod *v1.Pod, c *v1.Container, want uint32) (uint32, error) {
	entries, err := os.ReadDir(filepath.Join(sandboxspec.LogDir(b.LogsRoot, pod), c.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return want, nil
	}
	if err != nil {
		return want, fmt.Errorf("find the logs of earlier instances of container %s: %w", c.Name, err)
	}
	for _, e := range entries {
		number, rest, _ := strings.Cut(e.Name(), ".")
		if e.IsDir() || rest != "log" && !strings.HasPrefix(rest, "log.") {
			continue
		}
		if n, err := strconv.ParseUint(number, 10, 31); err == nil && uint32(n) >= want {
			want = uint32(n) + 1
		}
	}
	return want, nil
}
