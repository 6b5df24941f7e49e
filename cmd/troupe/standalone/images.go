package standalone

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// criNamespace is where containerd keeps what CRI sees.
const criNamespace = "k8s.io"

// ImportImages loads image archives (docker or OCI) into the containerd behind socket, each once for its content: the
// name of a stamp file below stampDir says what was imported. said is told before each import.
func ImportImages(ctx context.Context, ctr, socket, stampDir string, archives []string, said func(string)) error {
	if err := os.MkdirAll(stampDir, 0o755); err != nil {
		return err
	}
	for _, a := range archives {
		st, err := os.Stat(a)
		if err != nil {
			return fmt.Errorf("image archive: %w", err)
		}
		stamp := filepath.Join(stampDir, fmt.Sprintf("%s-%d-%d", filepath.Base(a), st.Size(), st.ModTime().UnixNano()))
		if _, err := os.Stat(stamp); err == nil {
			continue
		}
		said("importing the image " + a)
		cmd := exec.CommandContext(ctx, ctr, "--address", socket, "--namespace", criNamespace, "images", "import", "--local", a)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("import the image archive %s: %w: %s", a, err, lastLine(out.String()))
		}
		if err := os.WriteFile(stamp, nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// ArchivesIn lists the image archives of the runtime folder's images/ and of dirs, sorted by name.
func ArchivesIn(dirs ...string) []string {
	var out []string
	for _, d := range dirs {
		files, _ := filepath.Glob(filepath.Join(d, "*.tar"))
		sort.Strings(files)
		out = append(out, files...)
	}
	return out
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
