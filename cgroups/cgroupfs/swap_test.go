package cgroupfs

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSwapAccounted: a kernel counts swap if it has a file to limit it, wherever the agent is in the hierarchy.
func TestSwapAccounted(t *testing.T) {
	for name, c := range map[string]struct {
		version Version
		self    string
		file    string
		want    bool
	}{
		"v1":                             {V1, "", "memory/memory.memsw.limit_in_bytes", true},
		"v1, swapaccount=0":              {V1, "", "memory/memory.limit_in_bytes", false},
		"v2, a service":                  {V2, "0::/system.slice/agent.service\n", "system.slice/agent.service/memory.swap.max", true},
		"v2, a service, no swap":         {V2, "0::/system.slice/agent.service\n", "system.slice/agent.service/memory.max", false},
		"v2, a namespace of its own":     {V2, "0::/\n", "memory.swap.max", true},
		"v2, in the root":                {V2, "0::/\n", "init.scope/memory.swap.max", true},
		"v2, in the root, no swap":       {V2, "0::/\n", "init.scope/memory.max", false},
		"v2, no memory controller there": {V2, "0::/a/b\n", "a/memory.swap.max", true},
	} {
		root := t.TempDir()
		for _, dir := range []string{filepath.Dir(c.file), "memory"} {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		self := filepath.Join(t.TempDir(), "cgroup")
		for _, f := range []string{filepath.Join(root, c.file), self} {
			if err := os.WriteFile(f, []byte(c.self), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		h := &Host{Version: c.version, Root: root, Hierarchies: map[string]string{"memory": filepath.Join(root, "memory")}}
		if got := h.swapAccounted(self); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
